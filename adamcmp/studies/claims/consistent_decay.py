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
from adamcmp.report.model import ReportInput
from adamcmp.studies.claims._form import TOY, Evidence, late, layers, measured, named, over, task_label, those
from adamcmp.studies.claims.weaker_decay import ADAM, ADAMW, SCALES, by_tenths, chosen, toy_rates

SOURCE = "Loshchilov & Hutter 2019; Kosson et al. 2024"
STUDIES = ("claims_decay", "claims_norm")
CAPTION = (
    "Left: how far shares that decay takes are spread, as a standard deviation of log10 over gradients of four sizes "
    "(toy) and over tenths of the layers of an MLP. Right: how far the angles are spread by which layers turn in a "
    "step, with and without batch norm. Means over seeds with 95 % intervals."
)


def _spread(values: np.ndarray) -> float:
    return float(np.log10(values).std())


def toy() -> Evidence:
    """Shares under random gradients of several sizes."""
    spreads = {
        name: over(_spread(each) for each in toy_rates(decay).T) for name, decay in ((ADAM, "l2"), (ADAMW, "lr_scaled"))
    }
    return Evidence(
        [
            Claim(
                "Shares that decay takes are spread further under L2 than under AdamW",
                SOURCE,
                f"SD of log10 share over gradients of {len(SCALES)} sizes, Adam + L2 minus AdamW",
                subtract(spreads[ADAM], spreads[ADAMW]),
                ABOVE_RANGE,
                None,
                TOY,
            )
        ],
        named("toy: shares", "SD of log10 share", spreads),
    )


def training(found: Mapping[str, ReportInput]) -> Evidence:
    """Shares and angles of the layers of two networks."""
    claims, panels = [], []
    decay, norm = (those(found, study) for study in STUDIES)
    if decay is not None:
        parts = by_tenths(late(chosen(measured(decay))))
        parts = parts[parts["rate"] > 0]
        spread = parts.groupby(["arm", "seed"])["rate"].apply(lambda x: _spread(x.to_numpy())).unstack("seed")
        claims.append(
            Claim(
                "Shares that decay takes are spread further under L2 than under AdamW",
                SOURCE,
                "SD of log10 share over tenths of layers, Adam + L2 minus AdamW",
                over(spread.loc[ADAM] - spread.loc[ADAMW]),
                ABOVE_RANGE,
                None,
                task_label(decay),
            )
        )
        rows = {arm: over(spread.loc[arm]) for arm in (ADAM, ADAMW)}
        panels += named("training: shares", "SD of log10 share", rows)
    angles: dict[str, Estimate] = {}
    for own, what in ((decay, "layers"), (norm, "layers in front of a batch norm")):
        if own is None:
            continue
        spread = _angles(own, heads=own is decay)
        claims.append(
            Claim(
                f"Under AdamW {what} turn at more equal angles than under L2",
                SOURCE,
                f"SD of log10 angle per step over {what}, Adam + L2 minus AdamW",
                over(spread.loc[ADAM] - spread.loc[ADAMW]),
                ABOVE_RANGE,
                None,
                task_label(own),
            )
        )
        angles |= {f"{arm}, {'MLP' if own is decay else 'batch norm'}": over(spread.loc[arm]) for arm in (ADAM, ADAMW)}
    return Evidence(claims, [*panels, *named("training: angles", "SD of log10 angle", angles)])


def _angles(own: ReportInput, *, heads: bool) -> pd.DataFrame:
    """The spread over layers of the angles they turn by in a step at a fixed rate: a row an arm, a column a seed."""
    table = late(measured(own))
    table = chosen(table[table["schedule"] == "constant"])
    names = [f"updates_{layer}_angle" for layer in layers(table, "updates_", "_angle")]
    found = table.groupby(["arm", "seed"])[names if heads else names[:-1]].mean()  # a head stands behind no norm
    return found.apply(lambda x: _spread(x.to_numpy()), axis=1).unstack("seed")
