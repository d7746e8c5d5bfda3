"""SGD, SGDW, Adam and AdamW over learning rate and weight decay (Figure 2 of the paper)."""

from __future__ import annotations

import math

import pandas as pd

from adamcmp.analysis import split_by_task
from adamcmp.analysis.basin import estimate_basins
from adamcmp.analysis.intervals import Estimate
from adamcmp.report.findings import Finding, StudyFindings
from adamcmp.report.formatting import format_estimate
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import (
    ADAM,
    ADAMW,
    PAPER,
    SGD,
    SGDW,
    claim_adamw_against_adam,
    claim_better,
    claim_no_worse,
    claim_separable,
    find_arm,
)

STUDY = "figure2"
SOURCE = f"{PAPER}, Figure 2"


def findings(report: ReportInput) -> StudyFindings:
    """Return the paper's claims on generalization and separability for each task."""
    claims, findings = [], []
    for task in split_by_task(report.records):
        claims += claim_adamw_against_adam(report, task, SOURCE)
        both = find_arm(task, SGDW), find_arm(task, SGD)
        claims += claim_better(report, task, both, "SGDW generalizes better than SGD with L2", SOURCE)
        claims += claim_separable(task, find_arm(task, ADAMW), find_arm(task, ADAM), SOURCE)
        claims += claim_separable(task, *both, SOURCE, "SGDW")
        close = "AdamW is as good as SGDW, or better"
        claims += claim_no_worse(report, task, (find_arm(task, ADAMW), find_arm(task, SGDW)), close, SOURCE)
        findings += [Finding(line, task.task) for line in tilts(task.records)]
    return StudyFindings(claims, findings)


def tilts(records: pd.DataFrame) -> list[str]:
    """Return the tilt of each basin: its separability, near −1 where a larger λ wants a smaller lr, 0 where each can be
    chosen alone.
    """
    basins = {basin.arm: basin for basin in estimate_basins(records)}
    small = (
        "{}: fewer than three learning rates × three weight decays above 0, so that its basin has no slope to measure."
    )
    return [
        _tilt(arm, basins[arm].separability, basins[arm].ridge) if arm in basins else small.format(arm)
        for arm in sorted(set(records["arm"]))
    ]


def _tilt(arm: str, separability: Estimate, ridge: Estimate) -> str:
    if math.isnan(separability.value):
        return f"{arm}: its best trials show no valley, so that their basin has no slope to measure."
    together, slope = (format_estimate(estimate, "+.2f") for estimate in (separability, ridge))
    text = f"{arm}: the correlation of lr and λ in its basin is {together}; d log λ*/d log lr is {slope}"
    if math.isnan(separability.low):
        return f"{text}, without an interval."
    if separability.low <= 0 <= separability.high:
        return f"{text}: the data do not show whether lr and λ can be tuned independently."
    how = "a larger λ needs a smaller lr" if separability.high < 0 else "a larger λ needs a larger lr"
    return f"{text}: they cannot be tuned independently; {how}."
