"""Bootstrap over tuning seeds."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from adamcmp.analysis.intervals import Array, bootstrap_generator

RESAMPLES = 4000
"""Bootstrap resamples where they are not enumerated."""
MAX_EXACT_SEEDS = 7


class Resamples(NamedTuple):
    """Bootstrap resamples of T seeds."""

    share_BT: Array
    """Share of each seed in resample b; rows sum to 1."""
    probability_B: Array


@lru_cache(maxsize=16)
def draw_resamples(seeds: int) -> Resamples:
    """Return the bootstrap resamples of T seeds; optimizers with as many seeds get the same ones.

    >>> draw_resamples(2)
    Resamples(share_BT=array([[1. , 0. ],
           [0.5, 0.5],
           [0. , 1. ]]), probability_B=array([0.25, 0.5 , 0.25]))
    """
    if seeds > MAX_EXACT_SEEDS:
        return Resamples(bootstrap_weights(seeds), np.full(RESAMPLES, 1 / RESAMPLES))
    bars = np.array([*combinations(range(2 * seeds - 1), seeds - 1)], int).reshape(math.comb(2 * seeds - 1, seeds), -1)
    edges = np.hstack([np.full((len(bars), 1), -1), bars, np.full((len(bars), 1), 2 * seeds - 1)])
    copies_BT = (np.diff(edges, axis=1) - 1)[::-1]
    probability_B = np.exp(-special.gammaln(copies_BT + 1).sum(1))
    return Resamples(copies_BT / seeds, probability_B / probability_B.sum())


@lru_cache(maxsize=8)
def bootstrap_weights(seeds: int) -> NDArray[np.float64]:
    """Return ``RESAMPLES`` draws of T seeds with replacement, as shares (B, T)."""
    return bootstrap_generator("tuning seeds").multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
