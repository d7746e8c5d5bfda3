"""The gain of decay and AdamW's best λ, as budget and training set grow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from adamcmp.analysis import TaskRecords, best_trials, split_by_task, task_metrics, trials_table
from adamcmp.analysis.claim import ABOVE_RANGE, Claim, mean_with_ci, scale_by
from adamcmp.analysis.held_out import held_out_rows_of
from adamcmp.analysis.intervals import Estimate
from adamcmp.analysis.optimal_decay import OptimalDecays, estimate_optimal_decays
from adamcmp.report.findings import StudyFindings, StudyTable
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.families import task_families
from adamcmp.studies.paper_claims import PAPER, test_error_difference

STUDY = "horizon"
WITH, WITHOUT = "AdamW", "AdamW without decay"
PRETRAINING, TIMESCALE = "arXiv 2509.02046, 130 M parameters", "Wang & Aitchison 2024"
GAINS = (
    "Test {error} of AdamW without decay minus that at the best λ, at several budgets, each at its best "
    "learning rate; 95 % confidence intervals over seeds, test examples and selection."
)
OPTIMA = (
    "AdamW's best λ (decay per step ηαλ) at one learning rate against the budget, and against the size of the training "
    "set at the same number of epochs; 95 % intervals, open: on the edge of the grid. Lines: the slopes that are "
    "predicted, through the middle."
)
TOLERATED = 0.25
"""Tolerance of a slope: half of the distance between the predictions of two rules."""


def findings(report: ReportInput) -> StudyFindings:
    """Return for each family of tasks the gain of decay against budget, and the slope of λ* with budget and training
    set.
    """
    tasks = split_by_task(report.records)
    claims: list[Claim] = []
    exhibits, optima = [], []
    for family in task_families(tasks, "epochs"):
        table = gains(report, family.tasks)
        if len(table) >= 2:
            exhibits.append(StudyTable("gains", table, GAINS, None))
            claims += grows(family.tasks, family.label, PRETRAINING)
    for by, label in (("epochs", "epochs"), ("train_examples", "training examples")):
        for family_label, decays, lr in optimal_decays_of_families(tasks, by):
            optima.append(decays.optima.assign(by=label, lr=lr))
            claims += _moves(by, decays.slope, family_label)
    if optima:
        exhibits.append(StudyTable("optima", pd.concat(optima, ignore_index=True), OPTIMA, None))
    return StudyFindings(claims, exhibits=exhibits)


def optimal_decays_of_families(
    tasks: Sequence[TaskRecords], by: str
) -> Iterator[tuple[str, OptimalDecays, float | None]]:
    """Yield the label, AdamW's best λ and the shared lr of each family of tasks that differ in ``by``."""
    for family in task_families([task for task in tasks if has(task, WITH)], by):
        lr = shared_lr(family.tasks)
        yield family.label, estimate_optimal_decays(family.tasks, WITH, by, "weight_decay_lr_scaled", lr), lr


def has(task: TaskRecords, arm: str) -> bool:
    """Return whether a task has runs of an optimizer."""
    return bool((task.records["arm"] == arm).any())


def shared_lr(tasks: Sequence[TaskRecords]) -> float | None:
    """Return the learning rate that is best on the last task of those that all tasks have."""
    lrs = [set(task.records.loc[task.records["arm"] == WITH, "lr"]) for task in tasks]
    shared = set.intersection(*lrs)
    if not shared:
        return None
    last = trials_table(tasks[-1].records)
    best = best_trials(last[(last["arm"] == WITH) & last["lr"].isin(shared)])
    return float(best["lr"].iloc[0]) if len(best) else None


def gains(report: ReportInput, tasks: Sequence[TaskRecords]) -> pd.DataFrame:
    """Return one row per task: ``x`` epochs, ``unit``, and ``gain`` with its interval."""
    rows = []
    for task in tasks:
        error = task_metrics(task.records).error
        estimate = scale_by(test_error_difference(report, task, WITH, WITHOUT), error.factor)
        if not math.isnan(estimate.value):
            rows.append(
                {"x": float(task.records["epochs"].iloc[0]), "unit": error.gap_unit, **estimate.columns("gain")}
            )
    return pd.DataFrame(rows)


def grows(tasks: Sequence[TaskRecords], label: str, source: str) -> list[Claim]:
    """Return the gain's slope over log epochs, seed by seed."""
    parts = []
    for task in tasks:
        rows = held_out_rows_of(task.records)
        wide = rows[rows["arm"].isin([WITH, WITHOUT])].pivot(index="seed", columns="arm", values="final_test_error")
        if {WITH, WITHOUT} <= set(wide.columns):
            gain = (wide[WITHOUT] - wide[WITH]) * task_metrics(task.records).error.sign
            parts.append(gain.rename(float(task.records["epochs"].iloc[0])))
    if len(parts) < 2:
        return []
    gains_ST = pd.concat(parts, axis=1).dropna()
    x = np.log2(gains_ST.columns.to_numpy(float))
    centred = x - x.mean()
    slopes = gains_ST.to_numpy(float) @ centred / (centred @ centred)
    error = task_metrics(tasks[0].records).error
    estimate = scale_by(mean_with_ci(slopes), error.factor)
    if math.isnan(estimate.value):
        return []
    statement = "The gain of the best λ over none grows with the budget"
    measured = f"gain in test {error.label} for each doubling of the epochs"
    return [Claim(statement, source, measured, estimate, ABOVE_RANGE, None, label, error.gap_unit)]


def _moves(by: str, slope: Estimate, label: str) -> list[Claim]:
    if math.isnan(slope.value):
        return []
    measured = f"slope d log λ* / d log {'epochs' if by == 'epochs' else 'training examples'} at one lr"
    rules = (
        [
            ("AdamW's best λ falls as one over the root of the budget", f"{PAPER}, Appendix B.1", -0.5),
            ("AdamW's best λ does not change with the budget: τ = B/(ηλN) in epochs is constant", TIMESCALE, 0.0),
        ]
        if by == "epochs"
        else [
            ("AdamW's best λ falls as one over the root of the training set", f"{PAPER}, Appendix B.1", -0.5),
            (
                "AdamW's best λ falls as one over the training set: τ = B/(ηλN) in epochs is constant",
                TIMESCALE,
                -1.0,
            ),
        ]
    )
    return [
        Claim(statement, source, measured, slope, (at - TOLERATED, at + TOLERATED), None, label)
        for statement, source, at in rules
    ]
