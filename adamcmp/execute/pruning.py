"""Pruning of runs of the user's programs: asynchronous successive halving.

At each rung, T/η^k steps, a run is compared with the runs of its optimizer and seed that have reached the rung so far:
it continues if it is among the best 1/η of them. Runs of other seeds of a pruned trial end too, since a trial counts
with all of its seeds. Which runs are pruned depends on the order in which they report; records state it.

Source: L. Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from adamcmp.config.schema import SearchSettings
from adamcmp.engine.program_training import PRUNE_FILE
from adamcmp.engine.run_result import Evaluation
from adamcmp.plan.run_ids import rule_identity
from adamcmp.plan.runs import Run


@dataclass
class AsyncPruner:
    """Decides which runs end early."""

    rungs: tuple[int, ...]
    reduction: int
    trials: dict[str, list[str]]
    """Ids of the runs of each trial."""
    _values: dict[tuple[str, int, int], list[float]] = field(default_factory=dict)
    _passed: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, search: SearchSettings | None, runs: Sequence[Run]) -> AsyncPruner | None:
        """Return the pruner of a search; None if it prunes nothing."""
        if search is None or search.method != "asha" or not runs:
            return None
        steps = runs[0].task.steps
        rungs = sorted({math.ceil(steps / search.reduction**k) for k in range(1, search.rungs + 1)} - {steps})
        trials: dict[str, list[str]] = {}
        for run in runs:
            trials.setdefault(_trial_of(run), []).append(run.id)
        return cls(tuple(rungs), search.reduction, trials)

    def take(self, run: Run, evaluation: Evaluation, folder: Path) -> None:
        """Take an evaluation of a run; where it is not good enough, let the runs of its trial end.

        Args:
            run: that has reported it.
            evaluation: the newest one.
            folder: of the private folders of runs.
        """
        first = self._passed.get(run.id, 0)
        for i in range(first, len(self.rungs)):
            if evaluation.step < self.rungs[i]:
                return
            self._passed[run.id] = i + 1
            value = run.task.criteria.error.sign * evaluation.validation_error
            value = value if math.isfinite(value) else math.inf
            seen = self._values.setdefault((run.arm, run.seed, i), [])
            seen.append(value)
            kept = max(1, math.ceil(len(seen) / self.reduction))
            if len(seen) >= self.reduction and value > sorted(seen)[kept - 1]:
                self._prune(run, folder)
                return

    def _prune(self, run: Run, folder: Path) -> None:
        for run_id in self.trials.get(_trial_of(run), [run.id]):
            with suppress(OSError):
                (folder / run_id).mkdir(parents=True, exist_ok=True)
                (folder / run_id / PRUNE_FILE).touch()


def _trial_of(run: Run) -> str:
    return f"{run.task.key}|{rule_identity(run.optimizer)}|{rule_identity(run.schedule)}"
