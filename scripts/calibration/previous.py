"""The first verdict of adamcmp, for comparison: an intersection of a permutation test and two intervals.

Differences over held-out seeds of the selected trials only. "Different" needs an exact permutation test after Holm, and
that a crossed bootstrap over seeds and test examples, widened for the selection, excludes 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from adamcmp.analysis.bootstrap import bootstrap_weights
from adamcmp.analysis.intervals import holm
from adamcmp.analysis.selection_uncertainty import Selection, at_equal_budget

Array = NDArray[np.float64]
EXACT, SIGNS, DRAWS = 12, 6000, 600
"""Seeds with all signs, drawn signs beyond, and draws of the test examples; fewer than the old code used."""


@lru_cache(maxsize=8)
def _signs(n: int) -> Array:
    return np.random.default_rng(5).integers(0, 2, (SIGNS, n)) * 2.0 - 1


@lru_cache(maxsize=8)
def _example_weights(count: int) -> Array:
    draws = np.random.default_rng(99).multinomial(count, np.full(count, 1 / count), DRAWS) / count
    return draws.astype(np.float32)


def permutation_test(d_S: Array) -> float:
    """Return the two-sided p-value of the paired permutation test."""
    observed = abs(float(d_S.sum())) * (1 - 1e-12)
    if len(d_S) > EXACT:
        return float((1 + (np.abs(_signs(len(d_S)) @ d_S) >= observed).sum()) / (1 + SIGNS))
    sums = np.zeros(1)
    for value in d_S:
        sums = np.concatenate([sums + value, sums - value])
    return float((np.abs(sums) >= observed).mean())


def _selection_half_width(a: Selection, b: Selection, a_B: Array, b_B: Array) -> float:
    seeds = min(a.seeds, b.seeds)
    if seeds < 2:
        return math.inf
    if math.isinf(seeds):
        return 0.0
    squares = (a_B - b_B) ** 2 if a.seed_ids == b.seed_ids else a_B**2 + b_B**2
    return float(special.stdtrit(seeds - 1, 0.975) * np.sqrt(np.mean(squares)))


def shifts(of: Selection) -> Array:
    """Return the shift in test error on 4,000 drawn resamples."""
    if math.isinf(of.seeds):
        return np.zeros(1)
    mean_C = of.test_CT.mean(1)
    return np.asarray(
        mean_C[(bootstrap_weights(of.test_CT.shape[1]) @ of.validation_CT.T).round(12).argmin(1)] - mean_C[of.place]
    )


def different(pairs: Sequence[tuple[Array, Selection, Selection]]) -> list[tuple[bool, float, tuple[float, float]]]:
    """Return whether each pair differs significantly, the estimate and the widest interval that was printed.

    Args:
        pairs: (S, N) differences of the selected trials, and both selections.
    """
    count, seen = len(pairs), []
    for e_SN, a, b in pairs:
        d_S = e_SN.mean(1)
        mean, spread = float(d_S.mean()), float(d_S.std(ddof=1))
        if spread <= 1e-9 * float(np.abs(d_S).max()):
            seen.append((1.0, mean, mean, mean, 0.0, None))
            continue
        d_SB = e_SN.astype(np.float32) @ _example_weights(e_SN.shape[1]).T
        draw = np.random.default_rng(1)
        weight_BS = draw.multinomial(len(d_S), np.full(len(d_S), 1 / len(d_S)), DRAWS) / len(d_S)
        low, high = np.quantile((weight_BS * d_SB.T).sum(1), [0.025, 0.975])
        choice = _selection_half_width(a, b, shifts(a), shifts(b))
        seen.append((permutation_test(d_S), mean, float(low), float(high), choice, at_equal_budget(a, b)))
    adjusted, result = holm([each[0] for each in seen]), []
    for p, (_, mean, low, high, choice, budget), (_, a, b) in zip(adjusted, seen, pairs, strict=True):
        seeds = min(a.seeds, b.seeds)
        factor = 1.0
        if 2 <= seeds < math.inf:
            one, several = (special.stdtrit(seeds - 1, 1 - 0.025 / each) for each in (1, count))
            factor = float(several / one)

        def widened(width: float, shift: float = 0.0) -> tuple[float, float]:
            return mean + shift - math.hypot(mean - low, width), mean + shift + math.hypot(high - mean, width)  # noqa: B023

        ends = [widened(factor * choice)]
        if budget is not None:
            quantile = float(special.stdtrit(seeds - 1, 0.975)) if math.isfinite(seeds) else 0.0
            width = math.hypot(quantile * math.sqrt(sum(c.variance for c in budget.components[:-1])),
                               1.96 * math.sqrt(budget.components[-1].variance))  # fmt: skip
            ends.append(widened(factor * width, budget.shift))
        excludes = all(end[0] > 0 for end in ends) or all(end[1] < 0 for end in ends)
        result.append((bool(p <= 0.05 and excludes and high > low), mean, widened(choice)))
    return result
