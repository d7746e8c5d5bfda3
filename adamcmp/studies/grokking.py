"""Steps until addition modulo p generalizes, against λ and the place where decay enters the update."""

from __future__ import annotations

import math

from adamcmp.analysis import TaskRecords, split_by_task
from adamcmp.analysis.claim import BELOW_RANGE, Claim
from adamcmp.analysis.intervals import Estimate
from adamcmp.analysis.steps_to_generalize import (
    TARGET_ERROR,
    steps_by_trial,
    steps_difference,
    steps_of_best,
    steps_to_target,
    steps_without_decay,
)
from adamcmp.report.findings import StudyFindings, StudyTable
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import ADAM, ADAMW, find_arm

STUDY = "grokking"
POWER = "Power et al. 2022"
CAPTION = (
    f"Steps to a validation error of {TARGET_ERROR:.0%} against λ: median over seeds, bars from the fastest to the "
    "slowest; open where half of the seeds or more never get there within the budget, which is the dotted line."
)


def findings(report: ReportInput) -> StudyFindings:
    """Return the claims that decay makes each task generalize sooner, by the place where decay enters."""
    claims: list[Claim] = []
    exhibits = []
    for task in split_by_task(report.records):
        steps = steps_to_target(report.curves, task.records)
        adamw, adam = find_arm(task, ADAMW), find_arm(task, ADAM)
        for name in (adamw, adam):
            if name is not None:
                estimate = steps_difference(steps_of_best(steps, name), steps_without_decay(steps, name))
                statement = f"Weight decay makes {name} generalize sooner"
                measured = f"log10 of the steps of {name} at its best λ by those without decay"
                claims += _claim(task, statement, measured, estimate)
        if adamw is not None and adam is not None:
            estimate = steps_difference(steps_of_best(steps, adamw), steps_of_best(steps, adam))
            statement = "Decoupled decay makes it generalize sooner than L2 does"
            measured = f"log10 of the steps of {adamw} by those of {adam}, each at its best λ"
            claims += _claim(task, statement, measured, estimate)
        table = steps_by_trial(steps).assign(budget=float(task.records["steps"].iloc[0]))
        exhibits.append(StudyTable("steps_to_generalise", table, CAPTION, task.task))
    return StudyFindings(claims, exhibits=exhibits)


def _claim(task: TaskRecords, statement: str, measured: str, estimate: Estimate) -> list[Claim]:
    if math.isnan(estimate.value):
        return []
    return [Claim(statement, POWER, measured, estimate, BELOW_RANGE, task.task, task.label)]
