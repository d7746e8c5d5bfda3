r"""Estimate the difference of two optimizers, and its variance by source.

The error of an optimizer is that of "this optimizer, tuned with T seeds" (``held_out``). The difference a − b is
estimated by its mean over n held-out seeds, and its variance has three sources:

- *seeds* and *test examples*, by a two-way random-effects model of e_ij = a_ij − b_ij on seed i and test example j:
  s²(row means)/n, and max(s²(column means)/N − r, 0) with r = MS_interaction/(n N). Optimizers that share fewer than
  two seeds have s_a²/n_a + s_b²/n_b for seeds (Welch);
- *selection* of the trials by T tuning seeds (``selection_uncertainty``), T − 1 degrees of freedom.

With V = Σ V_k and ν = V² / Σ (V_k²/ν_k) (Welch–Satterthwaite), t = (ā − b̄)/√V has about ν degrees of freedom.

Equal predictions on N examples do not prove equal predictions on others: of shares, where fewer than four test examples
separate two optimizers on any seed, the example variance is at least that of half an example more in each direction,
1/(N + 2)², which fades out with the size of their differences (``unseen_variance``). Without stored per-example errors,
shares get the variance of independent errors, (p_a (1 − p_a) + p_b (1 − p_b))/N, which is too large for optimizers that
fail on the same examples; other errors count seeds and selection only, and ``examples`` says so.

Optimizers with unequal tuning budgets are compared at the smaller budget (``at_equal_budget``).

Sources: S. L. Hillis, Statistics in Medicine 33, 2014 (two-way model, degrees of freedom); B. L. Welch, Biometrika 34,
1947.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import optimize, special

from adamcmp.analysis.held_out import HeldOut
from adamcmp.analysis.intervals import Array
from adamcmp.analysis.selection_uncertainty import (
    EqualBudget,
    Selection,
    VarianceComponent,
    at_equal_budget,
    selection_variance,
)

MIN_TEST_EXAMPLES = 4
"""Test examples that show a difference, from which on their variance is estimated from them alone."""
ROUNDED_DIGITS = 12
"""Digits of a difference, relative to the errors, beyond which it is rounding."""
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
    """Stage of the compared runs; ``tune`` if both optimizers have one trial, ``imported`` of runs without a plan."""

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
        components = [self.seeds, self.examples, *self.selection]
        scale_R = np.sqrt([self.variance + noise.variance for noise in self.luck.noise_R])
        return scale_R, np.array([satterthwaite_freedom([*components, noise]) for noise in self.luck.noise_R])

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


def compare(
    a: HeldOut,
    b: HeldOut,
    of_a: Selection | None,
    of_b: Selection | None,
    *,
    is_share: bool = False,
    count: int = 0,
    is_foreign: bool = False,
) -> Difference:
    """Estimate the difference of two optimizers and its variance by source.

    Args:
        a: held-out errors of one optimizer.
        b: of the other.
        of_a: its selection; None: it has one trial, which never completed.
        of_b: the same of the other.
        is_share: the error is a share, so that equal predictions and missing per-example errors have a variance.
        count: test examples, where per-example errors are not stored.
        is_foreign: a program of the user has trained the runs. If every run of an optimizer failed, the program does
            not work with it, which says nothing about its errors.
    """
    shared = tuple(sorted(set(a.seeds) & set(b.seeds)))
    paired = not len(shared) < 2 <= min(len(a.seeds), len(b.seeds))
    if paired:
        a, b = a.take(shared), b.take(shared)
    lost, runs = (a.lost, b.lost), (len(a.seeds), len(b.seeds))
    has_only_failed = is_foreign and any(side.lost_S and set(side.lost_S) == {"failed"} for side in (a, b))
    if a.examples_SN is not None or b.examples_SN is not None:
        size = (b if a.examples_SN is None else a).examples_SN
        a, b = (side.on_examples(0 if size is None else size.shape[1]) for side in (a, b))
    n = min(len(a.seeds), len(b.seeds))
    if has_only_failed:
        n = 0
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
    sides = [_difference(a.error_S, b.error_S)] if is_paired else [a.error_S, -b.error_S]
    seeds = two_way([side_S[:, None] for side_S in sides])[0]
    if not (is_share and count):
        return seeds, VarianceComponent(0.0, math.inf), "ignored", count
    shares = [float(np.clip(side.error_S.mean(), 0, 1)) if len(side.seeds) else 0.0 for side in (a, b)]
    bound = sum(share * (1 - share) for share in shares) / count
    return seeds, VarianceComponent(max(bound, 1 / (count + 2) ** 2), math.inf), "bounded", count


def _difference(a_S: Array, b_S: Array) -> Array:
    """Return a − b without errors of rounding: equal differences of numbers such as 0.9 are not quite equal."""
    scale = float(max(np.abs(a_S).max(), np.abs(b_S).max())) if len(a_S) else 0.0
    if not 0 < scale < math.inf:
        return a_S - b_S
    return np.round((a_S - b_S) / scale, ROUNDED_DIGITS) * scale


def unseen_variance(a_SN: Array, b_SN: Array, *, is_paired: bool) -> float:
    """Return the least variance over test examples of a difference of shares, by how many examples show any difference.

    An example counts by its largest difference on a seed, which is less than 1 for averages over candidates: a
    candidate of small weight does not switch the minimum off.

    Source: A. Agresti and Y. Min, Statistics in Medicine 24, 2005 (half an example more in every trial of the table).
    """
    count = a_SN.shape[1]
    if is_paired:
        size_N = np.abs(a_SN - b_SN).max(0)
    else:
        mean_aN, mean_bN = a_SN.mean(0), b_SN.mean(0)
        size_N = np.maximum(np.abs(a_SN - mean_bN).max(0), np.abs(b_SN - mean_aN).max(0)) * (mean_aN != mean_bN)
    return max(0.0, 1 - float(size_N.sum()) / MIN_TEST_EXAMPLES) / float((count + 2) ** 2)


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
    row_S = values_SN.mean(1)
    spread = float(row_S.var(ddof=1)) if np.ptp(row_S) > 0 else 0.0  # the variance of equal numbers is rounding
    # the interaction alone makes seeds differ by as much; of few seeds they may differ by less by chance
    return VarianceComponent(max(spread / n, _interaction(values_SN)), n - 1)


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
