"""A larger λ wins short runs, and a smaller one long runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adamcmp.analysis.claim import BELOW_RANGE, Claim
from adamcmp.claims.closed_form import best_lambda_by_lr, regression
from adamcmp.claims.evidence import ClaimEvidence, PanelAxes, least_squares_slope, mean_over_seeds
from adamcmp.claims.timescale import optima, panel
from adamcmp.report.report_input import ReportInput

SOURCE = "arXiv 2509.01440"
STUDIES = ("claims_horizon",)
CAPTION = (
    "AdamW's best λ against the length of the run. Left: regression with fewer examples than features, means over "
    "draws. Right: an MLP on MNIST-1D at one learning rate, with 95 % intervals."
)
STEPS = (100, 200, 400, 800, 1600)
LR, LAMBDAS = 0.05, tuple(np.geomspace(0.003, 30, 15))


def closed_form_test() -> ClaimEvidence:
    """Test on regression over five budgets."""
    best_TG = np.stack([best_lambda_by_lr(regression("adamw", [LR], LAMBDAS, steps))[:, 0] for steps in STEPS])
    slopes = mean_over_seeds(least_squares_slope(np.log2(STEPS), best) for best in best_TG.T)
    axes = PanelAxes("toy: regression", "steps", "best λ")
    return ClaimEvidence(
        [Claim("The best λ is smaller for longer runs", SOURCE, "slope d log λ* / d log steps", slopes, BELOW_RANGE)],
        [axes.series("AdamW", "line", STEPS, np.exp2(np.nanmean(best_TG, axis=1)))],
    )


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on MNIST-1D over budgets of 10 to 160 epochs."""
    claims, panels = [], []
    for label, decays in optima(reports, "epochs"):
        claims.append(
            Claim(
                "The best λ is smaller for longer runs",
                SOURCE,
                "slope d log λ* / d log epochs",
                decays.slope,
                BELOW_RANGE,
                on=label,
            )
        )
        panels.append(panel(PanelAxes("training: an MLP", "epochs", "best λ"), "AdamW", decays.optima))
    return ClaimEvidence(claims, panels)
