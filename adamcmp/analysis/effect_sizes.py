r"""Effect sizes of the difference between two optimizers, in four measures next to Student's interval.

- the mean of d_i = a_i − b_i over shared seeds, with the BCa bootstrap interval, which follows a skew. A bootstrap of
  n seeds is too narrow by √((n−1)/n) and knows nothing of Student's t: each tail is Φ(−√(n/(n−1)) t_{n−1}(0.975));
- the interquartile mean of d_i (a quarter cut off at each end), which one lucky seed does not move, with BCa too;
- the probability of improvement P(a better than b) + ½ P(equal) of two independent seeds, U/(n m) of Mann and Whitney,
  with Newcombe's interval of score type, {θ: |θ̂ − θ| ≤ z √(θ (1−θ) (1 + k (1−θ)/(2−θ) + k θ/(1+θ)) / (n m))} with
  k = (n + m)/2 − 1, which has a width where all seeds of one optimizer are better too;
- the standardized effect d̄/s_d, with the interval that the noncentral t distribution gives: all δ for which
  t = √n d̄/s_d is no surprise.

Arms that share no seeds are differences of means and of interquartile means, and d̄/√((s_a² + s_b²)/2).

Sources: B. Efron, Better Bootstrap Confidence Intervals, JASA 82, 1987; R. Agarwal et al., Deep Reinforcement Learning
at the Edge of the Statistical Precipice, NeurIPS 2021 (interquartile mean, probability of improvement); T. C.
Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69, 2015 (tails); R. G. Newcombe,
Statistics in Medicine 25, 2006 (part 2, method 5); G. Cumming and S. Finch, Educational and Psychological Measurement
61, 2001 (noncentral t).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from adamcmp.analysis.held_out import held_out_rows_of
from adamcmp.analysis.intervals import CONFIDENCE, Array, Estimate, bootstrap_generator
from adamcmp.analysis.verdicts import Verdict
from adamcmp.metrics.spec import task_metrics

MIN_SEEDS = 4
"""Seeds from which on a bootstrap of them says anything, and a quarter can be cut off."""
TRIMMED_FRACTION = (1 - CONFIDENCE) / 2


class EffectSize(NamedTuple):
    """How large the difference a − b of a pair is."""

    a: str
    b: str
    n: int
    mean: Estimate
    interquartile_mean: Estimate
    improvement: Estimate
    """Probability that a is better than b."""
    standardised: Estimate


def estimate_effects(
    records: pd.DataFrame, verdicts: Sequence[Verdict], table: pd.DataFrame | None = None
) -> list[EffectSize]:
    """Estimate the effect sizes of every pair that has a verdict, over held-out seeds.

    Args:
        records: runs of one task, all stages.
        verdicts: the verdicts on its pairs.
        table: ``trials_table(records)``, if it is known.
    """
    sign, rows = task_metrics(records).error.sign, held_out_rows_of(records, table)
    by_arm = {str(arm): part["final_test_error"].to_numpy() for arm, part in rows.groupby("arm")}
    return [
        _effect(verdict, differences(rows, verdict.a, verdict.b), by_arm[verdict.a], by_arm[verdict.b], sign)
        for verdict in verdicts
        if verdict.kind != "none"
    ]


def differences(rows: pd.DataFrame, a: str, b: str) -> Array:
    """Return a − b of the final test errors on the seeds that two optimizers share, in their order."""
    of_a, of_b = (rows[rows["arm"] == arm].set_index("seed")["final_test_error"] for arm in (a, b))
    shared = sorted(set(of_a.index) & set(of_b.index))
    return np.array([of_a[seed] - of_b[seed] for seed in shared])


def _effect(of: Verdict, d: Array, x: Array, y: Array, sign: float) -> EffectSize:
    samples = (d,) if of.paired else (x, y)
    return EffectSize(
        of.a, of.b, of.n, bca(samples, np.mean), bca(samples, interquartile_mean),
        probability_of_improvement(sign * x, sign * y),
        standardized_paired(d) if of.paired else standardized_difference(x, y),
    )  # fmt: skip


def interquartile_mean(values: Array, axis: int = -1) -> Any:
    """Return the mean of the middle half: ⌊n/4⌋ values are cut off at each end."""
    return stats.trim_mean(values, 0.25, axis=axis)


def bca(samples: Sequence[Array], statistic: Callable[..., Any]) -> Estimate:
    """Return a statistic of one sample, or its difference between two, with the BCa interval (scipy's)."""

    def of_all(*parts: Array, axis: int = -1) -> Any:
        first, *statistics = (statistic(part, axis=axis) for part in parts)
        return first - statistics[0] if statistics else first

    value = float(of_all(*samples))
    if min(map(len, samples)) < MIN_SEEDS or all(np.ptp(sample) == 0 for sample in samples):
        return Estimate(value)
    n = min(map(len, samples))
    tail = float(special.ndtr(-math.sqrt(n / (n - 1)) * special.stdtrit(n - 1, 1 - TRIMMED_FRACTION)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of seeds that are all but alike scipy has no interval, and says so
        interval = stats.bootstrap(
            samples,
            of_all,
            n_resamples=4000,
            method="BCa",
            confidence_level=1 - 2 * tail,
            rng=bootstrap_generator("effects"),
        ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))


def probability_of_improvement(x: Array, y: Array) -> Estimate:
    """Return P(x < y) + ½ P(x = y) of two seeds drawn from each, where less is better."""
    better_XY = np.where(x[:, None] < y, 1.0, np.where(x[:, None] == y, 0.5, 0.0))
    value, (n, m) = float(better_XY.mean()), better_XY.shape
    if min(n, m) < MIN_SEEDS:
        return Estimate(value)
    k, z = (n + m) / 2 - 1, float(special.ndtri(1 - TRIMMED_FRACTION))

    def beyond(theta: float) -> float:
        spread = theta * (1 - theta) * (1 + k * (1 - theta) / (2 - theta) + k * theta / (1 + theta)) / (n * m)
        return float((value - theta) ** 2 - z**2 * spread)

    inner = min(max(value, 1e-9), 1 - 1e-9)
    low = 0.0 if value == 0 else optimize.brentq(beyond, 0.0, inner)
    high = 1.0 if value == 1 else optimize.brentq(beyond, inner, 1.0)
    return Estimate(value, float(low), float(high))


def standardized_paired(d: Array) -> Estimate:
    """Return d̄/s_d."""
    spread = float(d.std(ddof=1))
    return _standardized(float(d.mean()) / spread if spread else math.nan, len(d) - 1, 1 / math.sqrt(len(d)))


def standardized_difference(x: Array, y: Array) -> Estimate:
    """Return (x̄ − ȳ)/√((s_x² + s_y²)/2)."""
    spread = math.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2)
    effect = float(x.mean() - y.mean()) / spread if spread else math.nan
    return _standardized(effect, len(x) + len(y) - 2, math.sqrt(1 / len(x) + 1 / len(y)))


def _standardized(effect: float, freedom: int, scale: float) -> Estimate:
    """Return a standardized difference with its interval by the noncentral t distribution of effect/scale; NaN for
    values without spread.
    """
    if math.isnan(effect):
        return Estimate(math.nan)
    low, high = (
        float(special.nctdtrinc(freedom, p, effect / scale)) * scale for p in (1 - TRIMMED_FRACTION, TRIMMED_FRACTION)
    )
    return Estimate(effect, low, high)


def to_frame(effects: Sequence[EffectSize]) -> pd.DataFrame:
    """Return one row per pair, with three columns per estimate."""
    rows = []
    for effect in effects:
        row: dict[str, object] = {"a": effect.a, "b": effect.b, "n": effect.n}
        for name in ("mean", "interquartile_mean", "improvement", "standardised"):
            estimate: Estimate = getattr(effect, name)
            row |= estimate.columns(name)
        rows.append(row)
    return pd.DataFrame(rows)
