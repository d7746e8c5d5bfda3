r"""How much of a difference between two arms is the choice of their cells, by a bootstrap of the tuning seeds.

Fresh seeds tell two cells apart, however little they differ, where there are enough of them. But other tuning seeds
might have chosen other cells, and a verdict is about optimizers. So the T tuning seeds are drawn anew, B times, the
same for all arms, and selection is repeated on each draw: cell c* instead of c. With test errors t of the tuning runs,
which have no say in it, the shift of an arm is s = t̄(c*) − t̄(c), and the half width for the choice is

.. math:: t_{T−1}(0.975) \sqrt{\frac{1}{B} \sum_b (s_b^{(a)} − s_b^{(b)})^2}.

It adds in quadrature to that of fresh seeds and test examples, which is independent. Values are test errors, since the
validation error of a cell is small where it was chosen for that; and the quantile is Student's, since T seeds know
little of others. With validation errors, or the normal quantile, one optimizer is told apart from itself too often.

Who searches more finds more. Arms of unequal effort (cells × seeds, in runs) are compared once more as if each had had
the smaller budget: what validation chooses among k of an arm's N cells, drawn without replacement, is on average
Σ_r w_r t̄(c_(r)) over cells ranked by validation, w_r = C(N−1−r, k−1) / C(N, k) (``rank_weights``). The few cells
that the other has tried are one such search, so that the spread over searches belongs to the interval.

Sources: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 17; J. Dodge et al., Show Your
Work: Improved Reporting of Experimental Results, EMNLP 2019 (best of k).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from adamcmp.analysis.intervals import Array, generator
from adamcmp.analysis.selection import cells, ranked_cells, tuning
from adamcmp.criteria import criteria_of

RESAMPLES = 4000
NEAR = 0.05
"""Share of the draws from which on another cell is a near tie."""


class BestOf(NamedTuple):
    """What a search of k cells would have brought."""

    shift: float
    """How much worse than the chosen cell it is on average."""
    spread: float
    """Its standard deviation over searches."""
    shift_B: Array
    """The average on each draw of the tuning seeds."""


@dataclass(frozen=True, eq=False)
class Choice:
    """How an arm's cell was chosen."""

    validation_CT: Array
    """Errors of C eligible cells on the T seeds that all were tuned with, the less the better, best cell first."""
    test_CT: Array
    trials: int
    """N cells that were tried, eligible or not."""
    which: tuple[int, ...] = ()
    """The T seeds."""
    places: Sequence[tuple[float, float]] = ()
    """lr and λ of each cell."""
    _best_of: dict[int, BestOf] = field(default_factory=dict, repr=False)

    @property
    def seeds(self) -> float:
        """T; infinite where there is one cell, and nothing was chosen."""
        return math.inf if len(self.test_CT) == 1 else self.test_CT.shape[1]

    @cached_property
    def shift_B(self) -> Array:  # noqa: N802  # its axes, as in all arrays
        """How far the test error of the cell that redrawn seeds choose is from that of the chosen one; NaN of one
        seed.
        """
        if math.isinf(self.seeds):
            return np.zeros(RESAMPLES)
        if self.seeds < 2:
            return np.full(RESAMPLES, math.nan)
        mean_C = self.test_CT.mean(1)
        return np.asarray(mean_C[self._means_BC().argmin(1)] - mean_C[self.place])

    @cached_property
    def wins_C(self) -> Array:  # noqa: N802  # its axes, as in all arrays
        """In which share of the draws each cell is chosen."""
        count = len(self.test_CT)
        if not 2 <= self.seeds < math.inf:
            return np.asarray(np.arange(count) == self.place, float)
        return np.asarray(np.bincount(self._means_BC().argmin(1), minlength=count) / RESAMPLES)

    def best_of(self, k: int) -> BestOf:
        """What k of the N cells would have brought."""
        if k not in self._best_of:
            self._best_of[k] = self._reckoned(k)
        return self._best_of[k]

    def _reckoned(self, k: int) -> BestOf:
        if math.isinf(self.seeds):
            return BestOf(0.0, 0.0, np.zeros(RESAMPLES))
        mean_C, weight_C = self.test_CT.mean(1), rank_weights(self.trials, k)[: len(self.test_CT)]
        weight_C = weight_C / weight_C.sum()
        order_C = self.validation_CT.mean(1).round(12).argsort(kind="stable")
        expected = float(mean_C[order_C] @ weight_C)
        spread = math.sqrt(float((mean_C[order_C] - expected) ** 2 @ weight_C))
        redrawn_B = (
            mean_C[self._means_BC().argsort(1, kind="stable")] @ weight_C
            if self.test_CT.shape[1] > 1
            else np.full(RESAMPLES, math.nan)
        )
        chosen = float(mean_C[self.place])
        return BestOf(expected - chosen, spread, redrawn_B - chosen)

    @property
    def runs(self) -> int:
        """What the search took."""
        return self.trials * int(self.test_CT.shape[1])

    @property
    def place(self) -> int:
        """Of the chosen cell."""
        return int(np.argmin(self.validation_CT.mean(1).round(12)))

    def _means_BC(self) -> Array:  # noqa: N802  # its axes, as in all arrays
        return np.asarray((redrawn(self.test_CT.shape[1]) @ self.validation_CT.T).round(12))


def choices(records: pd.DataFrame, table: pd.DataFrame | None = None) -> dict[str, Choice]:
    """Of each arm of one task that has an eligible cell; ``table`` is ``cells`` of the records, where it is known."""
    table = cells(records) if table is None else table
    runs = tuning(records)
    runs = runs[runs["status"] == "completed"]
    sign, trials, found = criteria_of(records).error.sign, table.groupby("arm").size(), {}
    by_arm = dict(iter(runs.groupby("arm")))
    for arm, ranked in ranked_cells(table).groupby("arm"):
        mine = by_arm[arm].set_index(["lr", "weight_decay", "seed"])
        order = pd.MultiIndex.from_frame(ranked[["lr", "weight_decay"]])
        validation_CT = mine["final_validation_error"].unstack().loc[order].dropna(axis="columns")
        test_CT = mine["final_test_error"].unstack().loc[order, validation_CT.columns]
        found[str(arm)] = Choice(
            sign * validation_CT.to_numpy(),
            test_CT.to_numpy(),
            int(trials[arm]),
            tuple(map(int, validation_CT.columns)),
            list(order),
        )
    return found


def chosen(validation_CT: Array, test_CT: Array) -> Choice:
    """Of the errors of C cells on T tuning seeds, where the lowest mean over validation wins, ties the first."""
    return Choice(validation_CT, test_CT, len(test_CT), tuple(range(test_CT.shape[1])))


def half_width_of_choice(a: Choice, b: Choice) -> float:
    """Of the difference a − b; 0 where both had one cell, infinite where one seed chose among several."""
    return _half_width(a, b, a.shift_B, b.shift_B)


def at_smaller_budget(a: Choice, b: Choice) -> tuple[int, float, float] | None:
    """The runs of the arm that searched less; what the difference a − b gets by the other's having had no more than
    these; and the half width for the choice then. None where both searched as much.
    """
    budget = min(a.runs, b.runs)
    if budget == max(a.runs, b.runs) or math.isinf(min(a.seeds, b.seeds)):
        return None
    of_a, of_b = (each.best_of(max(1, budget // each.test_CT.shape[1])) for each in (a, b))
    choice = _half_width(a, b, of_a.shift_B - of_a.shift, of_b.shift_B - of_b.shift)
    luck = float(special.ndtri(0.975)) * math.hypot(of_a.spread, of_b.spread)
    return budget, of_a.shift - of_b.shift, math.hypot(choice, luck)


def near_ties(choice: Choice) -> list[tuple[tuple[float, float], float]]:
    """Other cells that win on at least ``NEAR`` of the draws: lr and λ, and that share, the largest first."""
    share_C, place = choice.wins_C, choice.place
    order_C = np.argsort(-share_C, kind="stable")
    return [(choice.places[i], float(share_C[i])) for i in order_C if i != place and share_C[i] >= NEAR]


def rank_weights(trials: int, k: int) -> Array:
    """With which probability the best of k of N cells, drawn without replacement, is that of rank 0, 1, …, N − k.

    >>> [round(float(w), 3) for w in rank_weights(4, 2)]
    [0.5, 0.333, 0.167, 0.0]
    """
    rank = np.arange(trials - 1)
    return k / trials * np.concatenate([[1.0], np.cumprod(np.maximum(trials - k - rank, 0) / (trials - 1 - rank))])


@lru_cache(maxsize=8)
def redrawn(seeds: int) -> NDArray[np.float64]:
    """B draws of so many seeds with replacement, as weights (B, T); of arms with as many seeds the same draws."""
    return generator("tuning seeds").multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds


def _half_width(a: Choice, b: Choice, a_B: Array, b_B: Array) -> float:
    """Of what the choice adds to a − b: draws of the same seeds are drawn together, of others apart."""
    seeds = min(a.seeds, b.seeds)
    if seeds < 2:
        return math.inf
    if math.isinf(seeds):
        return 0.0
    squares = (a_B - b_B) ** 2 if a.which == b.which else a_B**2 + b_B**2
    return float(special.stdtrit(seeds - 1, 0.975) * np.sqrt(np.mean(squares)))
