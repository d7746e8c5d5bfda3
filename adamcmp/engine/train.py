"""Train a shard of work, by whichever engine its strategy names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from adamcmp.data.dataset import Dataset
from adamcmp.engine import ddp_processes, sequential, vectorized
from adamcmp.engine.checkpoint import CheckpointError, TrainingControl, TrainingStopped
from adamcmp.engine.program_training import train_program_shard
from adamcmp.engine.run_result import RunResult
from adamcmp.engine.strategy.types import Shard
from adamcmp.errors import describe_exception
from adamcmp.plan.programs import ProgramTask


def train_shard(
    shard: Shard, dataset: Dataset | None, device: torch.device, control: TrainingControl
) -> Iterator[tuple[RunResult, ...]]:
    """Yield results of a shard's runs, those that end together as one; see ``sequential.train_shard`` and
    ``vectorized.train_shard``.

    If a program fails, its runs are trained one after the other, so that an error is that of a run; the record has the
    reason.

    What ends together is to be stored together, so that a checkpoint's runs are all stored or all to be trained.
    """
    if isinstance(shard.task, ProgramTask):
        for outcome in train_program_shard(shard, device, control):
            yield (outcome,)
        return
    assert dataset is not None
    if shard.strategy.engine == "sequential":
        with ddp_processes.process_group(shard, dataset, device, control.paths):
            for outcome in sequential.train_shard(shard, dataset, device, control):
                yield (outcome,)
        return
    try:
        ended = tuple(vectorized.train_shard(shard, dataset, device, control))
    except (TrainingStopped, CheckpointError):
        raise
    except Exception as error:  # the check on a small batch has let it pass
        if is_out_of_memory(error):
            raise
        reason = f"as one program: {describe_exception(error)}"
        strategy = replace(shard.strategy, engine="sequential", compiled=False, graphs=False, reason=reason)
        for outcome in sequential.train_shard(replace(shard, strategy=strategy), dataset, device, control):
            yield (outcome,)
        return
    yield ended


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ended: torch says so in several ways."""
    phrases = ("out of memory", "can't allocate memory", "DefaultCPUAllocator")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(phrase in str(error) for phrase in phrases)
