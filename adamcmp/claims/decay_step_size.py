"""AdamW is θ ← θ − lr·u − λθ.

So it is in Algorithm 2 with a schedule multiplier of 1. Libraries take lr·λ·θ off: at a learning rate of 1e-3 a
thousandth.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adamcmp.analysis.claim import Claim, exact_value
from adamcmp.claims.closed_form import instrumented_adam, simulate
from adamcmp.claims.evidence import (
    ClaimEvidence,
    PanelAxes,
    extra_metric_rows,
    mean_over_seeds,
    task_label,
)
from adamcmp.report.report_input import ReportInput

SOURCE = "common texts"
STUDIES = ("claims_decay",)
CAPTION = (
    "The share of the weights that AdamW's decay removes per step, over λ; the claim predicts 1. Left: "
    "torch's AdamW and the paper's convention with gradients of zero, at several learning rates. Right: trainings at "
    "lr 0.004."
)
LRS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
LAMBDA = 0.01
NEAR = (0.5, 2.0)


def closed_form_test() -> ClaimEvidence:
    """Test a step without gradient, by torch.optim.AdamW and by the paper's convention."""
    import torch

    axes = PanelAxes("toy: gradients of zero", "lr", "share that decay takes / λ")
    shares = []
    for lr in LRS:
        weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
        optimizer = torch.optim.AdamW([weight], lr=lr, weight_decay=LAMBDA)
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        shares.append((1 - weight.item()) / LAMBDA)
    rules = [instrumented_adam("schedule_only", lr=lr, weight_decay=LAMBDA) for lr in LRS]
    start = torch.ones(len(LRS), 1, dtype=torch.float64)
    left = simulate(rules, start, lambda weights, t: torch.zeros_like(weights), 1)
    paper = ((1 - left) / LAMBDA).flatten().tolist()
    at = LRS.index(1e-3)
    return ClaimEvidence(
        [
            Claim(
                "torch.optim.AdamW subtracts λθ per step",
                SOURCE,
                "share of the weight over λ at lr 1e-3",
                exact_value(float(f"{shares[at]:.9g}")),
                NEAR,
                form=".4g",
            ),
            Claim(
                "Algorithm 2 subtracts λθ per step",
                SOURCE,
                "share of the weight over λ at lr 1e-3",
                exact_value(float(f"{paper[at]:.9g}")),
                NEAR,
                form=".4g",
            ),
        ],
        [
            axes.series("torch.optim.AdamW", "dots", LRS, shares),
            axes.series("Algorithm 2", "dots", LRS, paper),
            axes.series("the statement", "predicted", LRS, [1.0] * len(LRS)),
        ],
    )


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test the contribution of decay to each layer of an MLP."""
    (report,) = reports.values()
    table = extra_metric_rows(report)
    table = table[table["arm"] == "AdamW"]
    names = [name for name in table.columns if name.startswith("decay_rates_") and name.endswith("weight")]
    share = table[names].mean(axis=1) / table["weight_decay"]
    by_run = share.groupby([table["weight_decay"], table["seed"]]).mean().unstack("seed")
    axes = PanelAxes("training: an MLP", "λ", "share that decay takes / λ")
    lambdas = list(by_run.index)
    lr = float(table["lr"].iloc[0])
    rounded = np.round(by_run.to_numpy(float).mean(0), 7)  # weights are float32
    return ClaimEvidence(
        [
            Claim(
                "AdamW as in torch subtracts λθ per step",
                SOURCE,
                f"share of the weights over λ at lr {lr:g}",
                mean_over_seeds(rounded),
                NEAR,
                on=task_label(report),
                form=".4g",
            )
        ],
        [
            axes.over_seeds("AdamW as in torch", lambdas, by_run.to_numpy(float).T, "dots"),
            axes.series("the statement", "predicted", lambdas, [1.0] * len(lambdas)),
        ],
    )
