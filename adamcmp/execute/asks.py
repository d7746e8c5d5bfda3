"""What a driver asks of an executor's slots, and what they answer: plain values, with data named by fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adamcmp.engine.run_result import Evaluation, RunResult
from adamcmp.engine.strategy.benchmark import Timing
from adamcmp.engine.strategy.select import BenchmarkRequest
from adamcmp.engine.strategy.types import Shard
from adamcmp.execute.recording import Provenance
from adamcmp.plan.runs import RunGroup


@dataclass(frozen=True)
class Store:
    """A study's folder, and where its records come from."""

    study_dir: Path
    provenance: Provenance


@dataclass(frozen=True)
class TrainAsk:
    """Train a piece."""

    piece: Shard
    checkpoint: Path | None
    start: Path | None
    """A checkpoint to begin from, where the piece has none of its own."""
    every: float
    """Seconds between two checkpoints."""
    weights: Path | None = None
    """The folder of weights that are kept."""
    store: Store | None = None
    """Where who trains it stores what ends; None: the outcomes are the answer."""


@dataclass(frozen=True)
class TryAsk:
    """Try whether a cohort can be vectorised."""

    cohort: RunGroup


@dataclass(frozen=True)
class Tried:
    """Why it cannot be, or None."""

    refusal: str | None


@dataclass(frozen=True)
class Progress:
    """So many more steps; the newest evaluation."""

    steps: int
    evaluation: Evaluation | None


@dataclass(frozen=True)
class Saved:
    """Runs that have ended together, and are stored; of their curves the last evaluation."""

    outcomes: tuple[RunResult, ...]


@dataclass(frozen=True)
class Ended:
    """A piece has ended: all is sent, it was stopped, its checkpoint cannot be written, memory ended, anything else."""

    how: Literal["done", "stopped", "memory", "unwritable", "error"]
    error: str = ""


@dataclass(frozen=True)
class Ready:
    """What was started takes asks now."""


@dataclass(frozen=True)
class Died:
    """What was at work has ended without being asked to."""

    exit_code: int | None
    lost: str = ""
    """What a cluster says of it: its machine may have gone, for no fault of the work."""


AnyAsk = TrainAsk | TryAsk | BenchmarkRequest
Answer = Progress | tuple[RunResult, ...] | Saved | Ended | Tried | list[Timing] | Died
"""Outcomes of runs that ended together; timings of the ways that an ``BenchmarkRequest`` names."""
