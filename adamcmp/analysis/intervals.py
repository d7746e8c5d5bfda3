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
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

CONFIDENCE = 0.95
"""Coverage of all intervals that adamcmp shows."""
ALPHA = 0.05
"""Significance level of all tests."""

Array = NDArray[np.float64]


class Interval(NamedTuple):
    """``mean ± half_width`` over ``n`` values, in the unit of the values."""

    mean: float
    half_width: float
    """NaN for n < 2: one seed says nothing about the spread."""
    n: int


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
    """Return θ ± t_{T−1}(0.975) √(T/(T−1) s² + v), of T ≥ 2 seeds with the spread s over draws of them; v: other
    variance.
    """
    variance = seeds / (seeds - 1) * spread**2 + scatter
    half = float(special.stdtrit(seeds - 1, 0.5 + CONFIDENCE / 2)) * math.sqrt(variance)
    return Estimate(value, value - half, value + half)


class Paired(NamedTuple):
    """A mean difference over shared seeds, its 95 % interval and the two-sided p-value of "no difference"."""

    mean: float
    low: float
    high: float
    p_value: float
    n: int


def bootstrap_generator(name: str) -> np.random.Generator:
    """Return the random numbers of that name, the same in every report: SHA-256 of the name is the seed."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


def half_width(sd: Any, n: Any) -> Array:
    """Return t_{0.975, n−1} · sd / √n, elementwise; NaN where n < 2. ``sd`` has n − 1 in its denominator."""
    spread, count = np.asarray(sd), np.asarray(n)
    enough = np.maximum(count, 2)
    t = special.stdtrit(enough - 1, 0.5 + CONFIDENCE / 2)
    return np.where(count >= 2, t * spread / np.sqrt(enough), np.nan)


def mean_interval(values: Iterable[float]) -> Interval:
    """Return mean and two-sided 95 % Student t interval over seeds; NaN marks a missing value and does not count.

    >>> mean, half_width, n = mean_interval([1.0, 2.0, 3.0])
    >>> f"{mean:.2f} ± {half_width:.2f} (n = {n})"
    '2.00 ± 2.48 (n = 3)'
    """
    x = _finite_or_inf(values)
    if x.size == 0:
        return Interval(math.nan, math.nan, 0)
    with np.errstate(invalid="ignore"):  # an infinite loss: the mean is infinite, the spread unknown
        sd = float(x.std(ddof=1)) if x.size > 1 else math.nan
    return Interval(float(x.mean()), float(half_width(sd, x.size)), int(x.size))


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> Paired:
    """Return mean of a − b over the seeds that both have, with the paired t interval and test.

    Seeds share initial weights and batch order between optimizers, so that the difference per seed is freed from
    the spread between seeds. With d_i = a_i − b_i: mean d̄, interval d̄ ± t_{0.975, n−1} s_d/√n, and
    p = P(|T_{n−1}| ≥ |d̄| √n / s_d). Everything but the mean is NaN for fewer than two shared seeds, and where all
    differ by the same amount: errors are multiples of 1/N_test, so that few seeds may tie by chance, and no spread is
    no certainty.

    Args:
        a: Seed → value, such as the test error of one optimizer (a dict, or a pandas Series indexed by seed).
        b: The same of the other.

    Raises:
        ValueError: a seed stands twice.
    """
    left, right = _per_seed(a), _per_seed(b)
    shared = sorted(left.keys() & right.keys())
    d = _finite_or_inf(left[seed] - right[seed] for seed in shared)
    mean, half, n = mean_interval(d)
    if n < 2:
        return Paired(mean, math.nan, math.nan, math.nan, n)
    sd = float(d.std(ddof=1))
    if sd <= 1e-9 * float(np.abs(d).max()):
        return Paired(mean, math.nan, math.nan, math.nan, n)
    statistic = abs(mean) * np.sqrt(n) / sd
    return Paired(mean, mean - half, mean + half, float(2 * special.stdtr(n - 1, -statistic)), n)


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


def _per_seed(values: Mapping[int, float]) -> dict[int, float]:
    items = list(values.items())
    by_seed = {int(seed): float(value) for seed, value in items}
    if len(by_seed) < len(items):
        raise ValueError("a seed occurs twice: pair one run per seed, such as those of the best trial")
    return by_seed


def _finite_or_inf(values: Iterable[float]) -> Array:
    x = np.fromiter(values, dtype=np.float64)
    return x[~np.isnan(x)]
