"""The best λ and its gain against the budget and the size of the training set."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamcmp.figures.axis_labels import display_unit, format_tick, power_of_ten, with_unit
from adamcmp.figures.style import (
    GRAY,
    FigureSkipped,
    add_legend,
    arm_styles,
    current_style,
    fixed_ticks,
    log_ticks,
    new_figure,
    panel_grid,
    with_style,
)
from adamcmp.metrics.spec import task_metrics

AXIS_CONVENTIONS = {"raw": "raw λ, ηλ per step", "normalised": "normalized λ"}
SLOPE_STYLES = {0.0: "-", -0.5: "--", -1.0: ":"}
"""Slopes, and how their lines are drawn."""


@with_style
def budgets_figure(table: pd.DataFrame) -> Figure:
    """Test error against raw and normalized λ, a line a budget, the best λ marked; and the best λ against the budget.

    Args:
        table: rows of ``part`` profile (``x`` epochs, ``weight_decay``, ``test``, ``half_width``) and of ``part``
            optimum (``x``, ``best``, ``low``, ``high``, ``side``), of both in each ``convention``.

    Raises:
        FigureSkipped: fewer than two budgets.
    """
    profile, optima = (table[table["part"] == part] for part in ("profile", "optimum"))
    xs = sorted(set(optima["x"]))
    if len(xs) < 2:
        raise FigureSkipped("the best λ was found at fewer than two budgets")
    criteria = task_metrics(table)
    factor, unit = display_unit("final_test_error", criteria)
    look = arm_styles(f"{x:g} epochs" for x in xs)
    styles = dict(zip(xs, (look[f"{x:g} epochs"] for x in xs), strict=True))
    rows, columns = (2, 2) if current_style().is_narrow else (1, 3)
    fig = new_figure(7.0, 1.75 * rows if current_style().is_narrow else 2.4)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax, convention in zip(axes, AXIS_CONVENTIONS, strict=False):
        convention_rows = profile[(profile["convention"] == convention) & (profile["weight_decay"] > 0)]
        best = optima[optima["convention"] == convention].set_index("x")
        for x, style in styles.items():
            line = convention_rows[convention_rows["x"] == x].sort_values("weight_decay")
            ax.plot(
                line["weight_decay"], factor * line["test"], color=style.colour, ls=style.dash, marker=style.marker,
                ms=3, label=f"{x:g} epochs",
            )  # fmt: skip
            at = best.loc[[x], "best"].to_numpy(float)
            y = np.interp(np.log(at), np.log(line["weight_decay"]), factor * line["test"])
            ax.plot(at, y, marker="*", ms=9, color=style.colour, mec="black", mew=0.5, zorder=5)
        ax.set_xlabel(f"{convention} λ" if current_style().is_narrow else AXIS_CONVENTIONS[convention])
        low, high = (
            math.log10(weight_decay)
            for weight_decay in (convention_rows["weight_decay"].min(), convention_rows["weight_decay"].max())
        )
        powers = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
        ax.set_xscale("log")
        fixed_ticks(ax, "x", [10.0**k for k in powers], [power_of_ten(k) for k in powers])
        ax.grid(visible=True)
    axes[0].set_ylabel(with_unit(f"final test {criteria.error.label}", unit))
    axes[1].sharey(axes[0])
    ax = axes[2]
    for convention, colour, marker in (("raw", "black", "X"), ("normalised", GRAY, "h")):
        draw_optima(ax, optima[optima["convention"] == convention], colour, marker, f"{convention} λ")
    ax.set(xlabel="epochs", ylabel="best λ")
    log_ticks(ax, "y", float(optima["low"].min()), float(optima["high"].max()))
    ax.set_xscale("log")
    fixed_ticks(ax, "x", xs, [format_tick(x, 3) for x in xs])
    ax.grid(visible=True)
    for spare in axes[3:]:
        spare.remove()
    handles = [h for axes_ in (axes[0], ax) for h in axes_.get_legend_handles_labels()[0]]
    handles.append(Line2D([], [], ls="", marker="*", ms=9, mfc="white", mec="black", mew=0.5, label="best λ"))
    add_legend(fig, handles, 4)
    return fig


@with_style
def optimal_decay_figure(table: pd.DataFrame) -> Figure:
    """Draw the best λ against what varies, a panel each, with the slopes that are predicted.

    Args:
        table: ``by`` (what varies), ``x``, ``best``, ``low``, ``high``, ``side``.

    Raises:
        FigureSkipped: nothing varies over two tasks.
    """
    panels = [(by, part) for by, part in table.groupby("by", sort=True) if len(part) > 1]
    if not panels:
        raise FigureSkipped("the best λ was found on fewer than two tasks")
    rows, columns = panel_grid(len(panels), 2, 2)
    fig = new_figure(1.0 + 2.4 * columns, (1.8 if current_style().is_narrow else 2.4) * rows)
    axes = fig.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for ax, (by, part) in zip(axes, panels, strict=False):
        draw_optima(ax, part, "#0072B2", "o", "best λ")
        x = part["x"].to_numpy(float)
        middle, height = np.exp(np.log(x).mean()), np.exp(np.log(part["best"]).mean())
        for slope, dash in SLOPE_STYLES.items():
            ax.plot(x, height * (x / middle) ** slope, color=GRAY, lw=0.9, ls=dash, zorder=1, label=f"slope {slope:g}")
        ax.set(xlabel=str(by))
        ax.set_xscale("log")
        fixed_ticks(ax, "x", x.tolist(), [format_tick(value, 4) if value < 1000 else f"{value:,.0f}" for value in x])
        ax.grid(visible=True)
    log_ticks(axes[0], "y", float(table["low"].min()), float(table["high"].max()))
    axes[0].set_ylabel("best λ (ηαλ per step)")
    add_legend(fig, axes[0].get_legend_handles_labels()[0], 4)
    return fig


@with_style
def decay_gain_figure(table: pd.DataFrame) -> Figure:
    """Draw the gain of the best λ over λ = 0 against the budget.

    Args:
        table: ``x`` (epochs), ``gain`` with ``gain_low`` and ``gain_high`` (best λ minus none, as shown), ``unit``.

    Raises:
        FigureSkipped: fewer than two budgets.
    """
    if len(table) < 2:
        raise FigureSkipped("the gain was measured at fewer than two budgets")
    fig = new_figure(3.8, 2.0 if current_style().is_narrow else 2.4)
    ax = fig.subplots()
    x, y = table["x"].to_numpy(float), -table["gain"].to_numpy(float)
    ax.axhline(0, color="black", lw=0.7)
    low, high = -table["gain_high"].to_numpy(float), -table["gain_low"].to_numpy(float)
    finite = np.isfinite(low) & np.isfinite(high)
    ax.errorbar(
        x[finite], y[finite], yerr=[y[finite] - low[finite], high[finite] - y[finite]], fmt="none", ecolor="#0072B2",
        elinewidth=1.0, capsize=2,
    )  # fmt: skip
    ax.plot(x, y, color="#0072B2", marker="o", ms=4)
    ax.set_xscale("log")
    fixed_ticks(ax, "x", x.tolist(), [format_tick(value, 3) for value in x])
    error = task_metrics(table).error
    ax.set(xlabel="epochs", ylabel=with_unit(f"gain in test {error.label}", error.gap_unit))
    ax.grid(visible=True)
    return fig


def draw_optima(ax: Axes, part: pd.DataFrame, colour: str, marker: str, label: str) -> None:
    """Draw the best λ with its interval, open if it is at the boundary of the grid."""
    x, best = part["x"].to_numpy(float), part["best"].to_numpy(float)
    low, high = (part[name].fillna(part["best"]).to_numpy(float) for name in ("low", "high"))
    ax.errorbar(x, best, yerr=[best - low, high - best], fmt="none", ecolor=colour, elinewidth=0.9, capsize=2)
    ax.plot(x, best, color=colour, lw=1.0, label=label, marker=marker, ms=4.5)
    edge = (part["side"] != 0).to_numpy()
    ax.plot(x[edge], best[edge], color=colour, ls="", marker=marker, ms=4.5, mfc="white", zorder=4)
