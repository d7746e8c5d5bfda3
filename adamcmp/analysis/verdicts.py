r"""Compare pairs of optimizers: one model of variance, one confidence interval, one statement.

The error of an optimizer is that of "this optimizer, tuned with T seeds" (``held_out``). The difference a − b is
estimated by its mean over n held-out seeds, and its variance has three sources:

- *seeds* and *test examples*, by a two-way random-effects model of e_ij = a_ij − b_ij on seed i and test example j:
  s²(row means)/n, and max(s²(column means)/N − r, 0) with r = MS_interaction/(n N). Optimizers that share fewer than
  two seeds have s_a²/n_a + s_b²/n_b for seeds (Welch);
- *selection* of the trials by T tuning seeds (``selection_uncertainty``), T − 1 degrees of freedom.

With V = Σ V_k and ν = V² / Σ (V_k²/ν_k) (Welch–Satterthwaite), t = (ā − b̄)/√V has about ν degrees of freedom. Over m
pairs of a task:

- the *confidence interval* is t_ν(1 − 0.025/m) √V wide to both sides: simultaneously 95 % for all pairs (Bonferroni);
- *different*: Holm's adjusted p ≤ 0.05. Where Holm rejects and the interval still covers 0, it ends at 0, so that a
  pair is different exactly when its interval excludes 0;
- *equivalent*: the interval lies within ±margin;
- *no significant difference* otherwise.

Equal predictions on N examples do not prove equal predictions on others: of shares, where fewer than four test examples
separate two optimizers on any seed, the example variance is at least that of half an example more in each direction,
1/(N + 2)², which fades out with every example (``unseen_variance``). Without stored per-example errors, shares get the
variance of independent errors,
(p_a (1 − p_a) + p_b (1 − p_b))/N, which is too large for optimizers that fail on the same examples; other errors count
seeds and selection only, and ``examples`` says so.

Optimizers with unequal tuning budgets are compared at the smaller budget (``at_equal_budget``).

Sources: S. L. Hillis, Statistics in Medicine 33, 2014 (two-way model, degrees of freedom); S. Holm, Scandinavian
Journal of Statistics 6, 1979; D. J. Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987
(equivalence); B. L. Welch, Biometrika 34, 1947.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, special

from adamcmp.analysis.held_out import HeldOut, held_out_of
from adamcmp.analysis.intervals import Array, holm
from adamcmp.analysis.selection_uncertainty import (
    EqualBudget,
    Selection,
    VarianceComponent,
    at_equal_budget,
    selection_variance,
)
from adamcmp.metrics.spec import MetricSpec, task_metrics

ALPHA, POWER = 0.05, 0.8
MAX_SEEDS = 10_000
"""More seeds than this are reported as not attainable."""
MIN_TEST_EXAMPLES = 4
"""Test examples that show a difference, from which on their variance is estimated from them alone."""
DEFAULT_MARGIN = 0.005
"""Margin of shares without a given one: half a percentage point."""
Z_95 = 1.96
"""Standard errors on each side of a 95 % interval of normal estimates."""
JUST_BEYOND = 1e-12
"""How far an interval stays from 0 where Holm rejects and Bonferroni does not."""

Kind = Literal["apart", "same", "open", "none"]
Limit = Literal["", "seeds", "examples", "tuning", "budget", "one tuning seed", "diverged"]
Examples = Literal["stored", "bounded", "ignored"]


class Difference(NamedTuple):
    """The estimated difference of one pair before any correction for several pairs."""

    a: str
    b: str
    n: int
    """Shared held-out seeds; of optimizers that share fewer than two, the smaller number."""
    mean: float
    """a − b, as errors are stored; at the smaller tuning budget where budgets differ."""
    seeds: VarianceComponent
    examples: VarianceComponent
    selection: list[VarianceComponent]
    size: int = 0
    """N test examples; 0: not known."""
    known: Examples = "stored"
    """Whether the example variance is estimated, bounded from above, or missing."""
    tuning_seeds: float = math.inf
    """T; infinite where nothing was selected."""
    paired: bool = True
    budget: float = math.nan
    """Runs of the smaller tuning budget; NaN where budgets are equal."""
    mean_as_tuned: float = math.nan
    lost: tuple[int, int] = (0, 0)
    """Held-out seeds of each optimizer on which a run diverged or failed."""
    runs: tuple[int, int] = (0, 0)
    """Held-out seeds of each optimizer."""
    luck: EqualBudget | None = None
    """Correction for unequal tuning budgets; None: budgets are equal."""
    stage: str = "confirm"
    """Stage of the compared runs; ``tune`` if both optimizers have one trial."""

    @property
    def variance(self) -> float:
        """V, the sum over all sources, but for the luck of the smaller search."""
        return self.seeds.variance + self.examples.variance + self.selection_variance

    @property
    def selection_variance(self) -> float:
        """Variance of the selection of the trials, but for the luck of the smaller search."""
        return sum(component.variance for component in self.selection)

    @property
    def luck_variance(self) -> float:
        """Variance of which trials the smaller search drew."""
        if self.luck is None:
            return 0.0
        noise_R = np.array([noise.variance for noise in self.luck.noise_R])
        return float((self.luck.luck_R**2 + noise_R) @ self.luck.weight_R)

    def probability(self, x: float) -> float:
        """Return the confidence that the true difference is below x."""
        if self.luck is None:
            return float(special.stdtr(self.freedom, (x - self.mean) / math.sqrt(self.variance)))
        scale_R, freedom_R = self._luck_scales
        each_R = special.stdtr(freedom_R, (x - self.mean - self.luck.luck_R) / scale_R)
        return float(each_R @ self.luck.weight_R)

    @property
    def _luck_scales(self) -> tuple[Array, Array]:
        """Return the standard error given each result of the smaller search, and its degrees of freedom."""
        assert self.luck is not None
        own = [self.seeds, self.examples, *self.selection]
        scale_R = np.sqrt([self.variance + noise.variance for noise in self.luck.noise_R])
        return scale_R, np.array([satterthwaite_freedom([*own, noise]) for noise in self.luck.noise_R])

    def quantile(self, level: float) -> float:
        """Return the x with ``probability(x) = level``."""
        if self.luck is None:
            return self.mean + float(special.stdtrit(self.freedom, level)) * math.sqrt(self.variance)
        scale_R, freedom_R = self._luck_scales
        ends_R = self.mean + self.luck.luck_R + special.stdtrit(freedom_R, level) * scale_R
        pad = 1e-9 * float(scale_R.max())
        return float(optimize.brentq(lambda x: self.probability(x) - level, ends_R.min() - pad, ends_R.max() + pad))

    @property
    def freedom(self) -> float:
        """ν, by Welch and Satterthwaite."""
        return satterthwaite_freedom([self.seeds, self.examples, *self.selection])

    @property
    def is_testable(self) -> bool:
        """Whether there is an estimate of the variance over seeds, above zero."""
        return self.n >= 2 and self.variance > 0


class Verdict(NamedTuple):
    """The verdict on one pair of optimizers; differences are a − b, as errors are stored."""

    a: str
    b: str
    kind: Kind
    """Significantly different, equivalent within ``margin``, no significant difference, or not tested."""
    n: int
    """Shared held-out seeds."""
    mean: float
    low: float
    high: float
    """The simultaneous 95 % confidence interval over all pairs of the task and all sources of variance."""
    p_value: float
    """The p-value of "no difference" after Holm's correction."""
    margin: float
    """NaN: none."""
    p_same: float
    """The level at which the interval would just reach the margin; 0.05 or less: equivalent."""
    detectable: float
    """The smallest true difference that is found with 80 % power, from all sources of variance."""
    seeds_needed: float
    """Held-out seeds that find the observed difference with 80 % power; infinite where more seeds alone do not."""
    limit: Limit = ""
    """The largest source of variance, or another obstacle; empty unless ``kind`` is ``open``."""
    needed: float = math.nan
    """Test examples or tuning seeds that find the observed difference with 80 % power, by ``limit``; infinite: none."""
    examples: Examples = "stored"
    """Whether the variance over test examples is estimated, bounded from above or missing."""
    test_examples: int = 0
    """Test examples, or blocks of them; 0: not known."""
    tuned: float = math.inf
    """Tuning seeds; infinite where nothing was selected."""
    paired: bool = True
    """Differences on shared held-out seeds are compared; else Welch's test is used."""
    pairs: int = 1
    """Pairs that the interval and p are corrected for."""
    freedom: float = math.nan
    se_seeds: float = math.nan
    se_examples: float = math.nan
    se_selection: float = math.nan
    """Standard errors by source of variance."""
    budget: float = math.nan
    """Tuning runs of the smaller budget, at which unequal budgets are compared; NaN: budgets are equal."""
    mean_as_tuned: float = math.nan
    """The difference without that correction."""
    lost_a: int = 0
    lost_b: int = 0
    """Held-out seeds on which a run diverged or failed; they count with the error of the best constant prediction."""
    runs_a: int = 0
    runs_b: int = 0
    """Held-out seeds of each optimizer."""
    stage: str = "confirm"
    """Stage of the compared runs. ``tune``: each optimizer has one trial, and tuning seeds serve as held-out seeds."""

    @property
    def has_interval(self) -> bool:
        """Whether both ends are numbers."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def pointwise(self, *sources: Literal["seeds", "examples", "selection"]) -> tuple[float, float]:
        """Return the estimate ± 1.96 standard errors of some sources of variance, without any correction."""
        half = Z_95 * math.sqrt(sum(getattr(self, f"se_{source}") ** 2 for source in sources))
        return self.mean - half, self.mean + half


def verdicts(
    records: pd.DataFrame,
    margin: float | None = None,
    reference: str | None = None,
    outcomes: Mapping[str, Array] | None = None,
    table: pd.DataFrame | None = None,
) -> list[Verdict]:
    """Compare every pair of optimizers of one task, or each optimizer with a reference.

    Where records have a column ``side`` (``comparing.compared``), pairs are of optimizers of different sides.

    Args:
        records: runs of one task, all stages.
        margin: in the unit of stored errors; None: half a percentage point of shares, and none of other errors.
        reference: label or configuration name of an optimizer; None: all pairs.
        outcomes: per-example errors of a run by its ID, as ``records.read_outcomes`` returns them.
        table: ``cells(records)``, if it is known.
    """
    error = task_metrics(records).error
    tested, choices = held_out_of(records, outcomes, table)
    # the better one of a pair comes first
    ordered = sorted(tested, key=lambda arm: (error.sign * float(tested[arm].error_S.mean()), arm))
    named = set(records.loc[(records["arm"] == reference) | (records["optimizer"] == reference), "arm"].astype(str))
    across = pairs_across(records)
    pairs = [
        pair
        for pair in combinations(ordered, 2)
        if (reference is None or named & set(pair)) and (across is None or frozenset(pair) in across)
    ]
    count = example_count(records)
    compared = [
        compare(tested[a], tested[b], choices.get(a), choices.get(b), is_share=error.unit == "%", count=count)
        for a, b in pairs
    ]
    decided = decide(compared, tolerance(margin, error))
    return [_within_range(verdict) for verdict in decided] if error.unit == "%" else decided


def _within_range(verdict: Verdict) -> Verdict:
    """Cut the interval of a difference of two shares to [−1, 1]."""
    if not verdict.has_interval:
        return verdict
    return verdict._replace(low=max(verdict.low, -1.0), high=min(verdict.high, 1.0))


def compare(
    a: HeldOut, b: HeldOut, of_a: Selection | None, of_b: Selection | None, *, is_share: bool = False, count: int = 0
) -> Difference:
    """Estimate the difference of two optimizers and its variance by source.

    Args:
        a: held-out errors of one optimizer.
        b: of the other.
        of_a: its selection; None: it has one trial, which never completed.
        of_b: the same of the other.
        is_share: the error is a share, so that equal predictions and missing per-example errors have a variance.
        count: test examples, where per-example errors are not stored.
    """
    shared = tuple(sorted(set(a.seeds) & set(b.seeds)))
    paired = not len(shared) < 2 <= min(len(a.seeds), len(b.seeds))
    if paired:
        a, b = a.take(shared), b.take(shared)
    lost, runs = (a.lost, b.lost), (len(a.seeds), len(b.seeds))
    if a.examples_SN is not None or b.examples_SN is not None:
        size = (b if a.examples_SN is None else a).examples_SN
        a, b = (side.on_examples(0 if size is None else size.shape[1]) for side in (a, b))
    n = min(len(a.seeds), len(b.seeds))
    mean = float(a.error_S.mean() - b.error_S.mean()) if n else math.nan
    seeds, examples, variance, count = _held_out_variance(a, b, is_paired=paired, is_share=is_share, count=count)
    selection, budget, shift = _selection_variance(a, b, of_a, of_b)
    tuned = min((selection.seeds for selection in (of_a, of_b) if selection is not None), default=math.inf)
    return Difference(
        a.arm, b.arm, n, mean + shift, seeds, examples, selection, count, variance, tuned, paired,
        math.nan if budget is None else budget.runs, mean, lost, runs, budget,
        "tune" if a.stage == b.stage == "tune" else "confirm",
    )  # fmt: skip


def _selection_variance(
    a: HeldOut, b: HeldOut, of_a: Selection | None, of_b: Selection | None
) -> tuple[list[VarianceComponent], EqualBudget | None, float]:
    if of_a is None or of_b is None:
        one, tested = (of_b, b) if of_a is None else (of_a, a)
        return (selection_variance(one, one, tested.trial_error_C, None)[:1] if one else []), None, 0.0
    if budget := at_equal_budget(of_a, of_b):
        return budget.components, budget, budget.shift
    return selection_variance(of_a, of_b, a.trial_error_C, b.trial_error_C), None, 0.0


def _held_out_variance(
    a: HeldOut, b: HeldOut, *, is_paired: bool, is_share: bool, count: int
) -> tuple[VarianceComponent, VarianceComponent, Examples, int]:
    """Return the variance over seeds and over test examples, whether examples are known, and how many."""
    floor = 0.0
    if a.examples_SN is not None and b.examples_SN is not None and a.examples_SN.shape[1] == b.examples_SN.shape[1]:
        count = a.examples_SN.shape[1]
        floor = unseen_variance(a.examples_SN, b.examples_SN, is_paired=is_paired) if is_share else 0.0
        if min(len(a.seeds), len(b.seeds)) < 2:
            return VarianceComponent(math.nan, 1), VarianceComponent(floor, count - 1), "stored", count
        sides = [a.examples_SN - b.examples_SN] if is_paired else [a.examples_SN, -b.examples_SN]
        seeds, examples = two_way(sides)
        return seeds, examples._replace(variance=max(examples.variance, floor)), "stored", count
    seeds = two_way([(a.error_S - b.error_S)[:, None]] if is_paired else [a.error_S[:, None], -b.error_S[:, None]])[0]
    if not (is_share and count):
        return seeds, VarianceComponent(0.0, math.inf), "ignored", count
    shares = [float(np.clip(side.error_S.mean(), 0, 1)) if len(side.seeds) else 0.0 for side in (a, b)]
    bound = sum(share * (1 - share) for share in shares) / count
    return seeds, VarianceComponent(max(bound, 1 / (count + 2) ** 2), math.inf), "bounded", count


def unseen_variance(a_SN: Array, b_SN: Array, *, is_paired: bool) -> float:
    """Return the least variance over test examples of a difference of shares, by how many examples show any difference.

    Source: A. Agresti and Y. Min, Statistics in Medicine 24, 2005 (half an example more in every trial of the table).
    """
    count = a_SN.shape[1]
    differs_N = (a_SN != b_SN).any(0) if is_paired else a_SN.mean(0) != b_SN.mean(0)
    return max(0.0, 1 - int(np.sum(differs_N)) / MIN_TEST_EXAMPLES) / float((count + 2) ** 2)


def two_way(sides: Sequence[Array]) -> tuple[VarianceComponent, VarianceComponent]:
    """Return the variance of a sum of means over seeds and test examples: the part of seeds, and that of examples.

    Args:
        sides: (n, N) values on n seeds and N examples; several where seeds are not shared but examples are.
    """
    parts = [_row_component(values_SN) for values_SN in sides]
    variance = sum(part.variance for part in parts)
    seeds = VarianceComponent(variance, satterthwaite_freedom(parts))
    count = sides[0].shape[1]
    if count < 2:
        return seeds, VarianceComponent(0.0, math.inf)
    column_N = sum(values_SN.mean(0) for values_SN in sides)
    residual = sum(_interaction(values_SN) for values_SN in sides)
    examples = max(float(np.var(column_N, ddof=1)) / count - residual, 0.0)
    return seeds, VarianceComponent(examples, count - 1)


def _row_component(values_SN: Array) -> VarianceComponent:
    n = len(values_SN)
    if n < 2:
        return VarianceComponent(math.nan, 1)
    # the interaction alone makes seeds differ by as much; of few seeds they may differ by less by chance
    return VarianceComponent(max(float(values_SN.mean(1).var(ddof=1)) / n, _interaction(values_SN)), n - 1)


def _interaction(values_SN: Array) -> float:
    """Return MS_interaction/(n N)."""
    n, count = values_SN.shape
    if n < 2 or count < 2:
        return 0.0
    row_S, column_N = values_SN.mean(1), values_SN.mean(0)
    total = float(((values_SN - row_S.mean()) ** 2).sum())
    rest = total - count * n * float(row_S.var()) - n * count * float(column_N.var())
    return float(max(rest, 0.0) / ((n - 1) * (count - 1) * n * count))


def satterthwaite_freedom(components: Sequence[VarianceComponent]) -> float:
    """Return the degrees of freedom of a sum of independent variances, by Welch and Satterthwaite."""
    total = sum(component.variance for component in components)
    if math.isinf(total):
        return 1.0
    if not total > 0:
        return math.inf
    squares = sum((component.variance / total) ** 2 / component.freedom for component in components)
    return float(1 / squares) if squares > 0 else math.inf


def decide(compared: Sequence[Difference], margin: float = math.nan, *, has_power: bool = True) -> list[Verdict]:
    """Return the verdicts on pairs of one task, corrected for how many there are.

    Args:
        compared: the pairs.
        margin: in the unit of stored errors; NaN: none.
        has_power: also compute detectable differences and the seeds that the observed ones need.
    """
    pairs = max(len(compared), 1)
    adjusted = holm([_p_value(difference) for difference in compared])
    return [
        _decide(difference, p_value, margin, pairs, has_power=has_power)
        for difference, p_value in zip(compared, adjusted, strict=True)
    ]


def _p_value(of: Difference) -> float:
    if not of.is_testable or math.isinf(of.variance):
        return 1.0
    if of.luck:
        below = of.probability(0.0)
        return 2 * min(below, 1 - below)
    return float(2 * special.stdtr(of.freedom, -abs(of.mean) / math.sqrt(of.variance)))  # no rounding of small p


def _decide(of: Difference, p_value: float, margin: float, pairs: int, *, has_power: bool) -> Verdict:
    nan = math.nan
    fields: dict[str, Any] = {
        "examples": of.known, "test_examples": of.size, "tuned": of.tuning_seeds, "paired": of.paired, "pairs": pairs,
        "budget": of.budget, "mean_as_tuned": of.mean_as_tuned, "lost_a": of.lost[0], "lost_b": of.lost[1],
        "runs_a": of.runs[0], "runs_b": of.runs[1], "stage": of.stage,
    }  # fmt: skip
    if not of.is_testable:
        return Verdict(of.a, of.b, "none", of.n, of.mean, nan, nan, nan, margin, nan, nan, nan, **fields)
    errors: dict[str, Any] = {
        "freedom": of.freedom, "se_seeds": math.sqrt(of.seeds.variance), "se_examples": math.sqrt(of.examples.variance),
        "se_selection": math.sqrt(of.selection_variance + of.luck_variance),
    }  # fmt: skip
    if math.isinf(of.variance):
        return Verdict(
            of.a, of.b, "open", of.n, of.mean, -math.inf, math.inf, 1.0, margin, 1.0, math.inf, math.inf,
            "one tuning seed", **fields, **errors,
        )  # fmt: skip
    level = ALPHA / pairs
    estimate = of.mean if of.luck is None else of.quantile(0.5)  # the mean of a skewed luck may be outside the interval
    wide = of.quantile(1 - ALPHA / 2) - of.quantile(ALPHA / 2)
    se = wide / 2 / float(special.stdtrit(of.freedom, 1 - ALPHA / 2))
    low, high = of.quantile(level / 2), of.quantile(1 - level / 2)
    if p_value <= ALPHA:
        beyond = min(JUST_BEYOND, 1e-9 * abs(estimate))
        low, high = (max(low, beyond), high) if estimate > 0 else (low, min(high, -beyond))
    is_different = low > 0 or high < 0
    is_equivalent = not math.isnan(margin) and -margin < low and high < margin
    kind: Kind = "apart" if is_different else "same" if is_equivalent else "open"
    outside = nan if math.isnan(margin) else max(of.probability(-margin), 1 - of.probability(margin))
    p_same = min(1.0, 2 * pairs * outside)
    limit = _limiting_factor(of) if kind == "open" else ""
    verdict = Verdict(
        of.a, of.b, kind, of.n, estimate, low, high, p_value, margin, p_same, nan, nan, limit, **fields, **errors
    )  # fmt: skip
    if not has_power:
        return verdict
    known_source = limit if limit in ("examples", "tuning") else None
    needed = nan if known_source is None else required_reduction(of, known_source, level, estimate)
    return verdict._replace(
        detectable=_noncentrality(round(of.freedom, 3), level) * se,
        seeds_needed=required_reduction(of, "seeds", level, estimate),
        needed=needed,
    )


def _limiting_factor(of: Difference) -> Limit:
    """Return the largest source of variance; lost runs come first, since a reader has to know about them."""
    if any(of.lost):
        return "diverged"
    sizes: dict[Limit, float] = {
        "budget": of.luck_variance,
        "seeds": of.seeds.variance, "examples": of.examples.variance, "tuning": of.selection_variance,
    }  # fmt: skip
    return max(sizes, key=lambda source: sizes[source])


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
    scale_Q, weight_Q = _scales(round(freedom, 3))
    return float(weight_Q @ (special.ndtr(shift - limit * scale_Q) + special.ndtr(-shift - limit * scale_Q)))


@lru_cache(maxsize=4096)
def _scales(freedom: float) -> tuple[Array, Array]:
    """Return quantiles of estimated over true standard errors, √(χ²_ν/ν), with weights that sum to 1."""
    if math.isinf(freedom):
        return np.ones(1), np.ones(1)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return np.sqrt(special.chdtri(freedom, (1 - nodes) / 2) / freedom), weights / 2


@lru_cache(maxsize=4096)
def _noncentrality(freedom: float, level: float) -> float:
    """Return the true difference, in standard errors, that a t test finds with ``POWER``."""
    return float(optimize.brentq(lambda shift: power(shift, 1.0, freedom, level) - POWER, 1e-6, 1e6))


def required_reduction(
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


def pairs_across(records: pd.DataFrame) -> set[frozenset[str]] | None:
    """Return the pairs of optimizers of different sides; where two sides share labels, of equal labels only.

    None: records have no column ``side``, and all pairs are compared.
    """
    if "side" not in records:
        return None
    arms = records[["side", "own_arm", "arm"]].drop_duplicates()
    sides = [list(zip(part["own_arm"], part["arm"], strict=True)) for _, part in arms.groupby("side")]
    pairs: set[frozenset[str]] = set()
    for one, other in combinations(sides, 2):
        shared = {label for label, _ in one} & {label for label, _ in other}
        pairs |= {frozenset((a, b)) for x, a in one for y, b in other if (x == y if shared else True)}
    return pairs


def tolerance(margin: float | None, error: MetricSpec) -> float:
    """Return the margin as given; else ``DEFAULT_MARGIN`` of shares, and NaN of other errors."""
    if margin is not None:
        return margin
    return DEFAULT_MARGIN if error.unit == "%" else math.nan


def example_count(records: pd.DataFrame) -> int:
    """Return the number of test examples that the last evaluation of a run shows; 0 where it is not stored."""
    import json

    settings = records["settings"].dropna() if "settings" in records else pd.Series(dtype=object)
    eval_examples = json.loads(settings.iloc[-1]).get("eval_examples") if len(settings) else None
    return int(eval_examples[-1][-1]) if eval_examples else 0


def to_frame(results: Sequence[Verdict]) -> pd.DataFrame:
    """Return one row per pair, with the fields of ``Verdict`` as columns."""
    return pd.DataFrame(results, columns=Verdict._fields)
