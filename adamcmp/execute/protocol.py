"""Requests that the driver sends to workers, and their responses; and the interface of an executor.

Messages are plain values; they name data sets by fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from adamcmp.engine.program_training import ProgramLimits
from adamcmp.engine.run_result import Evaluation, RunResult
from adamcmp.engine.strategy.select import BenchmarkRequest
from adamcmp.engine.strategy.timing_cache import Timing
from adamcmp.engine.strategy.types import Shard
from adamcmp.execute.run_writer import Provenance
from adamcmp.plan.runs import RunGroup, TaskSpec


@dataclass(frozen=True)
class StoreTarget:
    """A study's folder, and where its records come from."""

    study_dir: Path
    provenance: Provenance


@dataclass(frozen=True)
class TrainRequest:
    """Train a shard."""

    shard: Shard
    checkpoint: Path | None
    start: Path | None
    """A checkpoint to begin from, where the shard has none of its own."""
    every: float
    """Seconds between two checkpoints."""
    weights: Path | None = None
    """The folder of weights that are kept."""
    limits: ProgramLimits | None = None
    """Resources of a run of a script or function."""
    store: StoreTarget | None = None
    """Where who trains it stores what ends; None: the results are the answer."""


@dataclass(frozen=True)
class VectorizeCheck:
    """Try whether a run group can be vectorized."""

    run_group: RunGroup


@dataclass(frozen=True)
class VectorizeResult:
    """Why it cannot be, or None."""

    refusal: str | None


@dataclass(frozen=True)
class StepsDone:
    """So many more steps; the newest evaluation."""

    steps: int
    evaluation: Evaluation | None


@dataclass(frozen=True)
class RunsStored:
    """Runs that have ended together, and are stored; of their curves the last evaluation."""

    outcomes: tuple[RunResult, ...]


@dataclass(frozen=True)
class ShardEnded:
    """A shard has ended: all is sent, it was stopped, its checkpoint cannot be written, memory ended, anything else."""

    how: Literal["done", "stopped", "memory", "unwritable", "error"]
    error: str = ""


@dataclass(frozen=True)
class WorkerReady:
    """A started worker takes requests."""


@dataclass(frozen=True)
class WorkerDied:
    """A worker has ended unexpectedly."""

    exit_code: int | None
    lost: str = ""
    """A cluster's message: the machine may have gone, which is no fault of the work."""


Request = TrainRequest | VectorizeCheck | BenchmarkRequest
Response = StepsDone | tuple[RunResult, ...] | RunsStored | ShardEnded | VectorizeResult | list[Timing] | WorkerDied
"""Results of runs that ended together; timings of the strategies of a ``BenchmarkRequest``."""


def task_of(request: Request) -> TaskSpec:
    """Return the task of the runs that a request is about."""
    return request.shard.task if isinstance(request, TrainRequest) else request.run_group.task


class Worker(Protocol):
    """A worker, which has one request at a time, as the driver sees it."""

    busy: Any
    """Job of the current request; None if the worker is free."""
    last: Any
    """Group of its last work, whose program it has."""


class Executor(Protocol):
    """Sends requests to workers and returns responses; a worker that dies is answered for and replaced."""

    @property
    def slots(self) -> Sequence[Worker]:
        """All there are now."""

    def submit(self, slot: Any, request: Request, job: object) -> None:
        """Send a request to a free worker, whose ``busy`` becomes ``job``."""

    def answers(self, timeout: float | None) -> Iterator[tuple[Worker, Response]]:
        """Return the responses within ``timeout`` seconds; progress and results come before the end of a training."""

    def stop(self, slot: Any) -> None:
        """Ask a worker to write its checkpoint and end its training, which it answers."""

    def cancel(self, slot: Any) -> None:
        """End the work of a worker at once; it gives no response."""
