"""Steps until addition modulo p generalises, against λ and the door that decay comes in by."""

from __future__ import annotations

import math

from adamcmp.analysis import Task, by_task
from adamcmp.analysis.claims import BELOW, Claim
from adamcmp.analysis.generalising import TARGET, by_cell, difference, of_best, steps_to, without_decay
from adamcmp.analysis.intervals import Estimate
from adamcmp.report.reported import Reported
from adamcmp.report.told import Exhibit, Told
from adamcmp.studies._claims import ADAM, ADAMW, arm

STUDY = "grokking"
POWER = "Power et al. 2022"
CAPTION = (
    f"Steps to a validation error of {TARGET:.0%} against λ: median over seeds, bars from the fastest to the slowest; "
    "open where half of the seeds or more never get there within the budget, which is the dotted line."
)


def told(found: Reported) -> Told:
    """Of each task: whether decay makes it generalise sooner, and through which door."""
    claims: list[Claim] = []
    exhibits = []
    for task in by_task(found.records):
        steps = steps_to(found.curves, task.records)
        adamw, adam = arm(task, ADAMW), arm(task, ADAM)
        for name in (adamw, adam):
            if name is not None:
                estimate = difference(of_best(steps, name), without_decay(steps, name))
                statement = f"Weight decay makes {name} generalize sooner"
                measured = f"log10 of the steps of {name} at its best λ by those without decay"
                claims += _claim(task, statement, measured, estimate)
        if adamw is not None and adam is not None:
            estimate = difference(of_best(steps, adamw), of_best(steps, adam))
            statement = "Decoupled decay makes it generalize sooner than L2 does"
            measured = f"log10 of the steps of {adamw} by those of {adam}, each at its best λ"
            claims += _claim(task, statement, measured, estimate)
        table = by_cell(steps).assign(budget=float(task.records["steps"].iloc[0]))
        exhibits.append(Exhibit("steps_to_generalise", table, CAPTION, task.task))
    return Told(claims, exhibits=exhibits)


def _claim(task: Task, statement: str, measured: str, estimate: Estimate) -> list[Claim]:
    if math.isnan(estimate.value):
        return []
    return [Claim(statement, POWER, measured, estimate, BELOW, task.task, task.label)]
