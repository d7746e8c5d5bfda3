r"""How much of a difference between two arms is the choice of their cells, by a bootstrap of the tuning seeds.

Fresh seeds tell two cells apart, however little they differ, where there are enough of them. But other tuning seeds
might have chosen other cells, and a verdict is about optimizers. So the T tuning seeds are drawn anew, B times, the
same for all arms, and selection is repeated on each draw: cell c* instead of c. With test errors t of the tuning runs,
which have no say in it, the shift of an arm is s = t̄(c*) − t̄(c), and the half width for the choice is

.. math:: t_{T−1}(0.975) \sqrt{\frac{1}{B} \sum_b (s_b^{(a)} − s_b^{(b)})^2}.

It adds in quadrature to that of fresh seeds and test examples, which is independent. Values are test errors, since the
validation error of a cell is small where it was chosen for that; and the quantile is Student's, since T seeds know
little of others. With validation errors, or the normal quantile, one optimizer is told apart from itself too often.

Source of the bootstrap: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 17.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from adamcmp.analysis.intervals import Array
from adamcmp.analysis.selection import cells, criteria_of, ranked_cells, tuning

RESAMPLES = 4000


class Choice(NamedTuple):
    """How an arm's cell was chosen."""

    seeds: float
    """That all its eligible cells were tuned with; infinite where there is one cell, and nothing was chosen."""
    shift_B: Array
    """How far the test error of the cell that redrawn seeds choose is from that of the chosen one; NaN of one seed."""


def choices(records: pd.DataFrame) -> dict[str, Choice]:
    """Of each arm of one task that has an eligible cell."""
    runs = tuning(records)
    runs = runs[runs["status"] == "completed"]
    sign, found = criteria_of(records).error.sign, {}
    for arm, ranked in ranked_cells(cells(records)).groupby("arm"):
        mine = runs[runs["arm"] == arm].set_index(["lr", "weight_decay", "seed"])
        order = pd.MultiIndex.from_frame(ranked[["lr", "weight_decay"]])
        validation_CT = mine["final_validation_error"].unstack().loc[order].dropna(axis="columns")
        test_CT = mine["final_test_error"].unstack().loc[order, validation_CT.columns]
        found[str(arm)] = chosen(sign * validation_CT.to_numpy(), test_CT.to_numpy())
    return found


def chosen(validation_CT: Array, test_CT: Array) -> Choice:
    """Of the errors of C cells on T tuning seeds, where the lowest mean over validation wins, ties the first."""
    count, seeds = validation_CT.shape
    if count == 1:
        return Choice(math.inf, np.zeros(RESAMPLES))
    if seeds < 2:
        return Choice(seeds, np.full(RESAMPLES, math.nan))
    means_BC = (_redrawn(seeds) @ validation_CT.T).round(12)
    mean_C = test_CT.mean(1)
    return Choice(seeds, mean_C[means_BC.argmin(1)] - mean_C[validation_CT.mean(1).round(12).argmin()])


def half_width_of_choice(a: Choice, b: Choice) -> float:
    """Of the difference a − b; 0 where both had one cell, infinite where one seed chose among several."""
    seeds = min(a.seeds, b.seeds)
    if seeds < 2:
        return math.inf
    if math.isinf(seeds):
        return 0.0
    return float(special.stdtrit(seeds - 1, 0.975) * np.sqrt(np.mean((a.shift_B - b.shift_B) ** 2)))


@lru_cache(maxsize=8)
def _redrawn(seeds: int) -> Array:
    """B draws of so many seeds with replacement, as weights (B, T); of arms with as many seeds the same draws."""
    return np.random.default_rng(2).multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
