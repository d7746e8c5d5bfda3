"""Differences between arms as a forest plot: a row a pair, its intervals, the margin within which both are the same."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from adamcmp.criteria import criteria_of
from adamcmp.drawing.labels import scale, with_unit
from adamcmp.drawing.style import FLAG, GREY, NotDrawn, figure, legend, page, styled

LONG = 45
"""Characters of a pair from which on it takes two lines; in one column it always does."""
MOST_PAIRS = 28
"""That have room."""
KINDS = {
    "apart": ("told apart", "#0072B2", "o"),
    "same": ("the same", "#009E73", "s"),
    "open": ("not told apart", GREY, "D"),
}


@styled
def verdicts_figure(found: pd.DataFrame) -> Figure:
    """Mean difference of final test errors: thick the 95 % interval over seeds, thin with all sources of noise.

    Args:
        found: ``analysis.verdicts.frame`` of one task.

    Raises:
        NotDrawn: no pair has an interval.
    """
    rows: list[Any] = found[found["kind"] != "none"].head(MOST_PAIRS).to_dict("records")
    if not rows:
        raise NotDrawn("no pair of optimizers has two confirming seeds that differ")
    criteria = criteria_of(found)
    factor, unit = scale("final_gap", criteria)
    names = [f"{each['a']} − {each['b']}" for each in rows]
    long = max(map(len, names)) > (24 if page().is_narrow else LONG)
    if long:
        names = [f"{each['a']}\n− {each['b']}" for each in rows]
    fig = figure(7.0 if long else 6.2, 0.55 + (0.36 if long else 0.24) * len(rows))
    ax = fig.subplots()
    margin = factor * rows[0]["margin"]
    if not math.isnan(margin):
        ax.axvspan(-margin, margin, color="#009E73", alpha=0.10, lw=0)
    ax.axvline(0, color="black", lw=0.7)
    for row, each in enumerate(rows):
        _, colour, marker = KINDS[each["kind"]]
        widest = [factor * each["low_widest"], factor * each["high_widest"]]
        ax.plot(widest, [row, row], color=colour, lw=0.9, zorder=3)
        over_seeds = [factor * each["low"], factor * each["high"]]
        ax.plot(over_seeds, [row, row], color=colour, lw=2.6, solid_capstyle="butt", zorder=3)
        ax.plot(factor * each["mean"], row, marker=marker, color=colour, ms=5, mec="white", mew=0.6, zorder=4)
        if not math.isnan(each["budget"]):
            ax.plot(factor * each["mean_at_budget"], row, marker="|", color=FLAG, ms=9, mew=1.4, zorder=5)
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel(with_unit(f"difference of the final test {criteria.error.label}", unit))
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=True, axis="x")
    used = {each["kind"] for each in rows}
    handles = [
        Line2D([], [], color=colour, marker=marker, ms=5, lw=0.9, label=text)
        for kind, (text, colour, marker) in KINDS.items()
        if kind in used
    ]
    handles.append(Line2D([], [], color=GREY, lw=2.6, label="95 % over seeds"))
    if any((each["low_widest"], each["high_widest"]) != (each["low"], each["high"]) for each in rows):
        handles.append(Line2D([], [], color=GREY, lw=0.9, label="with all sources"))
    if any(not math.isnan(each["budget"]) for each in rows):
        handles.append(Line2D([], [], color=FLAG, marker="|", ms=9, mew=1.4, lw=0, label="at the smaller budget"))
    patches = [] if math.isnan(margin) else [Patch(color="#009E73", alpha=0.2, lw=0, label="margin")]
    legend(fig, [*handles, *patches], 6)
    return fig
