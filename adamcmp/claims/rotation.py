"""Under AdamW weights turn by √(2ηλ(1−β1)/(1+β1)) in a step, whatever the gradients' size.

So they do in equilibrium, where what random steps add to the norm is what decay takes, and where a norm behind the
weights makes gradients orthogonal to them. Under Adam with L2 the angle depends on the gradients' size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from adamcmp.analysis.claim import Claim
from adamcmp.claims.closed_form import normal_tensor, rule_settings, simulate
from adamcmp.claims.evidence import (
    ClaimEvidence,
    PanelAxes,
    extra_metric_rows,
    last_evaluations,
    layer_names,
    mean_over_seeds,
    task_label,
)
from adamcmp.claims.weaker_decay import ADAM, ADAMW
from adamcmp.report.report_input import ReportInput

SOURCE = "Kosson et al. 2024"
STUDIES = ("claims_norm",)
CAPTION = (
    "The angle by which weights turn in a step over that predicted of AdamW. Left: random gradients of three sizes. "
    "Right: layers of a network with batch norm along a training at a fixed rate, mean over seeds and layers in front"
    " of a norm with 95 % bands."
)
SCALES = (0.01, 0.1, 1.0)
LR, LAMBDA, STEPS, DRAWS, SIZE = 1e-2, 0.1, 5000, 8, 256
NEAR_TOY, NEAR = (0.95, 1.05), (0.8, 1.25)


def predicted(lr: float, weight_decay: float, beta1: float = 0.9) -> float:
    """Return √(2 η λ (1 − β1)/(1 + β1))."""
    return math.sqrt(2 * lr * weight_decay * (1 - beta1) / (1 + beta1))


def angle(a: Any, b: Any) -> Any:
    """Return the angles between the rows of two tensors (R, D), by half angles."""
    a, b = (rows / rows.norm(dim=-1, keepdim=True) for rows in (a, b))
    return 2 * ((a - b).norm(dim=-1) / (a + b).norm(dim=-1)).atan()


def turning(name: str, scales: tuple[float, ...], lrs: tuple[float, ...], weight_decay: float) -> np.ndarray:
    """Return mean angle of a step over the last half of a random walk, (row, draw); one row per scale or a learning
    rate.
    """
    import torch

    rows = max(len(scales), len(lrs))
    scale = torch.tensor(np.repeat(np.broadcast_to(scales, rows), DRAWS), dtype=torch.float64)[:, None]
    draw = torch.Generator().manual_seed(0)
    lengths = np.sqrt(np.broadcast_to(lrs, rows) / (2 * weight_decay))  # of AdamW in equilibrium, each weight
    start = normal_tensor(rows * DRAWS, SIZE) * torch.from_numpy(np.repeat(lengths, DRAWS))[:, None]
    before, angles = start.clone(), []

    def gradient(weights: Any, t: int) -> Any:
        return scale * torch.randn(weights.shape, generator=draw, dtype=torch.float64)

    def callback(t: int, weights: Any, state: Any) -> None:
        if t > STEPS // 2:
            angles.append(angle(before, weights).numpy())
        before.copy_(weights)

    rules = [
        rule_settings(name, lr=float(lr), weight_decay=weight_decay)
        for lr in np.broadcast_to(lrs, rows)
        for _ in range(DRAWS)
    ]
    simulate(rules, start, gradient, STEPS, callback=callback)
    return np.asarray(np.mean(angles, axis=0).reshape(rows, DRAWS))


def closed_form_test() -> ClaimEvidence:
    """Test on random gradients."""
    axes = PanelAxes("toy: random gradients", "size of the gradients", "angle / predicted")
    claims, panels = [], []
    for name, label in (("adamw", ADAMW), ("adam", ADAM)):
        ratio_KD = turning(name, SCALES, (LR,), weight_decay=LAMBDA) / predicted(LR, LAMBDA)
        panels.append(axes.over_seeds(label, SCALES, ratio_KD.T))
        for scale, row in zip(SCALES, ratio_KD, strict=True):
            if name == "adamw" or scale != 0.1:
                claims.append(
                    Claim(
                        f"{label} turns weights by √(2ηλ(1−β1)/(1+β1)), gradients of size {scale:g}",
                        SOURCE,
                        "measured angle per step over the predicted one",
                        mean_over_seeds(row),
                        NEAR_TOY,
                        form=".3f",
                    )
                )
    panels.append(axes.series("predicted of AdamW", "predicted", SCALES, [1.0] * len(SCALES)))
    return ClaimEvidence(claims, panels)


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on layers in front of batch norm."""
    (report,) = reports.values()
    table = extra_metric_rows(report)
    table = table[table["schedule"] == "constant"]
    names = [f"updates_{layer}_angle" for layer in layer_names(table, "updates_", "_angle")][
        :-1
    ]  # the head has no norm
    axes = PanelAxes("training: batch norm", "step", "angle / predicted", "linear")
    claims, panels = [], []
    for arm, rows in table.groupby("arm"):
        expected = predicted(float(rows["lr"].iloc[0]), float(rows["weight_decay"].iloc[0]))
        if arm == ADAM:  # its λ is none of AdamW's: the same prediction as beside it
            expected = predicted(*map(float, table.loc[table["arm"] == ADAMW, ["lr", "weight_decay"]].iloc[0]))
        for i, name in enumerate(names):
            wide = rows.pivot_table(index="seed", columns="step", values=name) / expected
            panels.append(axes.over_seeds(f"{arm}, layer {i + 1}", list(wide.columns), wide.to_numpy(float)))
        if arm == ADAMW:
            ratio = rows.assign(ratio=np.exp(np.log(rows[names]).mean(axis=1)) / expected)
            ending = last_evaluations(ratio).groupby("seed")["ratio"].mean()
            claims.append(
                Claim(
                    "AdamW turns layers in front of a norm by √(2ηλ(1−β1)/(1+β1))",
                    SOURCE,
                    "measured angle per step over the predicted one, last half of training",
                    mean_over_seeds(ending),
                    NEAR,
                    on=task_label(report),
                    form=".3f",
                )
            )
    steps = sorted(set(table["step"]))
    panels.append(axes.series("predicted of AdamW", "predicted", steps, [1.0] * len(steps)))
    return ClaimEvidence(claims, panels)
