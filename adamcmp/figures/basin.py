"""Dots with intervals, one row per optimizer: the properties of each optimizer's basin."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamcmp.figures.axis_labels import display_unit, with_unit
from adamcmp.figures.style import (
    GRAY,
    FigureSkipped,
    add_legend,
    arm_styles,
    current_style,
    new_figure,
    panel_grid,
    with_style,
)
from adamcmp.metrics.spec import task_metrics

SLOPE_LIMITS = (-2.2, 2.2)
"""Limits of the axis of slopes: intervals of uncertain slopes reach beyond them."""


@with_style
def basin_figure(table: pd.DataFrame, of_lr: pd.DataFrame) -> Figure:
    """Draw four panels: d log λ*/d log lr by rows and by the ridge, separability, area, sensitivity to lr.

    Args:
        table: ``analysis.basin.to_frame`` of one task.
        of_lr: ``analysis.sensitivity.to_frame`` of it.

    Raises:
        FigureSkipped: no optimizer has a grid of three learning rates × three weight decays.
    """
    if table.empty:
        raise FigureSkipped("no optimizer has a grid of three learning rates × three weight decays above 0")
    arms = [str(arm) for arm in table["arm"]]
    look = arm_styles(arms)
    rows, columns = panel_grid(4, 4, 2)
    fig = new_figure(7.0, (0.75 + (0.2 if rows > 1 else 0.27) * len(arms)) * rows)
    ratios = {"width_ratios": (1.5, 1.2, 1, 1)} if columns == 4 else {}
    axes = fig.subplots(rows, columns, sharey=True, gridspec_kw=ratios).ravel()
    slope, separable, area, lr = axes
    factor, unit = display_unit("final_gap", task_metrics(table))
    costs: dict[Any, Any] = of_lr.set_index("arm").to_dict("index") if len(of_lr) else {}
    for row, basin in enumerate(table.to_dict("records")):
        style = look[str(basin["arm"])]
        colour = style.colour
        _draw_dot(slope, row - 0.14, basin, "rows", colour, "o")
        _draw_dot(slope, row + 0.14, basin, "ridge", colour, "D")
        _draw_dot(separable, row, basin, "separability", colour, style.marker)
        _draw_dot(area, row, basin, "area", colour, style.marker, 100)
        if basin["arm"] in costs:
            _draw_dot(lr, row, costs[basin["arm"]], "lr_sensitivity", colour, style.marker, factor)
    for ax, at in ((slope, (0, -1)), (separable, (0,))):
        for x in at:
            ax.axvline(x, color=GRAY, lw=0.7, ls="-" if x == 0 else ":", zorder=1)
    slope.set_xlim(*SLOPE_LIMITS)
    separable.set_xlim(-1.05, 1.05)
    area.set_xlim(0, 100)
    lr.set_xlim(left=0)
    slope.set_title("slope")
    slope.set_xlabel("d log λ* / d log lr")
    separable.set_title("separability")
    separable.set_xlabel("lr–λ correlation")
    area.set_title("area")
    area.set_xlabel("of all cells (%)")
    lr.set_title("lr sensitivity")
    lr.set_xlabel(with_unit("lost, untuned", unit))
    long = current_style().is_narrow and max(map(len, arms)) > 18
    slope.set_yticks(range(len(arms)), [arm.replace(" · ", "\n") if long else arm for arm in arms])
    slope.set_ylim(len(arms) - 0.4, -0.6)
    for ax in axes:
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=True, axis="x")
    marks = [("o", "rows"), ("D", "ridge")]
    handles = [Line2D([], [], color=GRAY, marker=marker, ms=4, lw=1.2, label=text) for marker, text in marks]
    add_legend(fig, handles, 2)
    return fig


def _draw_dot(ax: Axes, row: float, values: Any, name: str, colour: str, marker: str, factor: float = 1.0) -> None:
    """Draw a value and its interval; a value without an interval is an open dot."""
    value, low, high = (factor * values[column] for column in (name, f"{name}_low", f"{name}_high"))
    if math.isnan(value):
        return
    is_bounded = not math.isnan(low)
    if is_bounded:
        ax.plot([low, high], [row, row], color=colour, lw=1.4, zorder=2)
    face = colour if is_bounded else "white"
    ax.plot(value, row, marker=marker, color=colour, mfc=face, ms=4.2, mec=colour, zorder=3, clip_on=True)
