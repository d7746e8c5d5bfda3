"""Decay where step and weight agree in sign helps without retuning.

At the learning rate and λ that are best for AdamW, cautious decay spares the weights that the step makes larger.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adamcmp.analysis import best_trials, split_by_task, task_metrics, trials_table
from adamcmp.analysis.claim import BELOW_RANGE, Claim, scale_by
from adamcmp.analysis.selection import tuning_runs
from adamcmp.claims.closed_form import leave_one_out_best, regression
from adamcmp.claims.evidence import ClaimEvidence, PanelAxes, mean_over_seeds
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import find_arm

SOURCE = "Chen et al., arXiv 2510.12402"
STUDIES = ("claims_mlp",)
CAPTION = (
    "Error of AdamW and of its cautious variant at the same λ, at the learning rate that is best for AdamW. Left: "
    "regression with fewer examples than features, over draws. Right: an MLP on MNIST-1D, over tuning seeds. Nothing "
    "is tuned for the cautious variant here; `reproduce optimizers` tunes both, and compares them on held-out seeds, "
    "which can give another verdict."
)
NAMES = {"adamw": "AdamW", "adamw_cautious": "AdamW, cautious"}
LRS, LAMBDAS = (0.02, 0.04, 0.08), tuple(np.geomspace(0.03, 10, 9))


def closed_form_test() -> ClaimEvidence:
    """Test on regression, at the trial that is best for AdamW on all other draws."""
    plain, wary = (regression(name, LRS, LAMBDAS).errors for name in NAMES)
    logs = np.log(plain.reshape(-1, plain.shape[2]))
    chosen = leave_one_out_best(plain.reshape(logs.shape))
    draws = np.arange(plain.shape[2])
    gap = np.log(wary.reshape(logs.shape))[chosen, draws] - logs[chosen, draws]
    lr = int(np.log(plain).mean(2).min(1).argmin())
    axes = PanelAxes("toy: regression", "λ", "error over all inputs")
    panels = [
        axes.over_seeds(label, LAMBDAS, errors[lr].T)
        for label, errors in zip(NAMES.values(), (plain, wary), strict=True)
    ]
    return ClaimEvidence(
        [
            Claim(
                "Cautious decay helps at AdamW's best learning rate and λ",
                SOURCE,
                "error of the cautious variant against AdamW, trial selected on other draws",
                mean_over_seeds(100 * np.expm1(gap)),
                BELOW_RANGE,
                unit="%",
                form="+.1f",
            )
        ],
        panels,
    )


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on an MLP, at the trial that validation chooses for AdamW; paired over the seeds that tuned."""
    (report,) = reports.values()
    claims, panels = [], []
    for task in split_by_task(report.records):
        arms = {name: find_arm(task, (name,)) for name in NAMES}
        if None in arms.values():
            continue
        error, table = task_metrics(task.records).error, trials_table(task.records)
        best = best_trials(table[(table["arm"] == arms["adamw"]) & (table["weight_decay"] > 0)])
        if best.empty:
            continue
        lr, weight_decay = (float(best[name].iloc[0]) for name in ("lr", "weight_decay"))
        runs = tuning_runs(task.records)
        own_runs = runs[(runs["lr"] == lr) & (runs["weight_decay"] == weight_decay)]
        wide = own_runs.pivot_table(index="seed", columns="arm", values="final_test_error")
        if not set(map(str, arms.values())) <= set(wide.columns):
            continue
        gap = error.sign * (wide[arms["adamw_cautious"]] - wide[arms["adamw"]])
        estimate = scale_by(mean_over_seeds(gap.dropna()), error.factor)
        claims.append(
            Claim(
                "Cautious decay helps at AdamW's best learning rate and λ",
                SOURCE,
                f"test {error.label} of the cautious variant minus AdamW at lr {lr:.3g}, λ {weight_decay:.3g}",
                estimate,
                BELOW_RANGE,
                task.task,
                task.label,
                error.gap_unit,
            )
        )
        axes = PanelAxes("training: an MLP", "λ", "test error (%)", y_scale="linear")
        for name, label in NAMES.items():
            rows = table[(table["arm"] == arms[name]) & (table["lr"] == lr) & (table["weight_decay"] > 0)]
            y, half = error.factor * rows["final_test_error"], error.factor * rows["final_test_error_half_width"]
            panels.append(axes.series(label, "line", rows["weight_decay"], y, y - half, y + half))
    return ClaimEvidence(claims, panels)
