"""Power of a t test: how often it finds a true difference, and how many seeds that takes."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Literal

import numpy as np
from scipy import optimize, special

from adamcmp.analysis.difference import Difference, satterthwaite_freedom
from adamcmp.analysis.intervals import ALPHA, Array
from adamcmp.analysis.selection_uncertainty import VarianceComponent

POWER = 0.8
"""Power that detectable differences and required seeds refer to."""
MAX_SEEDS = 10_000
"""More seeds than this are reported as not attainable."""


def power(difference: float, se: float, freedom: float, level: float = ALPHA) -> float:
    """Return how often a two-sided t test finds a true difference.

    That is the normal power, averaged over the χ² distribution of the estimated standard error.

    Args:
        difference: the true one.
        se: standard error of its estimate.
        freedom: degrees of freedom of the standard error.
        level: of the test.
    """
    shift, limit = abs(difference) / se, float(special.stdtrit(freedom, 1 - level / 2))
    scale_Q, weight_Q = _error_scales(round(freedom, 3))
    return float(weight_Q @ (special.ndtr(shift - limit * scale_Q) + special.ndtr(-shift - limit * scale_Q)))


@lru_cache(maxsize=4096)
def _error_scales(freedom: float) -> tuple[Array, Array]:
    """Return quantiles of estimated over true standard errors, √(χ²_ν/ν), with weights that sum to 1."""
    if math.isinf(freedom):
        return np.ones(1), np.ones(1)
    nodes, weights = _quadrature()
    return np.sqrt(special.chdtri(freedom, (1 - nodes) / 2) / freedom), weights / 2


@cache
def _quadrature() -> tuple[Array, Array]:
    """Return nodes and weights of Gauss–Legendre quadrature on [−1, 1]: 30 ms, once per process."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return nodes, weights


@lru_cache(maxsize=4096)
def noncentrality(freedom: float, level: float) -> float:
    """Return the true difference, in standard errors, that a t test finds with ``POWER``."""
    return float(optimize.brentq(lambda shift: power(shift, 1.0, freedom, level) - POWER, 1e-6, 1e6))


def required_count(
    of: Difference, source: Literal["seeds", "examples", "tuning"], level: float = ALPHA, estimate: float | None = None
) -> float:
    """Return how many seeds, test examples or tuning seeds find the observed difference with 80 % power.

    The variance of that source shrinks in proportion, the others stay. Infinite where that does not suffice, or where
    it takes more than ``MAX_SEEDS`` seeds.
    """
    now = {"seeds": of.n, "examples": of.size, "tuning": of.tuning_seeds}[source]
    difference = of.mean if estimate is None else estimate
    if not now or not math.isfinite(now) or difference == 0:
        return math.inf

    def is_enough(count: float) -> bool:
        ratio = now / count
        parts = {
            "seeds": [of.seeds], "examples": [of.examples], "tuning": of.selection,
        }  # fmt: skip
        parts[source] = [
            VarianceComponent(part.variance * ratio, max(part.freedom + count - now, 1)) for part in parts[source]
        ]
        flat = [
            *(component for group in parts.values() for component in group),
            VarianceComponent(of.luck_variance, math.inf),
        ]
        return (
            power(
                difference, math.sqrt(sum(component.variance for component in flat)), satterthwaite_freedom(flat), level
            )
            >= POWER
        )

    most = MAX_SEEDS if source != "examples" else 1000 * now
    if not is_enough(most):
        return math.inf
    low, high = 2, int(most)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return float(low)
