"""The best λ is independent of the learning rate under AdamW, and coupled to it under Adam with L2.

Independent is a slope d log λ*/d log lr of 0. Where lr·λ counts, it is −1: so it is for SGD with L2 without momentum.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adamcmp.analysis import split_by_task, trials_table
from adamcmp.analysis.basin import estimate_basins
from adamcmp.analysis.claim import BELOW_RANGE, Claim
from adamcmp.claims.closed_form import best_lambda_by_lr, regression
from adamcmp.claims.evidence import ClaimEvidence, PanelAxes, least_squares_slope, mean_over_seeds
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import find_arm

SOURCE = "Loshchilov & Hutter 2019"
STUDIES = ("claims_mlp",)
CAPTION = (
    "The best λ at each learning rate. Left: regression with fewer examples than features, means over draws. Right: "
    "an MLP on MNIST-1D, the λ of the best validation error; d is the share that AdamW removes per step over λ."
)
INDEPENDENT = (-0.25, 0.25)
LRS = tuple(np.geomspace(0.02, 0.32, 5))
TOYS = {
    "adamw": ("AdamW (d = ηα)", tuple(np.geomspace(0.002, 60, 18))),
    "adamw_paper": ("AdamW of the paper (d = η)", tuple(np.geomspace(1e-4, 2, 16))),
    "adam": ("Adam + L2", tuple(np.geomspace(1e-4, 20, 19))),
}
ARMS = {"adamw": "AdamW (d = ηα)", "adamw_paper": "AdamW of the paper (d = η)", "adam": "Adam + L2"}
STATEMENTS = {
    "adamw": ("The best λ of AdamW as in torch does not move with the learning rate", INDEPENDENT),
    "adamw_paper": ("The best λ of AdamW as in the paper does not move with the learning rate", INDEPENDENT),
    "adam": ("The best λ of Adam with L2 falls with the learning rate", BELOW_RANGE),
}


def closed_form_test() -> ClaimEvidence:
    """Test on regression."""
    axes = PanelAxes("toy: regression", "lr", "best λ")
    claims, panels = [], []
    for name, (label, lambdas) in TOYS.items():
        best_GL = best_lambda_by_lr(regression(name, LRS, lambdas))
        slopes = mean_over_seeds(least_squares_slope(np.log2(LRS), best) for best in best_GL)
        statement, predicted = STATEMENTS[name]
        claims.append(Claim(statement, SOURCE, "slope d log λ* / d log lr", slopes, predicted))
        panels.append(axes.series(label, "line", LRS, np.exp2(np.nanmean(best_GL, axis=0))))
    return ClaimEvidence(claims, panels)


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on an MLP."""
    (report,) = reports.values()
    claims, panels = [], []
    axes = PanelAxes("training: an MLP", "lr", "best λ")
    for task in split_by_task(report.records):
        slopes = {basin.arm: basin.rows for basin in estimate_basins(task.records)}
        table = trials_table(task.records)
        for name, label in ARMS.items():
            named = find_arm(task, (name,))
            if named is None or named not in slopes:
                continue
            statement, predicted = STATEMENTS[name]
            claims.append(
                Claim(
                    statement,
                    SOURCE,
                    "slope d log λ* / d log lr, edges censored",
                    slopes[named],
                    predicted,
                    task.task,
                    task.label,
                )
            )
            rows = table[(table["arm"] == named) & (table["weight_decay"] > 0)]
            best = rows.loc[rows.groupby("lr")["final_validation_error"].idxmin()]
            panels.append(axes.series(label, "line", best["lr"], best["weight_decay"]))
    return ClaimEvidence(claims, panels)
