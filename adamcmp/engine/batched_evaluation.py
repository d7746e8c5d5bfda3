"""Evaluate the rows of a batched program on all splits, in chunks of examples."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch

from adamcmp.data.dataset import Dataset, Split
from adamcmp.data.on_disk import concatenate
from adamcmp.engine.batched_program import BatchedProgram, Tensors
from adamcmp.engine.evaluation import SPLITS, SplitMeasures, reduce_measures, subsample
from adamcmp.engine.hardware import device_memory
from adamcmp.engine.objective import Objective
from adamcmp.engine.strategy.types import Shard
from adamcmp.plan.evaluation_schedule import SplitSizes

CPU_CHUNK_EXAMPLES = 128
"""Examples per call of an evaluation: its tensors stay in the cache, and memory is bounded. Measured for 121 rows of
MLP 64-32-10 in two processes: 178 µs per row and 1,797 examples with 128, 255 with 256; for 20 rows 217 and 217.
"""
MAX_CHUNK_EXAMPLES, EVALUATION_MEMORY_FRACTION = 1 << 14, 0.25
"""Limits on an accelerator: at most this many examples, and as many as this share of its free memory holds for all
rows.
"""


def chunk_examples(shard: Shard, device: torch.device) -> int:
    """Return how many examples each row of a shard is shown at once: on an accelerator as many as a share of memory
    holds.
    """
    row_bytes = shard.strategy.example_bytes * len(shard.runs)
    if device.type == "cpu" or not row_bytes:
        return CPU_CHUNK_EXAMPLES
    return max(
        CPU_CHUNK_EXAMPLES, min(MAX_CHUNK_EXAMPLES, int(EVALUATION_MEMORY_FRACTION * device_memory(device) / row_bytes))
    )


@lru_cache(maxsize=4)
def evaluation_data(dataset: Dataset, sizes: SplitSizes, size: int) -> EvaluationData:
    """Return the examples of an evaluation; cached for later shards."""
    return EvaluationData(subsample(dataset, sizes), size)


class EvaluationData:
    """All examples that an evaluation shows, in chunks of one size, so that one compiled program takes them all."""

    def __init__(self, dataset: Dataset, size: int) -> None:
        self.dataset = dataset
        parts = (dataset.train, dataset.validation, dataset.test)
        self._ys = [part.y for part in parts]
        self._lengths = [len(y) for y in self._ys]
        all_parts = Split(concatenate([part.x for part in parts]), torch.cat(self._ys))
        count = -(-len(all_parts.y) // size)
        padded = torch.arange(count * size, device=all_parts.y.device).clamp(max=len(all_parts.y) - 1)
        self._inputs = dataset.inputs
        self._chunks = [all_parts.take(part) for part in torch.split(padded, size)]

    def measure(self, program: BatchedProgram, params: Tensors, rest: Tensors) -> dict[str, SplitMeasures]:
        """Return the measures of every split, with the rows of the program in front of each shape."""
        chunks = [program.evaluate(params, rest, self._inputs(x), y) for x, y in self._chunks]
        by_split = [
            torch.split(torch.cat(measured, dim=1)[:, : sum(self._lengths)], self._lengths, dim=1)
            for measured in zip(*chunks, strict=True)
        ]
        return {name: SplitMeasures(*parts) for name, parts in zip(SPLITS, zip(*by_split, strict=True), strict=True)}

    def reduce(self, measures: Mapping[str, SplitMeasures], objective: Objective) -> list[list[float]]:
        """Return the loss and error of every split of each row, in the order of ``SPLITS``."""
        columns = [
            column
            for name, y in zip(SPLITS, self._ys, strict=True)
            for column in reduce_measures(measures[name], y, objective)
        ]
        rows: list[list[float]] = torch.stack(columns, dim=1).tolist()
        return rows


def even_chunk_size(count: int, most: int) -> int:
    """Return the size of the fewest chunks, of nearly equal size, that hold ``count`` examples."""
    return -(-count // -(-count // most))
