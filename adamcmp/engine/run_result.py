"""Results that an engine returns, and the callback for its progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from adamcmp.engine.strategy.types import Strategy
from adamcmp.plan.runs import Run
from adamcmp.storage.schema import Status


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
    metrics: Mapping[str, float] = {}  # never written
    """Extra metrics."""

    def is_finite(self) -> bool:
        """Return whether the run continues; test errors are not considered."""
        return all(map(math.isfinite, (self.train_loss, self.validation_loss, self.weight_norm)))


def best_evaluation(evaluations: Sequence[Evaluation], sign: float = 1.0) -> Evaluation:
    """Return the evaluation with the best validation error, then lowest validation loss, then step; test has no say.

    ``sign`` is −1 for an error of which more is better.
    """
    return min(evaluations, key=lambda e: (sign * e.validation_error, e.validation_loss, e.step))


def to_plain(evaluations: Iterable[Evaluation]) -> list[list[Any]]:
    """Return evaluations as plain numbers, for a checkpoint."""
    return [[*evaluation[:-1], dict(evaluation.metrics)] for evaluation in evaluations]


def from_plain(stored: Iterable[Sequence[Any]]) -> list[Evaluation]:
    """Return the evaluations that ``to_plain`` made plain numbers of."""
    return [Evaluation(*values) for values in stored]


class ExampleErrors(NamedTuple):
    """Per-example test errors of a run."""

    kind: str
    """``bits``, packed (1: wrong), or ``floats``, 4 bytes each, least significant first."""
    length: int
    values: bytes


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended, and its curve."""

    run: Run
    status: Status
    evaluations: tuple[Evaluation, ...]
    error: str | None = None
    diverged_step: int | None = None
    """Step of the first loss that was not finite; for a pruned run the step at which it ended."""
    parameters: int | None
    strategy: Strategy
    device: str
    seconds: float
    """Wall time; where several runs train at once, an equal share of it."""
    finished_at: datetime
    outcomes: ExampleErrors | None = None
    """Per-example test errors after the last step, if the run stores them."""

    records: tuple[Mapping[str, float], ...] = ()
    """Values as a program of the user has reported them."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """``seconds``, ``cpu_seconds`` and peak ``bytes`` of a program."""

    @classmethod
    def failed(cls, run: Run, error: str, strategy: Strategy, device: str) -> Self:
        """Return the result of a run that has failed outside its engine, such as by the death of its process."""
        return cls(
            run=run, status="failed", evaluations=(), error=error, parameters=None, strategy=strategy, device=device,
            seconds=0.0, finished_at=datetime.now(UTC),
        )  # fmt: skip

    @property
    def metrics(self) -> Mapping[str, float]:
        """Extra metrics after the last step of a completed run."""
        return self.evaluations[-1].metrics if self.status == "completed" else {}


StepsCallback = Callable[[int, Evaluation | None], None]
"""Called now and then with the steps done since the last call and the newest evaluation."""
