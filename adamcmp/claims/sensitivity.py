"""Decay that the learning rate does not scale makes AdamW less sensitive to the learning rate.

With d_t = η_t λ the angle that weights turn by in a step is √(2λ…), whatever α; with d_t = η_t α λ it grows with α.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adamcmp.analysis import split_by_task, task_metrics, trials_table
from adamcmp.analysis.claim import BELOW_RANGE, Claim, scale_by, subtract
from adamcmp.analysis.sensitivity import estimate_sensitivities
from adamcmp.claims.evidence import ClaimEvidence, PanelAxes, least_squares_slope, mean_over_seeds
from adamcmp.claims.rotation import turning
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import find_arm

SOURCE = "Wortsman et al. 2024"
STUDIES = ("claims_mlp",)
CAPTION = (
    "Left: the angle by which random steps turn weights, against the learning rate, in both conventions. Right: test "
    "error of an MLP on MNIST-1D against the learning rate, at the λ that is best for each on validation."
)
LRS = (0.0025, 0.01, 0.04)
NAMES = {"adamw": "d = ηαλ", "adamw_paper": "d = ηλ"}


def closed_form_test() -> ClaimEvidence:
    """Test on random gradients."""
    axes = PanelAxes("toy: random gradients", "lr", "angle per step (rad)")
    claims, panels = [], []
    for name, decay, near in (("adamw", 0.3, (0.4, 0.6)), ("adamw_paper", 0.003, (-0.1, 0.1))):
        angles_LD = turning(name, (1.0,), LRS, weight_decay=decay)
        panels.append(axes.over_seeds(NAMES[name], LRS, angles_LD.T))
        slope = mean_over_seeds(least_squares_slope(np.log(LRS), np.log(angles)) for angles in angles_LD.T)
        moves = (
            "grows with the root of the learning rate" if name == "adamw" else "does not depend on the learning rate"
        )
        claims.append(
            Claim(
                f"With {NAMES[name]} the angle of a step {moves}", SOURCE, "slope d log angle / d log lr", slope, near
            )
        )
    return ClaimEvidence(claims, panels)


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on an MLP over six learning rates."""
    (report,) = reports.values()
    claims, panels = [], []
    axes = PanelAxes("training: an MLP", "lr", "test error (%)", y_scale="linear")
    for task in split_by_task(report.records):
        table, error = trials_table(task.records), task_metrics(task.records).error
        of = {sensitivity.arm: sensitivity.to_lr for sensitivity in estimate_sensitivities(task.records, table)}
        coupled, free = find_arm(task, ("adamw",)), find_arm(task, ("adamw_paper",))
        if coupled is None or free is None or not {coupled, free} <= of.keys():
            continue
        estimate = scale_by(subtract(of[free], of[coupled]), error.factor)
        claims.append(
            Claim(
                "A decay that the learning rate does not scale lowers sensitivity to it",
                SOURCE,
                f"mean {error.label} lost by a learning rate that is not tuned, d = ηλ minus d = ηαλ",
                estimate,
                BELOW_RANGE,
                task.task,
                task.label,
                error.gap_unit,
            )
        )
        for name in ("adamw", "adamw_paper"):
            rows = table[table["arm"] == find_arm(task, (name,))]
            best = rows.loc[rows.groupby("lr")["final_validation_error"].idxmin()]
            y, half = error.factor * best["final_test_error"], error.factor * best["final_test_error_half_width"]
            panels.append(axes.series(NAMES[name], "line", best["lr"], y, y - half, y + half))
    return ClaimEvidence(claims, panels)
