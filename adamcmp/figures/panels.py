"""A row of panels from one table, which describes every series; the figures of claims are drawn so."""

from __future__ import annotations

import textwrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from adamcmp.figures.style import (
    GRAY,
    ArmStyle,
    FigureSkipped,
    add_legend,
    arm_styles,
    log_ticks,
    new_figure,
    panel_grid,
    with_style,
)

PANEL_COLUMNS = ("panel", "x_label", "y_label", "x_scale", "y_scale", "series", "kind", "x", "y", "low", "high")
"""Columns of the table: one row per point. ``kind`` is line, points, dots (with bars of low to high) or predicted;
where ``y_scale`` is names, each row is a series with its value x from low to high."""
MAX_RATIO_FOR_TICKS = 100.0
"""Ends of an x axis whose ratio is larger have powers of ten alone, since panels are narrow."""
PREDICTED_DASHES: tuple[Any, ...] = ("--", ":", "-.", (0, (1, 3)))


@with_style
def panels_figure(table: pd.DataFrame) -> Figure:
    """Draw every panel of a table, in its order: lines with bands, dots with bars, predictions in gray.

    Args:
        table: columns ``PANEL_COLUMNS``.

    Raises:
        FigureSkipped: it has no rows.
    """
    if table.empty:
        raise FigureSkipped("nothing was measured")
    names = list(dict.fromkeys(table["panel"]))
    rows, columns = panel_grid(len(names), 3, 1)
    fig = new_figure(7.0 if columns > 1 else 4.6, 2.35 * rows)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    measured = table.loc[(table["kind"] != "predicted") & (table["y_scale"] != "names"), "series"].unique()
    look = arm_styles(str(name) for name in measured)
    predicted = list(dict.fromkeys(table.loc[table["kind"] == "predicted", "series"]))
    dashes = {name: PREDICTED_DASHES[i % len(PREDICTED_DASHES)] for i, name in enumerate(predicted)}
    for ax, name in zip(axes, names, strict=False):
        panel_rows = table[table["panel"] == name]
        if panel_rows["y_scale"].iloc[0] == "names":
            _named_axis(ax, panel_rows)
            continue
        for (series, kind), points in panel_rows.groupby(["series", "kind"], sort=False):
            _draw_series(ax, points.sort_values("x", kind="stable"), str(series), str(kind), look, dashes)
        first = panel_rows.iloc[0]
        ax.set(xlabel=first["x_label"], ylabel=first["y_label"])
        ax.set_title(name, loc="left")
        for which in ("x", "y"):
            _set_scale(ax, which, panel_rows, str(first[f"{which}_scale"]))
        ax.grid(visible=True)
    for spare in axes[len(names) :]:
        spare.remove()
    handles = {str(h.get_label()): h for ax in fig.axes for h in ax.get_legend_handles_labels()[0]}
    order = [*(str(name) for name in measured), *predicted]
    legend_handles = [handles[name] for name in order if name in handles]
    if legend_handles:
        add_legend(fig, legend_handles, 4)
    return fig


def _named_axis(ax: Axes, panel_rows: pd.DataFrame) -> None:
    """Set up an axis with one row per series: its value, and its interval."""
    rows = panel_rows.reset_index(drop=True)
    for place, row in enumerate(rows.to_dict("records")):
        ax.plot([row["low"], row["high"]], [place, place], color="black", lw=1.1)
        ax.plot([row["x"]], [place], marker="o", ms=4.2, color="black", ls="")
    ax.axvline(0, color=GRAY, lw=0.7, zorder=1)
    ax.set_yticks(range(len(rows)), [textwrap.fill(str(name), 26) for name in rows["series"]])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(rows["x_label"].iloc[0])
    ax.set_title(rows["panel"].iloc[0], loc="left")
    ax.grid(visible=True, axis="x")


def _draw_series(
    ax: Axes, points: pd.DataFrame, name: str, kind: str, look: dict[str, ArmStyle], dashes: dict[str, Any]
) -> None:
    x, y = points["x"], points["y"]
    if kind == "predicted":
        ax.plot(x, y, color=GRAY, ls=dashes[name], lw=1.1, label=name, zorder=1)
        return
    style = look[name]
    if kind == "points":
        ax.plot(x, y, ls="", marker=style.marker, ms=2.6, mew=0, alpha=0.7, color=style.colour, label=name)
        return
    if points["low"].notna().any():
        if kind == "dots":
            bars = [y - points["low"], points["high"] - y]
            ax.errorbar(x, y, bars, ls="", color=style.colour, elinewidth=0.9, capsize=2)
        else:
            ax.fill_between(x, points["low"], points["high"], color=style.colour, alpha=0.18, lw=0)
    marked = len(x) <= 16
    ax.plot(
        x, y, ls="" if kind == "dots" else style.dash, color=style.colour, label=name,
        marker=style.marker if marked else "", ms=3.4,
    )  # fmt: skip


def _set_scale(ax: Axes, which: str, panel_rows: pd.DataFrame, scale: str) -> None:
    values = panel_rows[[which, "low", "high"] if which == "y" else [which]].to_numpy(float).ravel()
    positive = values[values > 0]
    if scale == "log" and len(positive):
        low, high = float(positive.min()), float(positive.max())
        log_ticks(ax, which, low, high)
        if which == "x" and high / low > MAX_RATIO_FOR_TICKS:
            ax.xaxis.set_major_locator(LogLocator(numticks=6))
