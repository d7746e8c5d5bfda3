"""If AdamW converges, no weight is larger than 1/λ.

λ is the one that the learning rate scales: in the limit the weights are those of the best ‖θ‖_∞ ≤ 1/λ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from adamcmp.analysis.claim import Claim, exact_value
from adamcmp.claims.closed_form import rule_settings, weights_path
from adamcmp.claims.evidence import (
    ClaimEvidence,
    PanelAxes,
    extra_metric_rows,
    mean_over_seeds,
    task_label,
)
from adamcmp.claims.weaker_decay import ADAMW
from adamcmp.report.report_input import ReportInput

SOURCE = "Xie & Li 2024"
STUDIES = ("claims_decay",)
CAPTION = (
    "The largest weight times λ; above 1 it is outside of the bound. Left: a constant gradient. Right: an MLP on "
    "MNIST-1D at a fixed learning rate, along the training: with gradients that vary, single steps are larger than "
    "the learning rate."
)
LAMBDAS = (0.25, 0.5, 1.0, 2.0)


def closed_form_test() -> ClaimEvidence:
    """Test on a constant gradient."""
    rules = [rule_settings("adamw", lr=0.05, weight_decay=weight_decay, eps=0.0) for weight_decay in LAMBDAS]
    times_TK = np.abs(weights_path(rules, 0.0, lambda t: 1.0, 1500)[1:]) * LAMBDAS
    axes = PanelAxes("toy: a constant gradient", "step", "λ ‖θ‖_∞", "linear", "linear")
    panels = [
        axes.series(f"λ = {weight_decay:g}", "line", range(1, len(times_TK) + 1, 10), times_TK[::10, k])
        for k, weight_decay in enumerate(LAMBDAS)
    ]
    return ClaimEvidence(
        [
            Claim(
                "Under a constant gradient the weight ends at 1/λ",
                SOURCE,
                "largest weight times λ, λ = 0.5",
                exact_value(round(float(times_TK[-1, LAMBDAS.index(0.5)]), 6)),
                (0.99, 1.0 + 1e-9),
                form=".4f",
            )
        ],
        [*panels, axes.series("bound", "predicted", [1, len(times_TK)], [1.0, 1.0])],
    )


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on an MLP at several λ."""
    (report,) = reports.values()
    table = extra_metric_rows(report)
    table = table[table["arm"] == ADAMW].assign(product=lambda x: x["largest_weight"] * x["weight_decay"])
    axes = PanelAxes("training: an MLP", "step", "λ ‖θ‖_∞", "linear", "log")
    claims, panels = [], []
    for weight_decay, rows in table.groupby("weight_decay"):
        wide = rows.pivot_table(index="seed", columns="step", values="product")
        panels.append(axes.over_seeds(f"λ = {weight_decay:g}", list(wide.columns), wide.to_numpy(float)))
        claims.append(
            Claim(
                f"No weight is larger than 1/λ, λ = {weight_decay:g}",
                SOURCE,
                "largest weight times λ after the last step",
                mean_over_seeds(wide.iloc[:, -1]),
                (-math.inf, 1.0),
                on=task_label(report),
                form=".3f",
            )
        )
    steps = sorted(set(table["step"]))
    return ClaimEvidence(claims, [*panels, axes.series("bound", "predicted", [steps[0], steps[-1]], [1.0, 1.0])])
