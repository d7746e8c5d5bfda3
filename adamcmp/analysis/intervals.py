r"""Intervals over seeds: plain numbers in, a mean with its uncertainty out.

Seeds are few, so every interval is Student's t, two-sided, 95 %:

.. math::
    \bar x ± t_{0.975,\,n-1}\, s / \sqrt n, \qquad s² = \tfrac{1}{n-1} \sum_i (x_i − \bar x)²

Source: Student, "The probable error of a mean", Biometrika 6 (1908). The t interval takes the values as independent
and roughly normal: right for the spread over seeds of one configuration, not for a choice of the best of many.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

CONFIDENCE = 0.95
"""Coverage of all intervals that adamcmp shows."""
ALPHA = 0.05
"""Significance level of all tests."""

Array = NDArray[np.float64]


class Estimate(NamedTuple):
    """A number and its 95 % interval, which need not be symmetric; NaN for an interval that is unknown."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def has_interval(self) -> bool:
        """Both ends are numbers: one tuning seed leaves them open, and so infinite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def columns(self, name: str) -> dict[str, float]:
        """Return the three columns of a table; ends that are open are NaN."""
        low, high = (self.low, self.high) if self.has_interval else (math.nan, math.nan)
        return {name: self.value, f"{name}_low": low, f"{name}_high": high}


def bootstrap_estimate(value: float, spread: float, seeds: int, scatter: float = 0.0) -> Estimate:
    """Return the bootstrap estimate θ ± t_{T−1}(0.975) √(T/(T−1) s² + v).

    Args:
        value: θ.
        spread: s, the standard deviation over bootstrap resamples of the seeds.
        seeds: T ≥ 2.
        scatter: v, variance from other sources.
    """
    variance = seeds / (seeds - 1) * spread**2 + scatter
    half = float(special.stdtrit(seeds - 1, 0.5 + CONFIDENCE / 2)) * math.sqrt(variance)
    return Estimate(value, value - half, value + half)


def bootstrap_generator(name: str) -> np.random.Generator:
    """Return the random numbers of that name, the same in every report: SHA-256 of the name is the seed."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


def half_width(sd: Any, n: Any) -> Array:
    """Return t_{0.975, n−1} · sd / √n, elementwise; NaN where n < 2. ``sd`` has n − 1 in its denominator."""
    spread, count = np.asarray(sd), np.asarray(n)
    enough = np.maximum(count, 2)
    t = special.stdtrit(enough - 1, 0.5 + CONFIDENCE / 2)
    return np.where(count >= 2, t * spread / np.sqrt(enough), np.nan)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values: p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j)), in the order given.

    Each may be compared with the level that all m tests together shall keep. Source: Holm, "A simple sequentially
    rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    m, largest = len(p_values), 0.0
    adjusted = [0.0] * m
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (m - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
