"""What an engine hands back of a run, and what it takes to report on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from adamcmp.plan.runs import Run
from adamcmp.records import Status


class Evaluation(NamedTuple):
    """All parts measured after ``step`` steps: loss in nats, error as a share."""

    step: int
    train_loss: float
    train_error: float
    validation_loss: float
    validation_error: float
    test_loss: float
    test_error: float
    weight_norm: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended, and its curve."""

    run: Run
    status: Status
    evaluations: tuple[Evaluation, ...]
    error: str | None = None
    diverged_step: int | None = None
    parameters: int | None
    engine: str
    device: str
    seconds: float
    finished_at: datetime


OnSteps = Callable[[int, Evaluation | None], None]
"""Called now and then with the steps done since the last call and the newest evaluation."""
