"""Compare pairs of optimizers: one confidence interval and one statement for each pair.

``difference`` estimates a − b, its variance V and its degrees of freedom ν, so that t = (ā − b̄)/√V. Over m pairs of a
task:

- the *confidence interval* is t_ν(1 − 0.025/m) √V wide to both sides: simultaneously 95 % for all pairs (Bonferroni);
- *different*: Holm's adjusted p ≤ 0.05. Where Holm rejects and the interval still covers 0, it ends at 0, so that a
  pair is different exactly when its interval excludes 0;
- *equivalent*: the interval lies within ±margin;
- *no significant difference* otherwise.

Sources: S. Holm, Scandinavian Journal of Statistics 6, 1979; D. J. Schuirmann, Journal of Pharmacokinetics and
Biopharmaceutics 15, 1987 (equivalence).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, NamedTuple

import pandas as pd
from scipy import special

from adamcmp.analysis.difference import Difference, Examples, compare
from adamcmp.analysis.held_out import held_out_of
from adamcmp.analysis.intervals import ALPHA, Array, holm
from adamcmp.analysis.power import noncentrality, required_count
from adamcmp.analysis.selection import is_foreign, is_imported
from adamcmp.metrics.spec import MetricSpec, task_metrics

DEFAULT_MARGIN = 0.005
"""Margin of shares without a given one: half a percentage point."""
Z_95 = 1.96
"""Standard errors on each side of a 95 % interval of normal estimates."""
JUST_BEYOND = 1e-12
"""How far an interval stays from 0 where Holm rejects and Bonferroni does not."""

Kind = Literal["apart", "same", "open", "none"]
"""Significantly different, equivalent, no significant difference, not tested; ``report.verdict_text.NAMES`` has
the words of ``--json``.
"""
Limit = Literal["", "seeds", "examples", "tuning", "budget", "one tuning seed", "diverged"]


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
    """The p-value of the equivalence test: the smallest level at which the interval lies within the margin."""
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

    Where records have a column ``side`` (``report.comparison.compare_sources``), pairs are of optimizers of different
    sides.

    Args:
        records: runs of one task, all stages.
        margin: in the unit of stored errors; None: half a percentage point of shares, and none of other errors.
        reference: label or configuration name of an optimizer; None: all pairs.
        outcomes: per-example errors of a run by its ID, as ``records.read_outcomes`` returns them.
        table: ``trials_table(records)``, if it is known.
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
    is_share, foreign = error.unit == "%", is_foreign(records)
    compared = [
        compare(
            tested[a], tested[b], choices.get(a), choices.get(b), is_share=is_share, count=count, is_foreign=foreign
        )
        for a, b in pairs
    ]
    if is_imported(records):
        compared = [difference._replace(stage="imported") for difference in compared]
    decided = decide(compared, margin_or_default(margin, error))
    return [_within_range(verdict) for verdict in decided] if error.unit == "%" else decided


def _within_range(verdict: Verdict) -> Verdict:
    """Cut the interval of a difference of two shares to [−1, 1]."""
    if not verdict.has_interval:
        return verdict
    return verdict._replace(low=max(verdict.low, -1.0), high=min(verdict.high, 1.0))


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
    needed = nan if known_source is None else required_count(of, known_source, level, estimate)
    return verdict._replace(
        detectable=noncentrality(round(of.freedom, 3), level) * se,
        seeds_needed=required_count(of, "seeds", level, estimate),
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


def margin_or_default(margin: float | None, error: MetricSpec) -> float:
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
