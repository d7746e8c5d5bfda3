"""Weight decay makes a network that has long fitted generalize, and decoupled decay does so sooner than L2.

Where gradients vanish, Adam divides the penalty by a √v̂ that is made of the penalty alone: L2 then takes the full
learning rate off each weight, and decoupled decay ηαλ|θ| of it. So L2 takes more only while λ|θ| < 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from adamcmp.analysis import split_by_task
from adamcmp.analysis.claim import ABOVE_RANGE, BELOW_RANGE, Claim, exact_value
from adamcmp.analysis.steps_to_generalize import (
    TARGET_ERROR,
    steps_by_trial,
    steps_difference,
    steps_of_best,
    steps_to_target,
    steps_without_decay,
)
from adamcmp.claims.closed_form import rule_settings, weights_path
from adamcmp.claims.evidence import ClaimEvidence, PanelAxes
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import ADAM, ADAMW, find_arm

SOURCE = "Power et al. 2022"
STUDIES = ("claims_grokking",)
CAPTION = (
    "Left: a weight that gets no gradient. Right: steps until addition modulo 31 has a validation error of "
    f"{TARGET_ERROR:.0%}, median over seeds with the fastest and the slowest, by λ; the gray line is the budget, and λ "
    "= 0 is at the left edge."
)
LR, LAMBDA, STEPS = 1e-3, 0.1, 600


def closed_form_test() -> ClaimEvidence:
    """Test on a weight without gradient."""
    axes = PanelAxes("toy: no gradient", "step", "weight", "linear", "linear")
    panels, taken = [], []
    for name, label in (("adam", "Adam + L2"), ("adamw", "AdamW")):
        path = weights_path([rule_settings(name, lr=LR, weight_decay=LAMBDA)], 1.0, lambda t: 0.0, STEPS)[:, 0]
        panels.append(axes.series(label, "line", range(0, STEPS + 1, 10), path[::10]))
        taken.append(1 - path[100])
    return ClaimEvidence(
        [
            Claim(
                "Where gradients vanish, L2 under Adam decays weights below 1/λ more than decoupled decay does",
                SOURCE,
                f"log10 of the decrease of a weight of 1 in a hundred steps, λ = {LAMBDA:g}, Adam + L2 by AdamW",
                exact_value(round(math.log10(taken[0] / taken[1]), 6)),
                ABOVE_RANGE,
            )
        ],
        panels,
    )


def _is_at_the_end(rows: pd.DataFrame) -> bool:
    """Return whether the λ with the fewest steps is the largest of the grid: a larger one may take fewer."""
    reached = rows.dropna(subset=["median"]).sort_values("median", kind="stable")
    return not reached.empty and bool(reached["weight_decay"].iloc[0] == rows["weight_decay"].max())


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on addition modulo 31."""
    (report,) = reports.values()
    claims, panels = [], []
    axes = PanelAxes("training: addition modulo 31", "λ", "steps to generalize")
    for task in split_by_task(report.records):
        steps = steps_to_target(report.curves, task.records)
        arms = {label: find_arm(task, names) for label, names in (("Adam + L2", ADAM), ("AdamW", ADAMW))}
        table = steps_by_trial(steps)
        least = table.loc[table["weight_decay"] > 0, "weight_decay"].min()
        for label, name in arms.items():
            if name is None:
                continue
            estimate = steps_difference(steps_of_best(steps, name), steps_without_decay(steps, name))
            if not math.isnan(estimate.value):
                claims.append(
                    Claim(
                        f"Weight decay makes {label} generalize sooner",
                        SOURCE,
                        "log10 of the steps at the best λ by those without decay",
                        estimate,
                        BELOW_RANGE,
                        task.task,
                        task.label,
                    )
                )
            rows = table[table["arm"] == name]
            x = rows["weight_decay"].where(rows["weight_decay"] > 0, least / 4)
            panels.append(axes.series(label, "dots", x, rows["median"], rows["fastest"], rows["slowest"]))
        if None not in arms.values():
            estimate = steps_difference(
                steps_of_best(steps, str(arms["AdamW"])), steps_of_best(steps, str(arms["Adam + L2"]))
            )
            ends_of = [f"{label}'s is the largest that was tried" for label, name in arms.items()
                       if _is_at_the_end(table[table["arm"] == name])]  # fmt: skip
            if not math.isnan(estimate.value):
                claims.append(
                    Claim(
                        "Decoupled decay makes it generalize sooner than L2 does",
                        SOURCE,
                        "log10 of the steps of AdamW by those of Adam + L2, each at its best λ"
                        + "".join(f"; {text}" for text in ends_of),
                        estimate,
                        BELOW_RANGE,
                        task.task,
                        task.label,
                    )
                )
        budget = float(task.records["steps"].iloc[0])
        ends = [least / 4, float(np.max(table["weight_decay"]))]
        panels.append(axes.series("budget", "predicted", ends, [budget, budget]))
    return ClaimEvidence(claims, panels)
