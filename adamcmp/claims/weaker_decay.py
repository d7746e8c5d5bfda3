"""Under Adam with L2 a small second moment weakens the decay of a weight.

It is the other way round: the penalty's gradient is divided by √v̂ as any other, so that decay is near η α λ/√v̂, and
weights with large gradients are decayed least.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from adamcmp.analysis.claim import ABOVE_RANGE, Claim
from adamcmp.claims.closed_form import instrumented_adam, normal_tensor, simulate
from adamcmp.claims.evidence import (
    ClaimEvidence,
    PanelAxes,
    extra_metric_rows,
    last_evaluations,
    layer_names,
    least_squares_slope,
    mean_over_seeds,
    task_label,
)
from adamcmp.report.report_input import ReportInput

SOURCE = "common texts"
STUDIES = ("claims_decay",)
CAPTION = (
    "The share of a weight that decay removes per step against √v̂, in tenths of each layer's weights. Left: "
    "random gradients of four sizes. Right: an MLP on MNIST-1D over the last half of training, each layer a row of "
    "points; AdamW removes the same share of all."
)
SCALES = (0.01, 0.1, 1.0, 10.0)
ADAM, ADAMW = "Adam + L2", "AdamW"
STEPS, DRAWS, LR, LAMBDA = 2000, 16, 1e-3, 0.01


def toy_rates(decay: str) -> np.ndarray:
    """Return Σ θ δ / Σ θ² under noise of each scale, (scale, draw): what decay takes, over the last half of the
    steps.
    """
    import torch

    scale_K1 = torch.tensor(SCALES, dtype=torch.float64)[:, None]
    draw = torch.Generator().manual_seed(1)
    taken, squares = [], []

    def gradient(weights: torch.Tensor, t: int) -> torch.Tensor:
        return scale_K1 * torch.randn(weights.shape, generator=draw, dtype=torch.float64)

    def callback(t: int, weights: torch.Tensor, state: dict[str, torch.Tensor]) -> None:
        if t > STEPS // 2:
            taken.append((state["taken"] * weights).numpy().copy())
            squares.append(weights.square().numpy().copy())

    rules = [instrumented_adam(decay, lr=LR, weight_decay=LAMBDA)] * len(SCALES)
    simulate(rules, normal_tensor(len(SCALES), DRAWS), gradient, STEPS, callback=callback)
    return np.asarray(np.sum(taken, axis=0) / np.sum(squares, axis=0))


def closed_form_test() -> ClaimEvidence:
    """Test on random gradients of several sizes."""
    axes = PanelAxes("toy: random gradients", "size of the gradients", "share that decay takes")
    panels, claims = [], []
    for decay, name in (("l2", ADAM), ("lr_scaled", ADAMW)):
        rates_KD = toy_rates(decay)
        panels.append(axes.over_seeds(name, SCALES, rates_KD.T))
        if decay == "l2":
            slopes = [least_squares_slope(np.log(SCALES), np.log(rates)) for rates in rates_KD.T]
            claims.append(
                Claim(
                    "Under Adam with L2 a small second moment weakens decay",
                    SOURCE,
                    "slope d log (share that decay takes) / d log √v̂",
                    mean_over_seeds(slopes),
                    ABOVE_RANGE,
                )
            )
    line = [LR * LAMBDA / scale for scale in SCALES]
    return ClaimEvidence(claims, [*panels, axes.series("α λ / √v̂", "predicted", SCALES, line)])


def by_tenths(table: pd.DataFrame) -> pd.DataFrame:
    """Return columns optimizer, seed, layer, part, scale, rate: means over evaluations of the last half, in tenths of a
    layer.
    """
    rows = []
    for layer in layer_names(table, "decay_rates_", "_scale_0"):
        for k in range(10):
            tenth = table[["arm", "seed"]].assign(
                layer=layer,
                part=k,
                scale=table[f"decay_rates_{layer}_scale_{k}"],
                rate=table[f"decay_rates_{layer}_rate_{k}"],
            )
            rows.append(tenth)
    return pd.concat(rows).groupby(["arm", "seed", "layer", "part"], sort=False).mean().reset_index()


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the median λ of each optimizer, the smaller of two."""
    middle = table.groupby("arm")["weight_decay"].transform(lambda x: sorted(set(x))[(x.nunique() - 1) // 2])
    return table[table["weight_decay"] == middle]


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on every weight of an MLP."""
    (report,) = reports.values()
    table = chosen(extra_metric_rows(report))
    parts = by_tenths(last_evaluations(table))
    parts = parts[(parts["rate"] > 0) & (parts["scale"] > 0)]
    on = task_label(report)
    within = (
        parts[parts["arm"] == ADAM]
        .groupby(["seed", "layer"])[["scale", "rate"]]
        .apply(lambda x: least_squares_slope(np.log(x["scale"].to_numpy()), np.log(x["rate"].to_numpy())))
        .groupby("seed")
        .mean()
    )
    axes = PanelAxes("training: by gradients", "√v̂", "share that decay takes")
    along = PanelAxes("training: along the steps", "step", "share that decay takes", "linear")
    logs = parts.assign(scale=np.log(parts["scale"]), rate=np.log(parts["rate"]))
    mean = logs.groupby(["arm", "layer", "part"])[["scale", "rate"]].mean()
    panels = []
    for (arm, layer), points in mean.groupby(["arm", "layer"]):
        name = _spelt(str(arm), str(layer))
        panels.append(axes.series(name, "line", np.exp(points["scale"]), np.exp(points["rate"])))
        own_steps = table[table["arm"] == arm].pivot_table(index="seed", columns="step", values=f"decay_rates_{layer}")
        panels.append(along.over_seeds(name, list(own_steps.columns), own_steps.to_numpy(float)))
    return ClaimEvidence(
        [
            Claim(
                "Under Adam with L2 a small second moment weakens decay",
                SOURCE,
                "slope d log (share that decay takes) / d log √v̂ within layers",
                mean_over_seeds(within),
                ABOVE_RANGE,
                on=on,
            )
        ],
        panels,
    )


def _spelt(arm: str, layer: str) -> str:
    """Return ``AdamW, layer 2`` of the second matrix of an MLP."""
    number = layer.split(".")
    return f"{arm}, layer {1 + int(number[1]) // 2}" if number[0] == "layers" else f"{arm}, {layer}"
