"""Raw against normalized weight decay over several budgets (Supplement 3 of the paper)."""

from __future__ import annotations

import math

import pandas as pd

from adamcmp.analysis import split_by_task
from adamcmp.analysis.claim import Claim
from adamcmp.analysis.optimal_decay import estimate_optimal_decays
from adamcmp.report.findings import StudyFindings, StudyTable
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.families import task_families
from adamcmp.studies.paper_claims import ADAMW, PAPER, find_arm

STUDY = "supplement3"
SOURCE = f"{PAPER}, Supplement 3 and Appendix B.1"
RAW, NORMALISED = "weight_decay_schedule_only", "weight_decay_normalized"
CAPTION = (
    "Test {error} against λ as the paper's algorithm takes it and against its normalized λ, at several budgets, each λ "
    "at its best learning rate; then the best λ against the budget with 95 % intervals (open: on the edge of the grid)."
)
TOLERATED = 0.25
"""Tolerance of a slope: half of the distance between the predictions of two rules."""


def findings(report: ReportInput) -> StudyFindings:
    """Return for each family of tasks the slope of the best λ with the budget, raw and normalized."""
    claims, exhibits = [], []
    for family in task_families(split_by_task(report.records), "epochs"):
        name = find_arm(family.tasks[0], ADAMW)
        if name is None:
            continue
        parts = []
        for kind, column in (("raw", RAW), ("normalised", NORMALISED)):
            optima = estimate_optimal_decays(family.tasks, name, "epochs", column)
            parts += [table.assign(convention=kind) for table in (optima.profile.assign(part="profile"),
                                                                optima.optima.assign(part="optimum"))]  # fmt: skip
            if kind == "normalised" and not math.isnan(optima.slope.value):
                statement = "The best normalized λ does not change with the budget"
                measured = "slope d log λ_norm* / d log epochs"
                claims.append(
                    Claim(statement, SOURCE, measured, optima.slope, (-TOLERATED, TOLERATED), None, family.label)
                )
        exhibits.append(StudyTable("budgets", pd.concat(parts, ignore_index=True), CAPTION, None))
    return StudyFindings(claims, exhibits=exhibits)
