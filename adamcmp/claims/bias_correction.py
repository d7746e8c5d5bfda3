"""Bias correction stabilizes early training.

Without it v is small at first against g²: the first step is (1 − β1)/√(1 − β2) = 3.16 α, and the largest 6.6 α for a
constant gradient, where Adam's is α. With it, steps are bounded by α for gradients of one size alone: a single gradient
after many of zero takes up to 3.16 α, and where many large gradients follow many small ones, m̂ grows sooner than √v̂:
up to 6.6 α.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from adamcmp.analysis.claim import ABOVE_RANGE, Claim, exact_value
from adamcmp.claims.closed_form import rule_settings, weights_path
from adamcmp.claims.evidence import (
    ClaimEvidence,
    PanelAxes,
    extra_metric_rows,
    layer_names,
    mean_over_seeds,
    task_label,
)
from adamcmp.report.report_input import ReportInput

SOURCE = "Kingma & Ba 2015"
STUDIES = ("claims_start",)
CAPTION = (
    "The first hundred steps with and without bias correction. Left: size of the step over α for a constant gradient."
    " Middle: relative size of the update of the first layer in trainings at lr 2⁻⁷, mean over seeds with 95 % bands."
    " Right: training loss after a hundred steps, by learning rate."
)
WITH, WITHOUT = "Adam", "Adam without bias correction"
LR = 2.0**-7


def closed_form_test() -> ClaimEvidence:
    """Test on a constant gradient."""
    rules = [
        rule_settings("adam", lr=1.0, weight_decay=0.0, eps=0.0, bias_correction=corrected)
        for corrected in (True, False)
    ]
    with_, without = np.abs(np.diff(weights_path(rules, 0.0, lambda t: 1.0, 100), axis=0)).T
    t = np.arange(1, 101)
    predicted = (1 - 0.9**t) / np.sqrt(1 - 0.999**t)
    axes = PanelAxes("toy: constant gradient", "step", "step / α", "linear", "linear")
    what = "of a constant gradient, over α"
    return ClaimEvidence(
        [
            Claim(
                "Under a constant gradient Adam's steps are no larger than α",
                SOURCE,
                f"largest of a hundred steps {what}",
                exact_value(round(float(with_.max()), 9)),
                (0.99, 1.01),
                form=".2f",
            ),
            *_of_other_gradients(),
            Claim(
                "Without bias correction the first step is 3.16 α",
                SOURCE,
                f"first step {what}",
                exact_value(float(without[0])),
                (3.1, 3.2),
                form=".2f",
            ),
            Claim(
                "Without bias correction steps grow to 6.6 α",
                SOURCE,
                f"largest of a hundred steps {what}",
                exact_value(float(without.max())),
                (6.5, 6.7),
                form=".2f",
            ),
        ],
        [
            axes.series(WITH, "line", t, with_),
            axes.series(WITHOUT, "line", t, without),
            axes.series("(1 − β1ᵗ) / √(1 − β2ᵗ)", "predicted", t, predicted),
        ],
    )


_NOISE = np.random.default_rng(0).normal(size=7000)
GRADIENTS: Mapping[str, Callable[[int], float]] = {
    "a gradient of 1 after 6,000 of 1e-6": lambda t: 1e-6 if t < 6000 else 1.0,
    "a single gradient after 6,000 of 0": lambda t: float(t == 6000),
    "normal gradients in one step of a hundred": lambda t: float(_NOISE[t]) if t % 100 == 7 else 0.0,
}
"""Constructed gradients as functions of the step, from 0."""


def _of_other_gradients() -> list[Claim]:
    """Return the largest step of Adam under gradients that change, each over α."""
    claims = []
    for what, gradient in GRADIENTS.items():
        path = weights_path([rule_settings("adam", lr=1.0, weight_decay=0.0, eps=1e-12)], 0.0, gradient, 7000)
        claims.append(
            Claim(
                "Adam's steps are no larger than α, whatever the gradients",
                SOURCE,
                f"largest step over α: {what}",
                exact_value(round(float(np.abs(np.diff(path, axis=0)).max()), 9)),
                (-math.inf, 1.01),
                form=".2f",
            )
        )
    return claims


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on a hundred steps of an MLP over learning rates."""
    (report,) = reports.values()
    table, on = extra_metric_rows(report), task_label(report)
    first = layer_names(table, "updates_", "_ratio")[0]
    ratio = f"updates_{first}_ratio"
    pivot = {
        arm: rows.pivot_table(index=["lr", "seed"], columns="step", values=ratio) for arm, rows in table.groupby("arm")
    }
    both = pivot[WITH].index.intersection(pivot[WITHOUT].index)
    ratios = pivot[WITHOUT].loc[both].max(axis=1) / pivot[WITH].loc[both].max(axis=1)
    gap = pd.Series(np.log(ratios)).groupby("seed").mean()
    losses = report.records.pivot_table(index="seed", columns=["arm", "lr"], values="final_train_loss")
    worse = (np.log(losses[WITHOUT]) - np.log(losses[WITH])).mean(axis=1)
    axes = PanelAxes("training: first layer", "step", "‖Δθ‖ / ‖θ‖", "linear", "log")
    after = PanelAxes("training: a hundred steps", "lr", "training loss (nat)", "log", "log")
    lr = min(both.get_level_values("lr").unique(), key=lambda lr: abs(np.log(lr / LR)))
    panels = []
    for arm in (WITH, WITHOUT):
        rows = pivot[arm].xs(lr, level="lr")
        panels += [
            axes.over_seeds(arm, list(rows.columns), rows.to_numpy(float)),
            after.over_seeds(arm, list(losses[arm].columns), losses[arm].dropna().to_numpy(float)),
        ]
    return ClaimEvidence(
        [
            Claim(
                "Without bias correction the largest early step is larger",
                SOURCE,
                f"log of the largest relative update of {first} without by with, mean over lr",
                mean_over_seeds(gap),
                ABOVE_RANGE,
                on=on,
            ),
            Claim(
                "Bias correction lowers the training loss after a hundred steps, over all learning rates",
                SOURCE,
                "log of the training loss without minus with, mean over lr",
                mean_over_seeds(worse),
                ABOVE_RANGE,
                on=on,
            ),
        ],
        panels,
    )
