"""The verdicts of a task's arms as reports show them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from adamcmp.analysis import Task, Verdict, best_cells, cells, criteria_of, verdicts
from adamcmp.analysis.anytime import is_stuck
from adamcmp.analysis.cuts import OverCuts
from adamcmp.analysis.intervals import Array
from adamcmp.analysis.verdicts import fewest_seeds, in_the_way
from adamcmp.criteria import ErrorMetric

if TYPE_CHECKING:
    import pandas as pd

MOST_TOLD = 15
"""Pairs that are told in words; a table has all of them."""


@dataclass(frozen=True)
class Judging:
    """What a study says of how its arms are judged."""

    margin: float | None = None
    """In the unit that the error is shown in; None: half a point of shares, and none of other errors."""
    reference: str | None = None

    @classmethod
    def of(cls, study: Mapping[str, Any]) -> Self:
        """From the section ``study`` of a configuration."""
        margin, reference = study.get("margin"), study.get("reference")
        return cls(
            float(margin) if isinstance(margin, int | float) else None,
            reference if isinstance(reference, str) else None,
        )

    def verdicts(self, task: Task, outcomes: Mapping[str, Array], table: pd.DataFrame | None = None) -> list[Verdict]:
        """Compare the arms of a task; ``table`` is ``cells`` of its records, if it is known."""
        factor = criteria_of(task.records).error.factor
        margin = None if self.margin is None else self.margin / factor
        table = cells(task.records) if table is None else table
        return verdicts(task.records, best_cells(table), margin, self.reference, outcomes, table)


def sentences(task: Task, found: list[Verdict]) -> list[str]:
    """The verdicts in words, those that tell apart first."""
    error = criteria_of(task.records).error
    lines = [told(each, error, len(found)) for each in ranked(found)[:MOST_TOLD]]
    lines += [beyond(len(found))] if len(found) > MOST_TOLD else []
    if any(each.kind != "none" for each in found) and all(math.isnan(each.low_examples) for each in found):
        lines.append(
            f"The test part counts as given: the {error.label} is no mean over examples"
            if not error.is_mean
            else "The test part counts as given: of these runs no outcomes of test examples are stored."
        )
    variants = task.records.groupby("optimizer")["arm"].nunique()
    if found and variants.nunique() > 1:
        counts = ", ".join(f"{name} {count}" for name, count in variants.items())
        lines.append(
            f"Optimizers were tried in unequal numbers of variants ({counts}): the best of several is so by luck too."
        )
    return lines


def beyond(pairs: int) -> str:
    """That there are more pairs than are told in words."""
    return f"{pairs - MOST_TOLD} more pairs stand in the table."


def ranked(found: Sequence[Verdict]) -> list[Verdict]:
    """Those that tell apart first."""
    order = {"apart": 0, "same": 1, "open": 2, "none": 3}
    return sorted(found, key=lambda each: order[each.kind])


def headline(verdict: Verdict, error: ErrorMetric) -> str:
    """The verdict on a pair in a dozen words: who is better, by how much."""
    low, high = verdict.known
    numbers = f"{_difference(error, verdict.mean, '+')} ({_range(error, (low, high))})"
    match verdict.kind:
        case "apart":
            first, second = (verdict.a, verdict.b) if _better(verdict, error) == verdict.a else (verdict.b, verdict.a)
            sign = 1 if first == verdict.a else -1
            ends = sorted((sign * low, sign * high))
            by = f"{_difference(error, sign * verdict.mean, '+')} ({_range(error, (ends[0], ends[1]))})"
            return f"{first} is better than {second}: test {error.label} {by}"
        case "same":
            return f"{verdict.a} and {verdict.b} are the same to within {_difference(error, verdict.margin)}: {numbers}"
        case "open":
            return f"{verdict.a} and {verdict.b} are not told apart: test {error.label} {numbers}"
        case _:
            return f"{verdict.a} and {verdict.b}: no verdict"


def told(verdict: Verdict, error: ErrorMetric, pairs: int) -> str:
    """What is said of one of so many pairs."""
    names, shown = f"{verdict.a} against {verdict.b}", partial(_difference, error)
    if verdict.kind == "none":
        why = "fewer than two shared seeds" if verdict.n < 2 else f"the same in all {verdict.n} seeds: no spread"
        return f"{names}: no verdict ({why})."
    known_choice = 0 < verdict.choice < math.inf
    sources = [f"{verdict.n} seeds{'' if verdict.paired else ' each, unpaired (Welch)'}"]
    sources += [] if math.isnan(verdict.low_examples) else ["test examples"]
    sources += [f"the choice of cells by {verdict.tuned:.0f} seeds"] if known_choice else []
    over = sources[0] if len(sources) == 1 else f"{', '.join(sources[:-1])} and {sources[-1]}"
    numbers = f"test {error.label} {shown(verdict.mean, '+')}, 95 % interval {_range(error, verdict.known)} over {over}"
    if len(sources) > 1:
        numbers += f" ({_range(error, (verdict.low, verdict.high))} over seeds alone)"
    corrected = f" after Holm over {pairs} pairs" if pairs > 1 else ""
    effort = ""
    if not math.isnan(verdict.budget):
        at_budget = _range(error, (verdict.low_at_budget, verdict.high_at_budget))
        effort = (
            f" They searched unequally: by the best of what {verdict.budget:,.0f} runs of each would have found it is "
            f"{shown(verdict.mean_at_budget, '+')}, {at_budget}."
        )
    if verdict.kind == "apart":
        test = "exact" if verdict.paired else "Welch's"
        p = f"{test} p = {verdict.p_value:.2g}{corrected}"
        return f"{names}: told apart, {_better(verdict, error)} is better: {numbers}, {p}.{effort}"
    if verdict.kind == "same":
        p = f"p = {verdict.p_same:.2g}{corrected}"
        return f"{names}: the same to within {shown(verdict.margin)}: {numbers}, {p}.{effort}"
    more = "more than 10,000" if math.isinf(verdict.seeds_needed) else f"{verdict.seeds_needed:,.0f}"
    why = {
        "one seed": " of these cells; one seed chose them, which does not tell whether another would have: tune with "
        "more (study.seeds)",
        "examples": " of these test examples; others may not show it: a larger test part would tell",
        "choice": " of these cells; other tuning seeds may have chosen others: tune with more (study.seeds)",
        "effort": "; at the smaller budget it is not told: give both as many runs",
        "seeds": f"; so many seeds show {shown(verdict.detectable)} in four of five trials, and this difference takes "
        f"{more}",
    }[in_the_way(verdict)]
    return f"{names}: not told apart: {numbers}, p = {verdict.p_value:.2g}{corrected}{why}.{effort}"


def _better(verdict: Verdict, error: ErrorMetric) -> str:
    return verdict.a if error.sign * verdict.mean < 0 else verdict.b


def _form_and_unit(error: ErrorMetric) -> tuple[str, str]:
    """How a sentence writes differences of an error: the format of the number, and what follows it."""
    return (".2f", " points") if error.unit == "%" else (".3g", f" {error.unit}".rstrip())


def _difference(error: ErrorMetric, value: float, sign: str = "") -> str:
    form, unit = _form_and_unit(error)
    return f"{error.factor * value:{sign}{form}}{unit}"


def _range(error: ErrorMetric, ends: tuple[float, float]) -> str:
    form, _ = _form_and_unit(error)
    return " to ".join(f"{error.factor * each:+{form}}" for each in ends)


def cuts_sentences(found: OverCuts) -> list[str]:
    """What several cuts of one data set say together."""
    error, lines = criteria_of(found.tasks[0].records).error, []
    for each in found.found[:MOST_TOLD]:
        names = f"{each.a} against {each.b}, over {each.n} cuts of {found.label}"
        mean = f"test {error.label} {_difference(error, each.mean, '+')}"
        if each.kind == "none":
            lines.append(f"{names}: {mean}; no spread, no verdict.")
            continue
        kind = {"apart": f"told apart, {_better(each, error)} is better", "same": "the same to within the margin"}.get(
            each.kind, "not told apart"
        )
        lines.append(
            f"{names}: {kind}: {mean}, {_range(error, (each.low_examples, each.high_examples))}, each cut tuned and "
            f"judged for itself, exact p = {each.p_value:.2g}; {fewest_seeds(len(found.found))} cuts and more can tell."
        )
    return lines


def settled_sentence(verdict: Verdict, error: ErrorMetric) -> str:
    """What ``settle`` has found so far."""
    names = f"{verdict.a} against {verdict.b}"
    if verdict.n == 0:
        return f"{names}: no seeds of this comparison yet"
    mean, ends = _difference(error, verdict.mean, "+"), _range(error, (verdict.low, verdict.high))
    numbers = f"test {error.label} {mean}, {ends} at any number of seeds, {verdict.n} seeds"
    known_choice = 0 < verdict.choice < math.inf
    more = [] if math.isnan(verdict.low_examples) else ["test examples"]
    more += [f"the choice of cells by {verdict.tuned:.0f} seeds"] if known_choice else []
    if more:
        numbers += f", {_range(error, verdict.known)} with {' and '.join(more)}"
    if verdict.kind == "apart":
        return f"{names}: told apart, {_better(verdict, error)} is better: {numbers}."
    if verdict.kind == "same":
        return f"{names}: the same to within {_difference(error, verdict.margin)}: {numbers}."
    if is_stuck(verdict):
        return (
            f"{names}: not settled, and no number of fresh seeds would: {numbers}; what tuning seeds and test examples "
            "leave open is more than the difference can be: tune with more seeds (study.seeds), or test on more."
        )
    return f"{names}: not settled: {numbers}."
