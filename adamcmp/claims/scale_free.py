"""Scaling the loss changes nothing for AdamW, and much for Adam with L2.

With ε = 0 every step of AdamW is the same for c times the loss; L2's λθ is added to gradients that are c times as
large.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from adamcmp.analysis.claim import Claim, exact_value
from adamcmp.claims.closed_form import normal_tensor, rule_settings, simulate
from adamcmp.claims.evidence import CLOSED_FORM, ClaimEvidence, PanelAxes, extra_metric_rows, mean_over_seeds
from adamcmp.claims.weaker_decay import ADAM, ADAMW
from adamcmp.report.report_input import ReportInput

SOURCE = "Zhuang et al. 2022"
STUDIES = ("claims_scale",)
CAPTION = (
    "How far the weights end from those of the unscaled loss, ‖θ_c − θ_1‖ / ‖θ_1‖, against the factor c. Left: a "
    "quadratic with noise. Right: an MLP on MNIST-1D, by projections of the weights, means over seeds with 95 % "
    "intervals; 1e-9 stands for less."
)
FACTORS = (0.125, 1.0, 8.0)
LEAST = 1e-9
UNCHANGED, CHANGED = (-1e-6, 1e-3), (0.01, float("inf"))


def closed_form_test() -> ClaimEvidence:
    """Test on a quadratic with noise, the same noise for all factors."""
    import torch

    axes = PanelAxes("toy: a noisy quadratic", "factor c of the loss", "drift of the weights")
    size, steps = 64, 500
    factor_K1 = torch.tensor(FACTORS, dtype=torch.float64)[:, None]
    curvature_D = torch.from_numpy(np.geomspace(0.01, 1, size))
    claims, panels = [], []
    for name, label, decay in (("adamw", ADAMW, 0.3), ("adam", ADAM, 0.01)):
        draw = torch.Generator().manual_seed(0)

        def gradient(weights: Any, t: int, draw: Any = draw) -> Any:
            noise = torch.randn(1, size, generator=draw, dtype=torch.float64)
            return factor_K1 * (curvature_D * weights + 0.1 * noise)

        rules = [rule_settings(name, lr=0.01, weight_decay=decay, eps=0.0)] * len(FACTORS)
        ended = simulate(rules, normal_tensor(1, size).expand(len(FACTORS), -1).contiguous(), gradient, steps)
        base = ended[FACTORS.index(1.0)]
        drift = ((ended - base).norm(dim=1) / base.norm()).tolist()
        panels.append(axes.series(label, "dots", *_without_one(FACTORS, drift)))
        claims.append(_claim(label, exact_value(round(max(drift), 12)), CLOSED_FORM, None))
    return ClaimEvidence(claims, panels)


def _without_one(factors: tuple[float, ...], drift: list[float]) -> tuple[list[float], list[float]]:
    drifted = [(c, max(d, LEAST)) for c, d in zip(factors, drift, strict=True) if c != 1]
    return [c for c, _ in drifted], [d for _, d in drifted]


def _claim(label: str, estimate: Any, on: str, task: str | None) -> Claim:
    statement, predicted = (
        (f"Scaling the loss leaves AdamW's weights as they are{', with ε = 0' if on == CLOSED_FORM else ''}", UNCHANGED)
        if label == ADAMW
        else ("Scaling the loss changes the weights of Adam with L2", CHANGED)
    )
    return Claim(
        statement, SOURCE, "largest ‖θ_c − θ_1‖ / ‖θ_1‖ for c of 1/8 and 8", estimate, predicted, task, on, form=".3g"
    )


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on an MLP whose loss is multiplied."""
    (report,) = reports.values()
    table = extra_metric_rows(report)
    table = table[table["step"] == table["step"].max()]
    settings = report.records.set_index("run_id")["settings"].map(json.loads)
    table = table.assign(
        factor=table["run_id"].map(settings).map(lambda setting: float(setting["loss"]["arguments"]["factor"]))
    )
    names = [name for name in table.columns if name.startswith("projections_") and name != "projections_norm"]
    axes = PanelAxes("training: an MLP", "factor c of the loss", "drift of the weights")
    claims, panels = [], []
    for arm in (ADAMW, ADAM):
        rows = table[table["arm"] == arm].set_index(["factor", "seed"]).sort_index()
        base = rows.loc[1.0]
        drifts = {
            factor: np.sqrt((rows.loc[factor][names] - base[names]).pow(2).mean(axis=1)) / base["projections_norm"]
            for factor in sorted(set(rows.index.get_level_values("factor")) - {1.0})
        }
        wide = pd.DataFrame(drifts)
        panels.append(axes.over_seeds(arm, list(wide.columns), wide.clip(lower=LEAST).to_numpy(float), "dots"))
        claims.append(
            _claim(arm, mean_over_seeds(wide.max(axis=1).round(9)), str(report.records["task_label"].iloc[0]), None)
        )
    return ClaimEvidence(claims, panels)
