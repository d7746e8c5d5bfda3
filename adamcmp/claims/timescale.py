"""The time scale 1/(ηλ) in epochs transfers under AdamW.

Its weights are an exponential moving average of its updates over 1/(ηλ) steps. If that time in epochs is what counts,
the best λ falls as one over the size of the training set. That paper varies data and model size; that λ does not move
with the number of epochs follows from the same argument and is not its own claim. Loshchilov & Hutter's rule has both
fall with the root.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from adamcmp.analysis import split_by_task
from adamcmp.analysis.claim import Claim, exact_value
from adamcmp.analysis.optimal_decay import OptimalDecays
from adamcmp.claims.closed_form import rule_settings, weights_path
from adamcmp.claims.evidence import ClaimEvidence, PanelAxes
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.horizon import TOLERATED, optimal_decays_of_families
from adamcmp.studies.paper_claims import PAPER

SOURCE = "Wang & Aitchison 2024"
STUDIES = ("claims_horizon",)
CAPTION = (
    "Left: the remaining share of a weight without gradient after ηλt = 1, 2, 3 …: a moving average forgets as e^−ηλt. "
    "Right: AdamW's best λ at one learning rate against the size of the training set and against the budget, with 95 "
    "% intervals; gray: the predicted slopes."
)
RATES = (0.003, 0.01, 0.03)
RULES = (
    ("train_examples", "training examples", (
        (-1.0, "The best λ falls as one over the size of the training set", SOURCE),
        (-0.5, "The best λ falls as one over the root of the size of the training set", PAPER),
    )),
    ("epochs", "epochs", (
        (0.0, "The best λ does not move with the number of epochs", f"implied by {SOURCE}"),
        (-0.5, "The best λ falls as one over the root of the number of epochs", PAPER),
    )),
)  # fmt: skip
"""Varied quantity and predicted slope."""


def closed_form_test() -> ClaimEvidence:
    """Test on weights that get no gradient."""
    axes = PanelAxes("toy: no gradient", "steps · ηλ", "remaining share", "linear")
    times, panels = [], []
    for rate in RATES:
        steps = round(4 / rate)
        left = weights_path([rule_settings("adamw", lr=0.1, weight_decay=rate / 0.1)], 1.0, lambda t: 0.0, steps)[1:, 0]
        times.append(-math.log(left[round(1 / rate) - 1]))
        x = np.arange(1, steps + 1) * rate
        panels.append(axes.series(f"ηλ = {rate:g}", "line", x, left))
    x = np.linspace(0, 4, 50)
    panels.append(axes.series("e^(−ηλt)", "predicted", x, np.exp(-x)))
    worst = max(times, key=lambda time: abs(time - 1))
    return ClaimEvidence(
        [
            Claim(
                "AdamW's weights are a moving average over 1/(ηλ) steps",
                SOURCE,
                "−log of the remaining share of a weight after 1/(ηλ) steps, farthest from 1",
                exact_value(round(worst, 6)),
                (0.95, 1.05),
                form=".3f",
            )
        ],
        panels,
    )


def optima(reports: Mapping[str, ReportInput], by: str) -> list[tuple[str, OptimalDecays]]:
    """Return for each family of tasks that differ in ``epochs`` or ``train_examples`` AdamW's best λ and its slope."""
    (report,) = reports.values()
    return [(label, decays) for label, decays, _ in optimal_decays_of_families(split_by_task(report.records), by)]


def panel(axes: PanelAxes, name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return a panel of best λ with their intervals."""
    return axes.series(name, "dots", table["x"], table["best"], table["low"], table["high"])


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on MNIST-1D with training sets and budgets of several sizes."""
    claims, panels = [], []
    for by, words, rules in RULES:
        for label, decays in optima(reports, by):
            axes = PanelAxes(f"training: {words}", words, "best λ")
            rows = decays.optima
            panels.append(panel(axes, "AdamW", rows))
            for at, statement, source in rules:
                near, measured = (at - TOLERATED, at + TOLERATED), f"slope d log λ* / d log {words}"
                claims.append(Claim(statement, source, measured, decays.slope, near, on=label))
                middle = np.exp(np.log(rows["best"]).mean() - at * np.log(rows["x"]).mean())
                panels.append(axes.series(f"slope {at:g}", "predicted", rows["x"], middle * rows["x"] ** at))
    return ClaimEvidence(claims, panels)
