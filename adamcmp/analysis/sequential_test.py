r"""Confidence sequences for paired differences: intervals that hold at every number of seeds at once.

Adding seeds until an interval of fixed size excludes 0 makes that happen by chance alone. A confidence sequence may be
looked at after every seed.

*Bounded* (the default). A run whose error is worse than that of the best constant prediction, b, counts with b, so that
differences lie in [−b, b] whatever an optimizer does on unseen seeds. With x_i = (d_i + b)/(2b) and a mean m of x, the
capital of a gambler who bets a share f against "the mean is m or less",

.. math:: K^+(m) = \sum_f w_f \prod_i (1 + f (x_i/m − 1)),

is a supermartingale, for any fixed weights w_f. By Ville's inequality it exceeds 2/α with a probability of at most α/2
at any n, and so does K⁻ with 1 − x and 1 − m. The sequence is {m: K⁺ < 2/α and K⁻ < 2/α}. Its price: excluding that
rare failures of b make up for a difference δ takes about b/δ · log(4/α) seeds, by any method.

*Symmetric* (``assume_symmetric``). If each d_i is symmetric about μ, then for S = Σ (d_i − μ) and V = Σ (d_i − μ)²

.. math:: M_n(μ) = (1 + ρ² V)^{−1/2} \exp\left(\frac{ρ² S²}{2 (1 + ρ² V)}\right)

is a supermartingale for every ρ that was fixed beforehand, and the sequence is {μ: M_n(μ) < 1/α}. It needs far fewer
seeds, and it is wrong for an optimizer that fails on some seeds: a failure that was seen makes the differences
asymmetric (``has_outlier``), one that was not seen cannot be excluded.

Sources: I. Waudby-Smith and A. Ramdas, Estimating means of bounded random variables by betting, JRSS B 86, 2024;
V. H. de la Peña, M. J. Klass and T. L. Lai, Self-normalized Processes, Annals of Probability 32, 2004.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import optimize, special

from adamcmp.analysis.difference import Difference, compare
from adamcmp.analysis.held_out import HeldOut, baseline, held_out_of
from adamcmp.analysis.intervals import ALPHA, Array
from adamcmp.analysis.selection import trials_table
from adamcmp.analysis.selection_uncertainty import VarianceComponent
from adamcmp.analysis.verdicts import Kind, Verdict, example_count, margin_or_default
from adamcmp.metrics.spec import task_metrics

TUNED_SAMPLE_SIZE = 30
"""Seeds at which the symmetric sequence is narrowest."""
BET_SHARES = np.concatenate([[1.0], 2.0 ** -np.arange(1, 11)])
"""Shares f that are bet."""
BET_WEIGHTS = np.concatenate([[0.5], np.full(10, 0.05)])
"""Weights of the bets. A bet of everything gets half: it is best for differences that are small compared with b."""
OUTLIER_RATIO = 10.0
"""Median absolute deviations from the median beyond which a difference is a failure of one optimizer."""


def bounded_sequence(d_n: Array, bound: float, level: float = ALPHA) -> tuple[float, float]:
    """Return the interval after n differences in [−bound, bound], by betting.

    With a probability of 1 − ``level`` it contains their mean at all n at once.
    """
    x_n = (np.clip(d_n, -bound, bound) + bound) / (2 * bound)
    low, high = _lower_end(x_n, level), 1 - _lower_end(1 - x_n, level)
    return 2 * bound * low - bound, 2 * bound * high - bound


def log_capital(x_n: Array, mean: float) -> float:
    """Return log K⁺: the evidence against a mean of ``mean`` or less, of values in [0, 1]."""
    with np.errstate(divide="ignore"):
        growth_F = np.log1p(BET_SHARES[:, None] * (x_n / mean - 1)).sum(1)
    return float(special.logsumexp(growth_F, b=BET_WEIGHTS))


def _lower_end(x_n: Array, level: float) -> float:
    """Return the smallest mean that is not rejected; the capital falls as the mean rises."""
    limit, top = math.log(2 / level), float(x_n.mean()) if len(x_n) else 0.0
    if top <= 0 or log_capital(x_n, 1e-9) <= limit:
        return 0.0
    return float(optimize.brentq(lambda mean: log_capital(x_n, mean) - limit, 1e-9, max(top, 1e-9)))


def mixture_scale(sd: float, level: float = ALPHA) -> float:
    """Return ρ for differences of about that standard deviation, known from other seeds."""
    return math.sqrt(2 * math.log(1 / level)) / (sd * math.sqrt(TUNED_SAMPLE_SIZE))


def log_evidence(d_n: Array, mean: float, rho: float) -> float:
    """Return log M_n: the evidence against the differences being symmetric about ``mean``."""
    centred = d_n - mean
    total, squares = float(centred.sum()), float((centred**2).sum())
    shrunk = 1 + rho**2 * squares
    return rho**2 * total**2 / (2 * shrunk) - 0.5 * math.log(shrunk)


def symmetric_sequence(d_n: Array, rho: float, level: float = ALPHA) -> tuple[float, float]:
    """Return the interval after n differences that are symmetric about their center.

    Far from all differences M_n falls again, since it cannot grow without bound. There another bound holds: the first f
    (``min_seeds``) lie on one side of the center with a probability of 2 · 2^−f, which ``level`` is reduced by. The
    interval is the stretch around the mean where M_n < 1/(level − 2^(1−f)), within the range of the first f; infinite
    while there are fewer. ``rho`` must not depend on these differences.
    """
    first = min_seeds(level)
    if len(d_n) < first:
        return -math.inf, math.inf
    limit, mean = math.log(1 / (level - 2.0 ** (1 - first))), float(d_n.mean())

    def over(x: float) -> float:
        return log_evidence(d_n, x, rho) - limit

    ends: list[float] = []
    for bound in (float(d_n[:first].min()), float(d_n[:first].max())):
        inside = abs(bound - mean) > 0 and (bound < mean) == (not ends) and over(bound) >= 0
        ends.append(float(optimize.brentq(over, mean, bound)) if inside and over(mean) < 0 else bound)
    return min(ends[0], mean), max(ends[1], mean)


def min_seeds(level: float = ALPHA) -> int:
    """Return how many differences a symmetric interval needs: a fifth of the level goes into the other bound.

    >>> min_seeds(), min_seeds(0.05 / 6)
    (8, 11)
    """
    return math.ceil(1 - math.log2(level / 5))


def has_outlier(d_n: Array) -> bool:
    """Return whether a difference is so far from the others that one optimizer failed on that seed."""
    if len(d_n) < 4:
        return False
    centre = float(np.median(d_n))
    typical = float(np.median(np.abs(d_n - centre)))
    return bool(np.abs(d_n - centre).max() > OUTLIER_RATIO * max(typical, 1e-12))


def difference_bound(records: pd.DataFrame) -> float:
    """Return the largest error that the bounded sequence counts; NaN if it is not known.

    That is the error of the best constant prediction, or 1 of shares where higher is better or none is stored.
    """
    error = task_metrics(records).error
    bound = math.nan if error.higher_is_better else baseline(records)
    return 1.0 if error.unit == "%" and not bound > 0 else bound


def _differences(a: HeldOut | None, b: HeldOut | None, bound: float) -> Array:
    """Return a − b on the seeds that both have, errors above the bound counted as the bound; NaN: no bound."""
    if a is None or b is None:
        return np.zeros(0)
    seeds = tuple(sorted(set(a.seeds) & set(b.seeds)))
    return np.fmin(a.take(seeds).error_S, bound) - np.fmin(b.take(seeds).error_S, bound)


def sequential_verdict(
    records: pd.DataFrame,
    pair: tuple[str, str],
    margin: float | None = None,
    outcomes: Mapping[str, Array] | None = None,
    *,
    assume_symmetric: bool = False,
) -> Verdict:
    """Return the verdict of the seeds of stage ``settle`` on two optimizers, at whatever number of them.

    Each of the m pairs of the task has an m-th of the level (Bonferroni). The variance over test examples and of the
    selection widens the interval as in ``verdicts``, in quadrature; it does not shrink with more seeds.

    Args:
        records: runs of one task, all stages.
        pair: the labels of the optimizers.
        margin: as ``verdicts`` has it.
        outcomes: per-example errors of a run by its ID.
        assume_symmetric: use the symmetric sequence; ρ is made from the held-out seeds of the sweep.

    Raises:
        ValueError: too few held-out seeds of the sweep, no bound for the error, or differences that are not symmetric.
    """
    error, bound, table = task_metrics(records).error, difference_bound(records), trials_table(records)
    confirming, choices = held_out_of(records, outcomes, table)
    added, _ = held_out_of(records, outcomes, table, stage="settle")
    a, b = (confirming.get(arm) for arm in pair)
    if a is None or b is None:
        raise ValueError("one of the two has no held-out runs")
    difference = compare(
        a, b, *map(choices.get, pair), is_share=error.unit == "%", count=example_count(records)
    )  # fmt: skip
    x, y = (added.get(arm) for arm in pair)
    before, d_n = _differences(a, b, bound), _differences(x, y, bound)
    pairs = math.comb(len(confirming), 2)
    level = ALPHA / pairs
    if not assume_symmetric and not bound > 0:
        raise ValueError(
            f"the {error.label} has no known bound, so that only differences that are symmetric can be judged: "
            "use --assume-symmetric"
        )
    if assume_symmetric:
        if len(before) < 3 or before.std(ddof=1) == 0:
            raise ValueError("the optimizers need three held-out seeds with different differences")
        if has_outlier(np.concatenate([before, d_n])):
            raise ValueError(
                "on some seed one optimizer fails and the other does not, so that differences are not symmetric: "
                "leave out --assume-symmetric"
            )
        low, high = symmetric_sequence(d_n, mixture_scale(float(before.std(ddof=1)), level), level)
    else:
        low, high = bounded_sequence(d_n, bound, level) if len(d_n) else (-bound, bound)
    mean = float(d_n.mean()) if len(d_n) else difference.mean_as_tuned
    lost = (0 if x is None else x.lost, 0 if y is None else y.lost)
    difference = difference._replace(lost=lost, runs=(len(d_n), len(d_n)))
    return decide_sequence(difference, len(d_n), mean, (low, high), margin_or_default(margin, error), pairs)


def decide_sequence(
    difference: Difference, n: int, mean: float, ends: tuple[float, float], margin: float, pairs: int = 1
) -> Verdict:
    """Return the verdict by a confidence sequence, widened for test examples and for the selection.

    Args:
        difference: of the held-out seeds of the sweep, for the other sources of variance.
        n: seeds of the sequence.
        mean: of the differences.
        ends: of the sequence.
        margin: NaN: none.
        pairs: pairs of the task.
    """
    shift = 0.0 if difference.luck is None else difference.luck.shift
    rest = difference._replace(mean=0.0, seeds=VarianceComponent((1e-9 * abs(mean)) ** 2, math.inf))
    level, low, high = ALPHA / pairs, ends[0] + shift, ends[1] + shift
    centre = mean + shift
    if math.isinf(rest.variance):
        low, high = -math.inf, math.inf
    elif rest.variance > 0 or rest.luck_variance > 0:
        low = centre - math.hypot(centre - low, rest.quantile(level / 2))
        high = centre + math.hypot(high - centre, rest.quantile(1 - level / 2))
    kind: Kind = "apart" if low > 0 or high < 0 else "same" if -margin < low and high < margin else "open"
    nan = math.nan
    verdict = Verdict(
        difference.a, difference.b, kind if n else "open", n, centre, low, high, nan, margin, nan, nan, nan,
        "" if kind != "open" else "one tuning seed" if math.isinf(rest.variance) else "seeds",
        examples=difference.known, test_examples=difference.size, tuned=difference.tuning_seeds, pairs=pairs,
        se_seeds=(ends[1] - ends[0]) / 4, se_examples=math.sqrt(difference.examples.variance),
        se_selection=math.sqrt(difference.selection_variance + difference.luck_variance),
        budget=difference.budget, mean_as_tuned=mean, freedom=difference.freedom, lost_a=difference.lost[0],
        lost_b=difference.lost[1], runs_a=difference.runs[0], runs_b=difference.runs[1],
    )  # fmt: skip
    if cannot_be_decided(verdict) and verdict.limit == "seeds":
        return verdict._replace(limit="examples" if verdict.se_examples > verdict.se_selection else "tuning")
    return verdict


def cannot_be_decided(verdict: Verdict) -> bool:
    """Return whether no number of seeds decides: test examples and selection leave more open than the difference."""
    if verdict.kind != "open":
        return False
    if verdict.limit == "one tuning seed":
        return True
    largest = abs(verdict.mean) + 2 * verdict.se_seeds
    return verdict.n > 0 and not fixed_half_width(verdict) < verdict.margin and largest <= fixed_half_width(verdict)


def fixed_half_width(verdict: Verdict) -> float:
    """Return the half width that test examples and selection leave, however many seeds are added."""
    quantile = float(special.ndtri(1 - ALPHA / 2 / verdict.pairs))
    return quantile * math.hypot(verdict.se_examples, verdict.se_selection)


def seeds_needed(difference: float, bound: float, pairs: int = 1) -> float:
    """Return about how many seeds the bounded sequence takes to find a difference without any noise.

    >>> round(seeds_needed(0.04, 0.9))
    101
    """
    if difference == 0 or not bound > 0:
        return math.inf
    return math.log(4 * pairs / ALPHA) / math.log1p(abs(difference) / bound)
