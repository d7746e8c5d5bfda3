"""The error at any time, with and without warm restarts (Figure 4 of the paper)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from adamcmp.analysis import TaskRecords, best_trials, mean_curves, split_by_task, trials_table
from adamcmp.analysis.claim import Claim
from adamcmp.analysis.extra_metric_tables import extra_metric_curves
from adamcmp.analysis.intervals import Estimate
from adamcmp.analysis.restarts import period_ends, restart_speed_ups
from adamcmp.report.findings import Finding, StudyFindings, StudyTable
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import ADAMW, PAPER, SGDW, claim_adamw_against_adam, claim_no_worse, find_arm

STUDY = "figure4"
SOURCE = f"{PAPER}, Figure 4"
CAPTION = (
    "Test {error} over epochs, on a logarithmic axis, of each optimizer's best trial: mean over seeds and 95 % band; "
    "vertical lines end the periods of warm restarts. The top-5 error is next to it, if it was measured."
)
TOP5 = "test_top5_error"


def findings(report: ReportInput) -> StudyFindings:
    """Return the difference at the end, and the speed-up of restarts, of each task."""
    claims: list[Claim] = []
    findings, exhibits = [], []
    for task in split_by_task(report.records):
        best = best_trials(trials_table(task.records))
        plain = {name: find_arm(task, names, "cosine") for name, names in (("AdamW", ADAMW), ("SGDW", SGDW))}
        restarted = {name: find_arm(task, names, "warm_restarts") for name, names in (("AdamW", ADAMW), ("SGDW", SGDW))}
        claims += claim_adamw_against_adam(report, task, SOURCE, "cosine")
        close = "AdamW is as good as SGDW, or better"
        claims += claim_no_worse(report, task, (plain["AdamW"], plain["SGDW"]), close, SOURCE)
        speeds = []
        for name in plain:
            a, b = restarted[name], plain[name]
            if a is None or b is None:
                continue
            ends = _ends(task, a)
            speeds.append(restart_speed_ups(report.curves, task.records, best, a, b, ends))
            claims += _sooner(task, speeds[-1], name)
            findings += [Finding(line, task.task) for line in _sentences(speeds[-1])]
            as_good = f"{name} with warm restarts ends as well as without"
            claims += claim_no_worse(report, task, (a, b), as_good, SOURCE)
        anytime = mean_curves(report.curves, task.records, best).assign(restarts="")
        for a in filter(None, restarted.values()):
            anytime.loc[anytime["arm"] == a, "restarts"] = " ".join(f"{end:g}" for end in _ends(task, a)[:-1])
        exhibits.append(StudyTable("anytime", _with_top5(anytime, report, task, best), CAPTION, task.task))
        measured = [speed for speed in speeds if len(speed)]
        if measured:
            text = (
                "How many times sooner warm restarts get to an error than one long cosine, at the end of each period."
            )
            exhibits.append(StudyTable("restarts", pd.concat(measured, ignore_index=True), text, task.task))
    return StudyFindings(claims, findings, exhibits)


def _ends(task: TaskRecords, arm_: str) -> list[float]:
    rows = task.records[task.records["arm"] == arm_]
    schedule: Mapping[str, Any] = json.loads(str(rows["settings"].iloc[0]))["schedule"]
    return period_ends(schedule["T_0"], schedule["T_mult"], float(rows["epochs"].iloc[0]))


def _sooner(task: TaskRecords, speeds: pd.DataFrame, name: str) -> list[Claim]:
    if speeds.empty:
        return []
    first = speeds.iloc[0]
    factor = Estimate(first["factor"], first["factor_low"], first["factor_high"])
    statement = f"{name}'s first restart gets to its error sooner than {name} does, up to ten times"
    measured = f"epochs of {first['other']} to the error of {first['arm']} at epoch {first['end']:g}, by those"
    return [Claim(statement, SOURCE, measured, factor, (1.0, math.inf), task.task, task.label, "times", ".1f")]


def _sentences(speeds: pd.DataFrame) -> list[str]:
    return [
        f"{row['arm']} at epoch {row['end']:g}: {row['other']} takes {row['factor']:.1f} times as long to that error"
        + (f", or never gets there ({row['never']} of {row['seeds']} seeds)." if row["never"] else ".")
        for row in speeds.to_dict("records")
    ]


def _with_top5(anytime: pd.DataFrame, report: ReportInput, task: TaskRecords, best: pd.DataFrame) -> pd.DataFrame:
    """Add columns of the top-5 error, if it was measured and is not always 0."""
    measured = extra_metric_curves(report.curves, task.records, best)
    top5 = measured.loc[measured["metric"] == TOP5, ["arm", "step", "mean", "half_width"]]
    if top5.empty or not top5["mean"].max() > 0:
        return anytime
    names = {"mean": TOP5, "half_width": f"{TOP5}_half_width"}
    return anytime.merge(top5.rename(columns=names), on=["arm", "step"], how="left")
