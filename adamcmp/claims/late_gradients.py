"""AdamC removes the late rise of gradient norms.

In front of a norm gradients fall with the weights' length, whose square is near η/(2λ) in equilibrium under AdamW: as
η falls to zero, weights shrink and gradients grow. A decay of η²αλ keeps the length.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from adamcmp.analysis.claim import ABOVE_RANGE, BELOW_RANGE, Claim
from adamcmp.claims.closed_form import gradients_before_norm, normal_tensor, rule_settings, simulate
from adamcmp.claims.evidence import (
    CLOSED_FORM,
    ClaimEvidence,
    PanelAxes,
    extra_metric_rows,
    mean_over_seeds,
    task_label,
)
from adamcmp.report.report_input import ReportInput

SOURCE = "Defazio, arXiv 2506.02285"
STUDIES = ("claims_norm",)
CAPTION = (
    "Norms of gradients of weights in front of a norm, along a cosine. Left: random gradients over the weights' "
    "length, relative to the first tenth. Right: batches of a network with batch norm, means over seeds with 95 % "
    "bands."
)
NAMES = {"adamw": "AdamW", "adamc": "AdamC"}
STEPS, SIZE, DRAWS, LR, LAMBDA = 4000, 128, 6, 0.02, 0.5
MIDDLE, LATE = (0.4, 0.6), (0.88, 1.0)


def closed_form_test() -> ClaimEvidence:
    """Test on random gradients, orthogonal to the weights, over their length."""
    import torch

    eta = 0.5 + 0.5 * np.cos(np.pi * np.arange(STEPS) / STEPS)
    axes = PanelAxes("toy: in front of a norm", "step", "‖g‖ / ‖g‖ at first", "linear")
    x = (np.arange(40) + 0.5) * STEPS / 40
    rises, panels = {}, []
    for name, label in NAMES.items():
        draw = torch.Generator().manual_seed(0)
        norms: list[np.ndarray] = []

        def gradient(weights: Any, t: int, draw: Any = draw, norms: list[np.ndarray] = norms) -> Any:
            gradient = gradients_before_norm(weights, draw)
            norms.append(gradient.norm(dim=1).numpy())
            return gradient

        rules = [rule_settings(name, lr=LR, weight_decay=LAMBDA)] * DRAWS
        simulate(rules, normal_tensor(DRAWS, SIZE) * (LR / (2 * LAMBDA)) ** 0.5, gradient, STEPS, eta=eta)
        norms_DT = np.array(norms).T
        parts = norms_DT.reshape(DRAWS, 40, -1).mean(-1)
        panels.append(axes.over_seeds(label, list(x), parts / parts[:, :4].mean(1, keepdims=True)))
        rises[name] = np.log(_mean(norms_DT, LATE) / _mean(norms_DT, MIDDLE))
    return ClaimEvidence(_claims(rises, CLOSED_FORM), panels)


def _mean(values_DT: np.ndarray, part: tuple[float, float]) -> np.ndarray:
    steps = values_DT.shape[1]
    return np.asarray(values_DT[:, int(part[0] * steps) : int(part[1] * steps)].mean(1))


def _claims(rises: Mapping[str, Any], on: str) -> list[Claim]:
    what = "log of the norm of gradients late by that in the middle"
    return [
        Claim(
            "Under AdamW norms of gradients rise late",
            SOURCE,
            what,
            mean_over_seeds(rises["adamw"]),
            ABOVE_RANGE,
            on=on,
        ),
        Claim(
            "AdamC has a smaller late rise than AdamW",
            SOURCE,
            f"{what}, AdamC minus AdamW",
            mean_over_seeds(rises["adamc"] - rises["adamw"]),
            BELOW_RANGE,
            on=on,
        ),
    ]


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on a CNN with batch norm under a cosine."""
    (report,) = reports.values()
    table = extra_metric_rows(report)
    table = table[table["schedule"] == "cosine"]
    names = [name for name in map(str, table) if name.startswith("gradient_norms_blocks") and name.endswith("weight")]
    norm = np.sqrt(table[names].pow(2).sum(axis=1))
    share = table["step"] / table["step"].max()
    rises: dict[str, Any] = {}
    axes = PanelAxes("training: batch norm", "step", "‖g‖ in front of norms", "linear")
    panels = []
    for name, label in NAMES.items():
        rows = table["arm"] == label
        wide = pd.DataFrame({"seed": table["seed"], "step": table["step"], "norm": norm})[rows].pivot_table(
            index="seed", columns="step", values="norm"
        )
        panels.append(axes.over_seeds(label, list(wide.columns), wide.to_numpy(float)))
        within = {part: rows & (share > part[0]) & (share <= part[1]) for part in (MIDDLE, LATE)}
        means = {part: norm[chosen].groupby(table["seed"][chosen]).mean() for part, chosen in within.items()}
        rises[name] = np.log(means[LATE] / means[MIDDLE])
    return ClaimEvidence(_claims(rises, task_label(report)), panels)
