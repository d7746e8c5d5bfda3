"""What decay brings AdamW grows with the length of the run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adamcmp.analysis import split_by_task
from adamcmp.analysis.claim import ABOVE_RANGE, Claim
from adamcmp.report.model import ReportInput
from adamcmp.studies._families import families
from adamcmp.studies.claims._form import TOY, Axes, Evidence, over, slope, those
from adamcmp.studies.claims._toys import chosen_elsewhere, regression
from adamcmp.studies.claims.short_runs import LAMBDAS, LR, STEPS
from adamcmp.studies.horizon import gains, grows

SOURCE = "arXiv 2509.02046"
STUDIES = ("claims_horizon",)
CAPTION = (
    "Error of AdamW without decay minus that at the best λ, against the length of the run. Left: regression with "
    "fewer examples than features, over draws. Right: an MLP on MNIST-1D, each at its best learning rate; intervals "
    "over seeds, test examples and selection."
)


def toy() -> Evidence:
    """Regression over five budgets."""
    errors = [regression("adamw", [LR], (0.0, *LAMBDAS), steps).errors[0] for steps in STEPS]
    gain_TG = np.stack([_gain(each) for each in errors])
    axes = Axes("toy: regression", "steps", "gain (%)", "log", "linear")
    slopes = over(slope(np.log2(STEPS), each) for each in gain_TG.T)
    return Evidence(
        [
            Claim(
                "The gain of the best λ over none grows with the budget",
                SOURCE,
                "gain for each doubling of the steps, λ chosen on other draws",
                slopes,
                ABOVE_RANGE,
                None,
                TOY,
                "pp",
                "+.1f",
            )
        ],
        [axes.over_seeds("AdamW", STEPS, gain_TG.T)],
    )


def _gain(errors_LG: np.ndarray) -> np.ndarray:
    """Percent of the error at λ = 0, by draw, at the λ that is best for all others; the first λ is 0."""
    chosen = errors_LG[1:][chosen_elsewhere(errors_LG[1:]), np.arange(errors_LG.shape[1])]
    return np.asarray(100 * (1 - chosen / errors_LG[0]))


def training(found: Mapping[str, ReportInput]) -> Evidence:
    """MNIST-1D over budgets of 10 to 160 epochs."""
    own = those(found, STUDIES[0])
    if own is None:
        return Evidence([])
    claims, panels = [], []
    for family in families(split_by_task(own.records), "epochs"):
        claims += grows(family.tasks, family.label, SOURCE)
        rows = gains(own, family.tasks)
        if len(rows):
            axes = Axes("training: an MLP", "epochs", f"gain ({rows['unit'].iloc[0]})", "log", "linear")
            panels.append(axes.series("AdamW", "line", rows["x"], -rows["gain"], -rows["gain_high"], -rows["gain_low"]))
    return Evidence(claims, panels)
