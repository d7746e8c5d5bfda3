"""Evaluate a model on the train, validation and test split.

Both engines use one path. A forward pass gives ``SplitMeasures``: the losses and statistics of the examples, and their
outputs if metrics need them. ``reduce_measures`` makes loss and error of them, ``example_errors`` the per-example test
errors that are stored, and ``extra_metrics`` takes the outputs. Letters of shapes: N examples, K statistics, R runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from adamcmp.data.dataset import Dataset, Split
from adamcmp.data.multi_input import Plain
from adamcmp.data.raw import X
from adamcmp.engine.objective import Objective, predict
from adamcmp.engine.run_result import Evaluation, ExampleErrors
from adamcmp.metrics import functions
from adamcmp.plan.evaluation_schedule import SplitSizes

MAX_STORED_VALUES = 4096
"""Maximum number of per-example errors that are stored per run; of more examples, means of blocks are stored."""
CHUNK_EXAMPLES = 2048
"""Examples per forward pass: bounds memory, changes no result."""
MAX_VALUES_AT_ONCE = 1 << 20
"""Maximum number of inputs and logits per forward pass, so that its tensors stay in a cache."""
SPLITS = ("train", "validation", "test")


class SplitMeasures(NamedTuple):
    """Measures of the examples of one split. An engine that evaluates R runs at once puts R in front of each shape."""

    losses: Tensor
    """Loss of every example, summed over its predictions: (N,)."""
    statistics: Tensor
    """Statistics that the error is computed from: (N, K)."""
    outputs: Tensor | None = None
    """Outputs of the model, (N, …), if metrics need them."""


def reduce_measures(measures: SplitMeasures, y: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """Return mean loss and error of a split as float64: numbers of one run, (R,) of R runs."""
    return functions.to_float64(measures.losses).sum(-1) / y.numel(), objective.error(measures.statistics, y)


@torch.no_grad()
def evaluate(
    model: nn.Module, dataset: Dataset, objective: Objective, step: int, *, keeps_outputs: bool = False
) -> tuple[Evaluation, dict[str, SplitMeasures]]:
    """Evaluate a model on all splits in evaluation mode.

    Args:
        model: after ``step`` steps; its mode is restored.
        dataset: the examples to evaluate, see ``subsample``.
        objective: loss and error of the task.
        step: of the evaluation.
        keeps_outputs: return the outputs of the model, too.

    Returns:
        The evaluation, and the measures of every split.
    """
    was_training = model.training
    model.eval()
    size = chunk_size(dataset, CHUNK_EXAMPLES)
    splits = {name: getattr(dataset, name) for name in SPLITS}
    squares = torch.stack([functions.to_float64(p).square().sum() for p in model.parameters()]).sum()
    measures = {
        name: measure_split(model, split, dataset.inputs, objective, size, keeps_outputs=keeps_outputs)
        for name, split in splits.items()
    }
    reduced = [value for name, split in splits.items() for value in reduce_measures(measures[name], split.y, objective)]
    model.train(was_training)
    squared, *values = torch.stack([squares, *reduced]).tolist()
    return Evaluation._make((step, *values, math.sqrt(squared), {})), measures


def measure_split(
    model: nn.Module,
    split: Split,
    inputs: Callable[[X], Plain],
    objective: Objective,
    size: int = CHUNK_EXAMPLES,
    *,
    keeps_outputs: bool = False,
) -> SplitMeasures:
    """Return the measures of one run on one split.

    Args:
        model: in evaluation mode.
        split: the examples.
        inputs: turns examples into inputs of the model.
        objective: loss and error of the task.
        size: examples per forward pass.
        keeps_outputs: return the outputs of the model, too.
    """
    chunks: list[tuple[Tensor, ...]] = []
    for x, y in split.chunks(size):
        outputs = predict(model, inputs(x))
        measured = objective.losses(outputs, y), objective.statistics(outputs, y)
        chunks.append((*measured, outputs) if keeps_outputs else measured)
    return SplitMeasures(*(torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*chunks, strict=True)))


def example_errors(statistics: Tensor, y: Tensor, objective: Objective) -> ExampleErrors:
    """Return the per-example errors of a run, as ``metrics.influence.per_example`` defines them.

    Errors that are all 0 or 1 are stored as bits. Of more than ``MAX_STORED_VALUES`` other values, the means of that
    many blocks of nearly equal size are stored.

    Args:
        statistics: of the examples, (N, K).
        y: their targets.
        objective: of the task.
    """
    values = objective.per_example(statistics, y)
    if np.isin(values, (0.0, 1.0)).all():
        return ExampleErrors("bits", len(values), np.packbits(values.astype(bool)).tobytes())
    if len(values) > MAX_STORED_VALUES:
        values = np.array([block.mean() for block in np.array_split(values, MAX_STORED_VALUES)])
    return ExampleErrors("floats", len(values), values.astype("<f4").tobytes())


def subsample(dataset: Dataset, sizes: SplitSizes) -> Dataset:
    """Return a data set with at most the given number of examples per split, evenly spread."""
    parts = (dataset.train, dataset.validation, dataset.test)
    train, validation, test = (_spread_evenly(part, count) for part, count in zip(parts, sizes, strict=True))
    return replace(dataset, train=train, validation=validation, test=test)


def _spread_evenly(part: Split, count: int) -> Split:
    held = len(part.y)
    return part if count >= held else part.take(torch.arange(count, device=part.y.device) * held // count)


def chunk_size(dataset: Dataset, most: int) -> int:
    """Return how many examples to show at once: ``most``, fewer where each is large or has many logits, as a long text
    has.
    """
    positions = math.prod(dataset.train.y.shape[1:]) if dataset.targets == "classes" else 1
    return max(1, min(most, MAX_VALUES_AT_ONCE // (dataset.num_outputs * positions + dataset.example_numbers)))
