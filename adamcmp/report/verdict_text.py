"""Verdicts in words: one format for terminal, page, Markdown and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from adamcmp.analysis import TaskRecords, Verdict, task_metrics, trials_table, verdicts
from adamcmp.analysis.across_tasks import MIN_TASKS, PooledVerdict
from adamcmp.analysis.intervals import Array
from adamcmp.analysis.sequential_test import cannot_be_decided, difference_bound, fixed_half_width, seeds_needed
from adamcmp.analysis.split_blocks import SplitBlocks
from adamcmp.metrics.spec import MetricSpec, format_significant, with_minus_sign

if TYPE_CHECKING:
    import pandas as pd

MAX_SENTENCES = 15
"""Pairs in words; a table has all of them."""
NAMES = {"apart": "different", "same": "equivalent", "open": "inconclusive", "none": "untested"}
"""``Verdict.kind`` in the field's words."""
MANY_TUNING_SEEDS = 50
"""More tuning seeds than this are not proposed."""


@dataclass(frozen=True)
class ComparisonSettings:
    """The settings of a study for its verdicts."""

    margin: float | None = None
    """In the unit that the error is shown in; None: half a point of shares, and none of other errors."""
    reference: str | None = None

    @classmethod
    def of(cls, study: Mapping[str, Any]) -> Self:
        """Return the settings in the section ``study`` of a configuration."""
        margin, reference = study.get("margin"), study.get("reference")
        return cls(
            float(margin) if isinstance(margin, int | float) else None,
            reference if isinstance(reference, str) else None,
        )

    def verdicts(
        self, task: TaskRecords, outcomes: Mapping[str, Array], table: pd.DataFrame | None = None
    ) -> list[Verdict]:
        """Compare the optimizers of a task; ``table`` is ``trials_table`` of its records, if it is known."""
        factor = task_metrics(task.records).error.factor
        margin = None if self.margin is None else self.margin / factor
        table = trials_table(task.records) if table is None else table
        return verdicts(task.records, margin, self.reference, outcomes, table)


def format_verdicts(task: TaskRecords, all_verdicts: list[Verdict]) -> list[str]:
    """Return the verdicts of a task in words, significant ones first."""
    error = task_metrics(task.records).error
    lines = [format_verdict(verdict, error) for verdict in rank_verdicts(all_verdicts)[:MAX_SENTENCES]]
    lines += [format_other_pairs(len(all_verdicts))] if len(all_verdicts) > MAX_SENTENCES else []
    return lines


def format_other_pairs(pairs: int) -> str:
    """Return the line for the pairs without a sentence."""
    return f"{pairs - MAX_SENTENCES} more pairs are in the table."


def rank_verdicts(all_verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts, significant ones first."""
    order = {"apart": 0, "same": 1, "open": 2, "none": 3}
    return sorted(all_verdicts, key=lambda verdict: order[verdict.kind])


def format_headline(verdict: Verdict, error: MetricSpec) -> str:
    """Return the verdict on a pair in short: statement and estimate."""
    verdict = better_first(verdict, error)
    pair = f"{verdict.a} vs. {verdict.b}"
    numbers = f"{format_difference(error, verdict.mean, sign=True)} {format_interval(error, verdict)}"
    match verdict.kind:
        case "apart":
            return f"{verdict.a} is significantly better than {verdict.b}: {numbers}"
        case "same":
            margin = format_difference(error, verdict.margin)
            return f"{verdict.a} and {verdict.b} are equivalent within ±{margin}: {numbers}"
        case "open" if verdict.limit == "diverged":
            return f"{pair}: not decidable: {format_lost(verdict)}"
        case "open" if verdict.limit == "one tuning seed":
            return f"{pair}: not decidable: trials share fewer than 2 tuning seeds{_more_tuning_seeds(verdict)}"
        case "open":
            return f"{pair}: no significant difference: {numbers}"
        case _:
            failed = [arm for arm, lost, runs in _lost_runs(verdict) if runs and lost == runs]
            why = (
                f"every run of {' and '.join(failed)} failed"
                if verdict.n == 0 and failed
                else "fewer than 2 shared held-out seeds"
                if verdict.n < 2
                else "errors are missing"
                if math.isnan(verdict.mean)
                else f"identical errors on all {verdict.n} held-out seeds"
                if verdict.mean == 0
                else f"the same difference on all {verdict.n} held-out seeds"
            )
            return f"{pair}: not tested ({why})"


def format_verdict(verdict: Verdict, error: MetricSpec) -> str:
    """Return the verdict on a pair as one line: statement, estimate with interval, p, seeds, and what limits it."""
    verdict = better_first(verdict, error)
    pair, line = f"{verdict.a} vs. {verdict.b}", format_headline(verdict, error)
    if verdict.kind == "none" or verdict.limit == "one tuning seed":
        return f"{line}."
    correction = f" (Holm, {verdict.pairs} pairs)" if verdict.pairs > 1 else ""
    seeds = f"{verdict.n} seeds" if verdict.paired else f"{verdict.runs_a} and {verdict.runs_b} seeds, unpaired"
    p = f"p = {verdict.p_value:.2g}{correction}, {seeds}"
    budget = "" if math.isnan(verdict.budget) else f" At equal tuning budgets ({verdict.budget:,.0f} runs each)."
    if verdict.kind in ("apart", "same"):
        lost = f" {format_lost(verdict)}." if verdict.lost_a or verdict.lost_b else ""
        return f"{line}, {p if verdict.kind == 'apart' else seeds}.{budget}{lost}"
    good, bad = (-verdict.low, verdict.high) if error.sign > 0 else (verdict.high, -verdict.low)
    spread = (
        f"{verdict.a} may be anything from {format_difference(error, max(good, 0.0))} better to "
        f"{format_difference(error, max(bad, 0.0))} worse (95 % CI; {p})"
    )
    if verdict.limit == "diverged":
        return f"{line}. With these runs counted as the baseline, {spread}."
    return f"{pair}: no significant difference. {spread}. {format_limit(verdict, error)}{budget}"


def format_limit(verdict: Verdict, error: MetricSpec) -> str:
    """Return what limits an inconclusive verdict, and what would help."""
    seeds = (
        f"about {verdict.seeds_needed:,.0f} {'held-out seeds' if verdict.stage == 'confirm' else 'seeds'} "
        f"{_seeds_setting(verdict)}would show a difference of "
        f"{format_difference(error, abs(verdict.mean))} with 80 % power"
        if math.isfinite(verdict.seeds_needed)
        else "more seeds will not help"
    )
    smallest = f"the smallest difference found with 80 % power is {format_difference(error, verdict.detectable)}"
    match verdict.limit:
        case "examples":
            more = f"; about {verdict.needed:,.0f} examples would" if math.isfinite(verdict.needed) else ""
            helps = "" if math.isfinite(verdict.seeds_needed) else more
            return f"Limited by the test set ({verdict.test_examples:,} examples); {seeds}{helps}."
        case "tuning":
            count = f"{verdict.needed:.0f}"
            setting = f"{count} tuning seeds" if verdict.stage == "imported" else f"study.seeds={count}"
            proposed = f"use {setting}" if verdict.needed <= MANY_TUNING_SEEDS else smallest
            return f"Limited by the selection with {verdict.tuned:.0f} tuning seeds; {proposed}."
        case "budget":
            return "Limited by the smaller tuning budget; tune both optimizers over as many trials."
        case _ if math.isfinite(verdict.seeds_needed):
            return f"Limited by seeds; {seeds}."
        case _:
            return f"Limited by seeds; {smallest}."


def _seeds_setting(verdict: Verdict) -> str:
    """Return the setting of the number of seeds; imported runs have none."""
    if verdict.stage == "imported":
        return ""
    key = "study.seeds" if verdict.stage == "tune" else "study.confirm.seeds"
    return f"({key}={verdict.seeds_needed:.0f}) "


def _more_tuning_seeds(verdict: Verdict) -> str:
    return "" if verdict.stage == "imported" else "; use study.seeds=5 or more"


def format_lost(verdict: Verdict) -> str:
    """Return which optimizer diverged or failed on how many held-out seeds."""
    return "; ".join(
        f"{arm} diverged or failed on {lost} of {runs} held-out seeds"
        for arm, lost, runs in _lost_runs(verdict)
        if lost
    )


def _lost_runs(verdict: Verdict) -> tuple[tuple[str, int, int], ...]:
    """Return each optimizer with its held-out seeds that diverged or failed, and all of its held-out seeds."""
    return (verdict.a, verdict.lost_a, verdict.runs_a), (verdict.b, verdict.lost_b, verdict.runs_b)


def format_sources(verdict: Verdict, error: MetricSpec) -> str:
    """Return the interval of a pair alone by source of variance, for details."""
    if math.isnan(verdict.se_seeds) or not verdict.has_interval:
        return ""
    parts = []
    sources: list[Any] = ["seeds"]
    for source, name in (("examples", "test examples"), ("selection", "selection")):
        if getattr(verdict, f"se_{source}") > 0:
            sources.append(source)
            ends = " to ".join(_number(error, end, sign=True) for end in verdict.pointwise(*sources))
            parts.append(f"with {name} {ends}")
    ends = " to ".join(_number(error, end, sign=True) for end in verdict.pointwise("seeds"))
    return ", ".join([f"±1.96 standard errors by source: seeds {ends}", *parts])


def better_first(verdict: Verdict, error: MetricSpec) -> Verdict:
    """Return the verdict with the better optimizer as ``a``, by the estimated difference."""
    if math.isnan(verdict.mean) or error.sign * verdict.mean <= 0:
        return verdict
    return verdict._replace(
        a=verdict.b, b=verdict.a, mean=-verdict.mean, low=-verdict.high, high=-verdict.low,
        mean_as_tuned=-verdict.mean_as_tuned, lost_a=verdict.lost_b, lost_b=verdict.lost_a,
        runs_a=verdict.runs_b, runs_b=verdict.runs_a,
    )  # fmt: skip


def format_difference(error: MetricSpec, value: float, *, sign: bool = False) -> str:
    """Return a difference of two errors in the unit they are shown in, such as ``−0.52 pp``."""
    return f"{_number(error, value, sign=sign)} {error.gap_unit}".rstrip()


def format_interval(error: MetricSpec, verdict: Verdict) -> str:
    """Return ``[95 % CI −6.70, −0.40]``."""
    return f"[95 % CI {_number(error, verdict.low, sign=True)}, {_number(error, verdict.high, sign=True)}]"


def _number(error: MetricSpec, value: float, *, sign: bool = False) -> str:
    if error.unit == "%":
        return with_minus_sign(f"{error.factor * value:{'+' if sign else ''}.2f}")
    return with_minus_sign(format_significant(value, sign=sign))


def format_split_verdicts(blocks: SplitBlocks) -> list[str]:
    """Return the verdicts over several data splits in words."""
    error = task_metrics(blocks.tasks[0].records).error
    lines = []
    for verdict in blocks.verdicts[:MAX_SENTENCES]:
        line = format_headline(verdict, error)
        p = "" if math.isnan(verdict.p_value) else f", p = {verdict.p_value:.2g}"
        lines.append(
            f"Over {verdict.n} data splits of {blocks.label}: {line}{p}, each split tuned and tested by itself."
        )
    return lines


ACROSS = (
    "The relative difference is a − b in percent of the mean error of both (of 1 − error where higher is better). "
    "A random-effects model with Hartung–Knapp intervals pools it over tasks. "
    "Wins and losses count significant verdicts of single tasks."
)


def format_pooled(pooled: PooledVerdict) -> str:
    """Return the statement on a pair over several tasks."""
    verdict = pooled.verdict
    wins = f"{verdict.a} wins {pooled.wins}, ties {pooled.ties}, loses {pooled.losses}"
    if verdict.kind == "none":
        return (
            f"Over {verdict.n} tasks: {verdict.a} vs. {verdict.b}: relative difference {_percent(verdict.mean)} of the "
            f"error; {MIN_TASKS} tasks or more are needed for an interval; {wins}."
        )
    numbers = f"{_percent(verdict.mean)} [95 % CI {_percent(verdict.low)}, {_percent(verdict.high)}]"
    pair = (
        f"{verdict.a} is significantly better than {verdict.b}"
        if verdict.kind == "apart" and verdict.mean < 0
        else f"{verdict.b} is significantly better than {verdict.a}"
        if verdict.kind == "apart"
        else f"{verdict.a} vs. {verdict.b}: no significant difference"
    )
    correction = f" (Holm, {verdict.pairs} pairs)" if verdict.pairs > 1 else ""
    return (
        f"Over {verdict.n} tasks: {pair}; relative difference {numbers} of the error, p = {verdict.p_value:.2g}"
        f"{correction}; SD between tasks {100 * pooled.spread:.1f} %; {wins}."
    )


def _percent(value: float) -> str:
    return f"{with_minus_sign(format_significant(100 * value, sign=True))} %"


def format_symmetric_hint(verdict: Verdict, records: pd.DataFrame, error: MetricSpec) -> str:
    """Return how many seeds the bounded sequence of ``settle`` needs, and the alternative."""
    size, fixed = format_difference(error, abs(verdict.mean)), fixed_half_width(verdict)
    if abs(verdict.mean) <= fixed:
        left = format_difference(error, fixed)
        return f"Test examples and selection leave ±{left} open, more than this difference: seeds may not decide."
    needed = max(seeds_needed(abs(verdict.mean) - fixed, difference_bound(records), verdict.pairs), verdict.n)
    return (
        f"Without assumptions, a difference of {size} takes {needed:,.0f} seeds or more: rare failures of one "
        "optimizer have to be excluded. If neither optimizer fails on some seeds, use --assume-symmetric."
    )


def format_settle_state(verdict: Verdict, error: MetricSpec, more: str = "") -> str:
    """Return the state of ``settle``: the interval that holds at any number of seeds.

    Args:
        verdict: a sequential verdict.
        error: the error that is compared.
        more: what happens next, or what would help.
    """
    verdict = better_first(verdict, error) if verdict.kind == "apart" else verdict
    pair, seeds = f"{verdict.a} vs. {verdict.b}", f"seeds {verdict.n}"
    if verdict.limit == "one tuning seed":
        return f"{pair}: not decidable: trials share fewer than 2 tuning seeds{_more_tuning_seeds(verdict)}."
    if not verdict.n:
        return f"{pair}: no added seeds yet{more}."
    numbers = f"{format_difference(error, verdict.mean, sign=True)} {format_interval(error, verdict)}"
    numbers += f"; {format_lost(verdict)}" if verdict.lost_a or verdict.lost_b else ""
    if verdict.kind == "apart":
        return f"{seeds}: {verdict.a} is significantly better than {verdict.b}: {numbers}."
    if verdict.kind == "same":
        margin = format_difference(error, verdict.margin)
        return f"{seeds}: {verdict.a} and {verdict.b} are equivalent within ±{margin}: {numbers}."
    if cannot_be_decided(verdict):
        source, fix = (
            ("test set", "test on more examples")
            if verdict.limit == "examples"
            else ("selection", "add tuning seeds (study.seeds)")
        )
        return f"{seeds}: {pair}: {numbers}: undecided, and more seeds will not help: limited by the {source}; {fix}."
    return f"{seeds}: {pair}: {numbers}: undecided{more}."
