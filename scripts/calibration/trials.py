"""One simulated study: optimizers tuned on some seeds of a pool, compared on others, on a test set of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adamcmp.analysis.difference import Difference, compare
from adamcmp.analysis.held_out import HeldOut
from adamcmp.analysis.selection_uncertainty import Selection, candidate_indices
from adamcmp.analysis.verdicts import DEFAULT_MARGIN, Verdict, decide
from calibration.pool import Pool
from calibration.previous import different

Array = NDArray[np.float64]


class Side(NamedTuple):
    """One optimizer of a simulated study."""

    pool: Pool
    trials: NDArray[np.int64]
    """Indices of the trials that it tunes over."""
    selection: Selection
    fresh: NDArray[np.int64]
    """Held-out seeds."""
    part: NDArray[np.int64]
    """Test examples of this study."""

    def errors(self, trial: int) -> Array:
        """Return per-example errors of a trial on the held-out seeds: (S, N)."""
        return self.pool.test_CSN[self.trials[trial]][np.ix_(self.fresh, self.part)].astype(float)

    def held_out(self, name: str) -> HeldOut:
        """Return the held-out errors of the candidates of this optimizer."""
        wanted = candidate_indices(self.selection)
        share_C = self.selection.win_share_C
        weights = share_C[wanted] / share_C[wanted].sum()
        stacked = [self.errors(trial) for trial in wanted]
        examples_SN = sum(weight * each for weight, each in zip(weights, stacked, strict=True))
        error_C = self.selection.trial_errors({i: float(each.mean()) for i, each in zip(wanted, stacked, strict=True)})
        seeds = tuple(map(int, self.fresh))
        return HeldOut(name, seeds, examples_SN.mean(1), error_C, ("",) * len(seeds), examples_SN)


def side(pool: Pool, tuning: NDArray[np.int64], fresh: NDArray[np.int64], part: NDArray[np.int64],
         trials: NDArray[np.int64] | None = None) -> Side:  # fmt: skip
    """Tune an optimizer over some trials (all of them by default) on some seeds."""
    tried = np.arange(len(pool.test_CSN)) if trials is None else trials
    validation_CT = pool.validation_CSM[np.ix_(tried, tuning)].mean(2)
    test_CT = np.stack([pool.test_CSN[trial][np.ix_(tuning, part)].mean(1) for trial in tried])
    return Side(pool, tried, Selection(validation_CT, test_CT, len(tried), tuple(map(int, tuning))), fresh, part)


def differences(sides: Sequence[Side]) -> list[Difference]:
    """Compare all pairs."""
    tested = [each.held_out(str(i)) for i, each in enumerate(sides)]
    return [
        compare(tested[i], tested[j], sides[i].selection, sides[j].selection, is_share=True)
        for i, j in combinations(range(len(sides)), 2)
    ]


def new(sides: Sequence[Side], *, has_power: bool = False) -> list[Verdict]:
    """Return the verdicts of all pairs."""
    return decide(differences(sides), DEFAULT_MARGIN, has_power=has_power)


def old(sides: Sequence[Side]) -> list[tuple[bool, float, tuple[float, float]]]:
    """Return the verdicts of the previous procedure on all pairs."""
    selected = [each.errors(each.selection.place) for each in sides]
    return different([
        (selected[i] - selected[j], sides[i].selection, sides[j].selection)
        for i, j in combinations(range(len(sides)), 2)
    ])  # fmt: skip


def tuned_error(pool: Pool, seeds: int, draws: int = 4000, trials: NDArray[np.int64] | None = None) -> float:
    """Return the error of "this optimizer, tuned with T seeds" over all seeds and test examples of the pool."""
    tried = np.arange(len(pool.test_CSN)) if trials is None else trials
    validation_CS = pool.validation_CSM[tried].mean(2)
    test_C = pool.test_CSN[tried].mean((1, 2))
    draw, total = np.random.default_rng(11), 0.0
    for _ in range(draws):
        tuning = draw.choice(pool.seeds, seeds, replace=False)
        choice = Selection(validation_CS[:, tuning], np.zeros((len(tried), seeds)), len(tried))
        wanted = candidate_indices(choice)
        weights = choice.win_share_C[wanted] / choice.win_share_C[wanted].sum()
        total += float(weights @ test_C[wanted])
    return total / draws
