"""The gain of decay for AdamW grows with the length of the run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adamcmp.analysis import split_by_task
from adamcmp.analysis.claim import ABOVE_RANGE, Claim
from adamcmp.claims.closed_form import leave_one_out_best, regression
from adamcmp.claims.decay_vs_run_length import LAMBDAS, LR, STEPS
from adamcmp.claims.evidence import ClaimEvidence, PanelAxes, least_squares_slope, mean_over_seeds
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.families import task_families
from adamcmp.studies.horizon import gains, grows

SOURCE = "arXiv 2509.02046"
STUDIES = ("claims_horizon",)
CAPTION = (
    "Error of AdamW without decay minus that at the best λ, against the length of the run. Left: regression with "
    "fewer examples than features, over draws. Right: an MLP on MNIST-1D, each at its best learning rate; intervals "
    "over seeds, test examples and selection."
)


def closed_form_test() -> ClaimEvidence:
    """Test on regression over five budgets."""
    errors = [regression("adamw", [LR], (0.0, *LAMBDAS), steps).errors[0] for steps in STEPS]
    gain_TG = np.stack([_gain(error) for error in errors])
    axes = PanelAxes("toy: regression", "steps", "gain (%)", "log", "linear")
    slopes = mean_over_seeds(least_squares_slope(np.log2(STEPS), gains) for gains in gain_TG.T)
    return ClaimEvidence(
        [
            Claim(
                "The gain of the best λ over none grows with the budget",
                SOURCE,
                "gain for each doubling of the steps, λ chosen on other draws",
                slopes,
                ABOVE_RANGE,
                unit="pp",
                form="+.1f",
            )
        ],
        [axes.over_seeds("AdamW", STEPS, gain_TG.T)],
    )


def _gain(errors_LG: np.ndarray) -> np.ndarray:
    """Return percent of the error at λ = 0, by draw, at the λ that is best for all others; the first λ is 0."""
    chosen = errors_LG[1:][leave_one_out_best(errors_LG[1:]), np.arange(errors_LG.shape[1])]
    return np.asarray(100 * (1 - chosen / errors_LG[0]))


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on MNIST-1D over budgets of 10 to 160 epochs."""
    (report,) = reports.values()
    claims, panels = [], []
    for family in task_families(split_by_task(report.records), "epochs"):
        claims += grows(family.tasks, family.label, SOURCE)
        rows = gains(report, family.tasks)
        if len(rows):
            axes = PanelAxes("training: an MLP", "epochs", f"gain ({rows['unit'].iloc[0]})", "log", "linear")
            panels.append(axes.series("AdamW", "line", rows["x"], -rows["gain"], -rows["gain_high"], -rows["gain_low"]))
    return ClaimEvidence(claims, panels)
