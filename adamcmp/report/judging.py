"""The verdicts of a task's arms as reports show them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from adamcmp.analysis import Task, Verdict, best_cells, cells, criteria_of, verdicts
from adamcmp.analysis.anytime import is_stuck
from adamcmp.analysis.cuts import OverCuts
from adamcmp.analysis.intervals import Array
from adamcmp.analysis.verdicts import fewest_seeds, form_and_unit, told
from adamcmp.criteria import ErrorMetric

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

    def verdicts(self, task: Task, outcomes: Mapping[str, Array]) -> list[Verdict]:
        """Of the arms of a task, with what test examples say of its runs."""
        factor = criteria_of(task.records).error.factor
        margin = None if self.margin is None else self.margin / factor
        return verdicts(task.records, best_cells(cells(task.records)), margin, self.reference, outcomes)


def sentences(task: Task, found: list[Verdict]) -> list[str]:
    """The verdicts in words, those that tell apart first."""
    error = criteria_of(task.records).error
    order = {"apart": 0, "same": 1, "open": 2, "none": 3}
    ranked = sorted(found, key=lambda each: order[each.kind])
    lines = [told(each, error, len(found)) for each in ranked[:MOST_TOLD]]
    lines += [f"{len(found) - MOST_TOLD} more pairs stand in the table."] if len(found) > MOST_TOLD else []
    variants = task.records.groupby("optimizer")["arm"].nunique()
    if found and variants.nunique() > 1:
        counts = ", ".join(f"{name} {count}" for name, count in variants.items())
        lines.append(
            f"Optimizers were tried in unequal numbers of variants ({counts}): the best of several is so by luck too."
        )
    return lines


def cuts_sentences(found: OverCuts) -> list[str]:
    """What several cuts of one data set say together."""
    error = criteria_of(found.tasks[0].records).error
    form, unit = form_and_unit(error)
    lines = []
    for each in found.found[:MOST_TOLD]:
        names = f"{each.a} against {each.b}, over {each.n} cuts of {found.label}"
        mean = f"test {error.label} {error.factor * each.mean:+{form}}{unit}"
        if each.kind == "none":
            lines.append(f"{names}: {mean}; no spread, no verdict.")
            continue
        wide = " to ".join(f"{error.factor * end:+{form}}" for end in (each.low_examples, each.high_examples))
        better = each.a if error.sign * each.mean < 0 else each.b
        kind = {"apart": f"told apart, {better} is better", "same": "the same to within the margin"}.get(
            each.kind, "not told apart"
        )
        lines.append(
            f"{names}: {kind}: {mean}, {wide}, each cut tuned and judged for itself, exact p = {each.p_value:.2g}; "
            f"{fewest_seeds(len(found.found))} cuts and more can tell."
        )
    return lines


def settled_sentence(verdict: Verdict, error: ErrorMetric) -> str:
    """What ``settle`` has found so far."""
    form, unit = form_and_unit(error)
    names = f"{verdict.a} against {verdict.b}"
    if verdict.n == 0:
        return f"{names}: no seeds of this comparison yet"
    mean, low, high = (f"{error.factor * each:+{form}}" for each in (verdict.mean, verdict.low, verdict.high))
    numbers = f"test {error.label} {mean}{unit}, {low} to {high} at any number of seeds, {verdict.n} seeds"
    known_choice = 0 < verdict.choice < math.inf
    more = [] if math.isnan(verdict.low_examples) else ["test examples"]
    more += [f"the choice of cells by {verdict.tuned:.0f} seeds"] if known_choice else []
    if more:
        widest = verdict.widest if known_choice else verdict.with_half_width(0.0)
        numbers += f", {' to '.join(f'{error.factor * each:+{form}}' for each in widest)} with {' and '.join(more)}"
    if verdict.kind == "apart":
        better = verdict.a if error.sign * verdict.mean < 0 else verdict.b
        return f"{names}: told apart, {better} is better: {numbers}."
    if verdict.kind == "same":
        return f"{names}: the same to within {error.factor * verdict.margin:{form}}{unit}: {numbers}."
    if is_stuck(verdict):
        return (
            f"{names}: not settled, and no number of fresh seeds would: {numbers}; what tuning seeds and test examples "
            "leave open is more than the difference can be: tune with more seeds (study.seeds), or test on more."
        )
    return f"{names}: not settled: {numbers}."
