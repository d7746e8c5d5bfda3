"""Test error against training loss, one point a trial (the paper's Figure 3, right): does equal fit generalize
alike?
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamcmp.figures.axis_labels import display_unit, metric_name, with_unit
from adamcmp.figures.style import (
    ArmStyle,
    FigureSkipped,
    add_legend,
    arm_styles,
    current_style,
    log_if_wide,
    log_ticks,
    new_figure,
    with_style,
)
from adamcmp.metrics.spec import task_metrics

MAX_SHOWN_LOSS = 10.0
"""Training loss (as of guessing among 22,026 classes) above which points are drawn at the edge of the figure."""
MIN_DISTANCE = 9.0
"""Points between two winners below which they would cover each other."""
_LEAST_AREA, NESTED_AREA_RATIO = 45.0, 2.0
"""Area of a winner in square points, and how many times larger each is that others are nested in."""


@with_style
def error_vs_train_loss_figure(
    table: pd.DataFrame,
) -> Figure:
    """Draw the mean test error against mean final training loss of every trial with a completed run; winners outlined.

    Points above ``MAX_SHOWN_LOSS`` are drawn there: an exploded run must not squeeze all others.

    Args:
        table: ``analysis.trials_table`` of one task.

    Raises:
        FigureSkipped: fewer than two trials have a completed run.
    """
    loss = "final_train_loss"
    drawn = table[(table["n"] > 0) & table["final_test_error"].notna() & table[loss].notna()]
    if len(drawn) < 2:
        raise FigureSkipped("fewer than two cells have a completed run")
    criteria = task_metrics(table)
    factor, unit = display_unit("final_test_error", criteria)
    look = arm_styles(table["arm"])
    best = table[table["rank"] == 1].set_index("arm")
    best[loss] = best[loss].clip(upper=MAX_SHOWN_LOSS)
    fig = new_figure(4.6, 2.4 if current_style().is_narrow else 3.0)
    ax = fig.subplots()
    beyond = int((drawn[loss] > MAX_SHOWN_LOSS).sum())
    drawn = drawn.assign(**{loss: drawn[loss].clip(upper=MAX_SHOWN_LOSS)})
    size, alpha = (14, 0.65) if len(drawn) < 2000 else (4, 0.35)
    for arm, style in look.items():
        rows = drawn[drawn["arm"] == arm]
        ax.scatter(
            rows[loss], rows["final_test_error"] * factor, s=size, c=style.colour, marker=style.marker, alpha=alpha,
            linewidths=0, label=arm, rasterized=len(drawn) > 5000, zorder=2,
        )  # fmt: skip
    log_if_wide(ax, list(drawn["final_test_error"] * factor), higher_is_better=criteria.error.higher_is_better)
    low, high = float(drawn[loss].min()), float(drawn[loss].max())
    if low > 0 and high / low > 4:
        log_ticks(ax, "x", low, high)
    _outline_best(ax, [(look[str(arm)], row[loss], row["final_test_error"] * factor) for arm, row in best.iterrows()])
    cut = f"{beyond} cell{'' if beyond == 1 else 's'} above {MAX_SHOWN_LOSS:g} at the edge" if beyond else ""
    ax.set(
        xlabel=with_unit("final training loss", criteria.loss_unit, cut),
        ylabel=with_unit(metric_name("final_test_error", criteria), unit),
    )
    ax.grid(visible=True)
    handles = [
        Line2D([], [], ls="", marker=style.marker, color=style.colour, ms=5, label=arm)
        for arm, style in look.items()
        if (drawn["arm"] == arm).any()
    ]
    handles.append(
        Line2D([], [], ls="", marker="o", mfc="white", mec="black", mew=1.1, ms=7, label="best on validation")
    )
    add_legend(fig, handles, 3)
    return fig


def _outline_best(ax: Axes, points: Sequence[tuple[ArmStyle, float, float]]) -> None:
    """Outline the selected trials; outlines that would cover each other are nested, the first the largest."""
    places = [ax.transData.transform((x, y)) * 72 / ax.figure.dpi for _, x, y in points]
    for i, (style, x, y) in enumerate(points):
        later = sum(math.dist(places[i], other) < MIN_DISTANCE for other in places[i + 1 :])
        ax.scatter(
            x, y, s=_LEAST_AREA * NESTED_AREA_RATIO**later, c=style.colour, marker=style.marker, edgecolors="black",
            linewidths=0.9, label="winner", zorder=4 + i / len(points),
        )  # fmt: skip
