"""Differences between optimizers as a forest plot: one row per pair, with intervals and the equivalence margin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from adamcmp.figures.axis_labels import display_unit, with_unit
from adamcmp.figures.style import FLAG_COLOR, GRAY, FigureSkipped, add_legend, current_style, new_figure, with_style
from adamcmp.metrics.spec import task_metrics

MAX_LABEL_CHARS = 45
"""Characters of a pair from which on it takes two lines; in one column it always does."""
MAX_PAIRS = 28
"""That have room."""
SE_IN_95 = 1.96
VERDICT_STYLES = {
    "apart": ("significantly different", "#0072B2", "o"),
    "same": ("equivalent", "#009E73", "s"),
    "open": ("no significant difference", GRAY, "D"),
}


@with_style
def verdicts_figure(table: pd.DataFrame) -> Figure:
    """Draw the difference of every pair with its simultaneous 95 % CI; thick: the standard error over seeds alone.

    Args:
        table: ``analysis.verdicts.to_frame`` of one task.

    Raises:
        FigureSkipped: no pair has an interval.
    """
    finite_rows = table[np.isfinite(table[["low", "high"]].to_numpy(float)).all(axis=1)]
    rows: list[Any] = finite_rows.head(MAX_PAIRS).to_dict("records")
    if not rows:
        raise FigureSkipped("no pair of optimizers has a confidence interval")
    criteria = task_metrics(table)
    factor, unit = display_unit("final_gap", criteria)
    names = [f"{row['a']} − {row['b']}" for row in rows]
    long = max(map(len, names)) > (24 if current_style().is_narrow else MAX_LABEL_CHARS)
    if long:
        names = [f"{row['a']}\n− {row['b']}" for row in rows]
    fig = new_figure(7.0 if long else 6.2, 0.55 + (0.36 if long else 0.24) * len(rows))
    ax = fig.subplots()
    margin = factor * rows[0]["margin"]
    if not math.isnan(margin):
        ax.axvspan(-margin, margin, color="#009E73", alpha=0.10, lw=0)
    ax.axvline(0, color="black", lw=0.7)
    for row, verdict in enumerate(rows):
        _, colour, marker = VERDICT_STYLES[verdict["kind"]]
        ax.plot([factor * verdict["low"], factor * verdict["high"]], [row, row], color=colour, lw=0.9, zorder=3)
        half = factor * verdict["se_seeds"] * SE_IN_95
        centre = factor * verdict["mean"]
        ax.plot([centre - half, centre + half], [row, row], color=colour, lw=2.6, solid_capstyle="butt", zorder=3)
        ax.plot(factor * verdict["mean"], row, marker=marker, color=colour, ms=5, mec="white", mew=0.6, zorder=4)
        if not math.isnan(verdict["budget"]):
            ax.plot(factor * verdict["mean_as_tuned"], row, marker="|", color=FLAG_COLOR, ms=9, mew=1.4, zorder=5)
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    gap = "\n" if current_style().is_narrow else " "
    ax.set_xlabel(with_unit(f"difference of the{gap}final test {criteria.error.label}", unit))
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=True, axis="x")
    used = {row["kind"] for row in rows}
    handles = [
        Line2D([], [], color=colour, marker=marker, ms=5, lw=0.9, label=text)
        for kind, (text, colour, marker) in VERDICT_STYLES.items()
        if kind in used
    ]
    handles.append(Line2D([], [], color=GRAY, lw=0.9, label="95 % CI, simultaneous"))
    handles.append(Line2D([], [], color=GRAY, lw=2.6, label="±1.96 SE over seeds alone"))
    if any(not math.isnan(row["budget"]) for row in rows):
        handles.append(
            Line2D([], [], color=FLAG_COLOR, marker="|", ms=9, mew=1.4, lw=0, label="as tuned, unequal budgets")
        )
    patches = [] if math.isnan(margin) else [Patch(color="#009E73", alpha=0.2, lw=0, label="margin")]
    add_legend(fig, [*handles, *patches], 6)
    return fig
