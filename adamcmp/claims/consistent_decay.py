"""AdamW regularizes all weights alike.

It takes the same share off each, and in equilibrium turns each layer by the same angle a step; under Adam with L2
both depend on the gradients' size.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from adamcmp.analysis.claim import ABOVE_RANGE, Claim, subtract
from adamcmp.analysis.intervals import Estimate
from adamcmp.claims.evidence import (
    ClaimEvidence,
    extra_metric_rows,
    last_evaluations,
    layer_names,
    mean_over_seeds,
    task_label,
    value_panels,
)
from adamcmp.claims.weaker_decay import ADAM, ADAMW, SCALES, by_tenths, chosen, toy_rates
from adamcmp.report.report_input import ReportInput

SOURCE = "Loshchilov & Hutter 2019; Kosson et al. 2024"
STUDIES = ("claims_decay", "claims_norm")
CAPTION = (
    "Left: how far shares that decay takes are spread, as a standard deviation of log10 over gradients of four sizes "
    "(toy) and over tenths of the layers of an MLP. Right: how far the angles are spread by which layers turn in a "
    "step, with and without batch norm. Means over seeds with 95 % intervals."
)


def _spread(values: np.ndarray) -> float:
    return float(np.log10(values).std())


def closed_form_test() -> ClaimEvidence:
    """Test on shares under random gradients of several sizes."""
    spreads = {
        name: mean_over_seeds(_spread(rates) for rates in toy_rates(decay).T)
        for name, decay in ((ADAM, "l2"), (ADAMW, "lr_scaled"))
    }
    return ClaimEvidence(
        [
            Claim(
                "Shares that decay takes are spread further under L2 than under AdamW",
                SOURCE,
                f"SD of log10 share over gradients of {len(SCALES)} sizes, Adam + L2 minus AdamW",
                subtract(spreads[ADAM], spreads[ADAMW]),
                ABOVE_RANGE,
            )
        ],
        value_panels("toy: shares", "SD of log10 share", spreads),
    )


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on shares and angles of the layers of two networks."""
    claims, panels = [], []
    decay, norm = (reports.get(study) for study in STUDIES)
    if decay is not None:
        parts = by_tenths(last_evaluations(chosen(extra_metric_rows(decay))))
        parts = parts[parts["rate"] > 0]
        spread = parts.groupby(["arm", "seed"])["rate"].apply(lambda x: _spread(x.to_numpy())).unstack("seed")
        claims.append(
            Claim(
                "Shares that decay takes are spread further under L2 than under AdamW",
                SOURCE,
                "SD of log10 share over tenths of layers, Adam + L2 minus AdamW",
                mean_over_seeds(spread.loc[ADAM] - spread.loc[ADAMW]),
                ABOVE_RANGE,
                on=task_label(decay),
            )
        )
        rows = {arm: mean_over_seeds(spread.loc[arm]) for arm in (ADAM, ADAMW)}
        panels += value_panels("training: shares", "SD of log10 share", rows)
    angles: dict[str, Estimate] = {}
    for report, what in ((decay, "layers"), (norm, "layers in front of a batch norm")):
        if report is None:
            continue
        spread = _angles(report, heads=report is decay)
        claims.append(
            Claim(
                f"Under AdamW {what} turn at more equal angles than under L2",
                SOURCE,
                f"SD of log10 angle per step over {what}, Adam + L2 minus AdamW",
                mean_over_seeds(spread.loc[ADAM] - spread.loc[ADAMW]),
                ABOVE_RANGE,
                on=task_label(report),
            )
        )
        angles |= {
            f"{arm}, {'MLP' if report is decay else 'batch norm'}": mean_over_seeds(spread.loc[arm])
            for arm in (ADAM, ADAMW)
        }
    return ClaimEvidence(claims, [*panels, *value_panels("training: angles", "SD of log10 angle", angles)])


def _angles(report: ReportInput, *, heads: bool) -> pd.DataFrame:
    """Return the spread over layers of the angles of a step at a fixed rate: one row per optimizer, one column per
    seed.
    """
    table = last_evaluations(extra_metric_rows(report))
    table = chosen(table[table["schedule"] == "constant"])
    names = [f"updates_{layer}_angle" for layer in layer_names(table, "updates_", "_angle")]
    means = table.groupby(["arm", "seed"])[names if heads else names[:-1]].mean()  # a head stands behind no norm
    return means.apply(lambda x: _spread(x.to_numpy()), axis=1).unstack("seed")
