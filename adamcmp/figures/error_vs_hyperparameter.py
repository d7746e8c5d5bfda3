"""Test error along one axis of the grid, the other tuned on validation: how much λ and lr matter.

Error against λ is the paper's Figure 3 (right, top). λ means another thing in each convention, so that every
convention has its own panel; λ = 0 has no place on a logarithmic axis and stands left of a break.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adamcmp.figures.axis_labels import decay_name, display_unit, format_tick, metric_name, power_of_ten, with_unit
from adamcmp.figures.heatmap import grid_rows
from adamcmp.figures.style import (
    GRAY,
    ArmStyle,
    FigureSkipped,
    add_legend,
    arm_styles,
    current_style,
    fixed_ticks,
    log_if_wide,
    new_figure,
    panel_grid,
    with_style,
)
from adamcmp.metrics.spec import task_metrics


@with_style
def error_vs_decay_figure(table: pd.DataFrame) -> Figure:
    """Draw the mean test error against λ at the lr that is best for that λ on validation; bars of 95 % over seeds.

    Args:
        table: ``analysis.trials_table`` of one task.

    Raises:
        FigureSkipped: no optimizer has eligible trials at two weight decays.
    """
    return _along_axis(table, "weight_decay", "weight decays")


@with_style
def error_vs_lr_figure(table: pd.DataFrame) -> Figure:
    """Draw the mean test error against lr at the λ that is best for that lr on validation; else as
    ``error_vs_decay_figure``.

    Raises:
        FigureSkipped: no optimizer has eligible trials at two learning rates.
    """
    return _along_axis(table, "lr", "learning rates")


def _along_axis(table: pd.DataFrame, axis: str, plural: str) -> Figure:
    table = grid_rows(table)
    ranked = table[table["rank"].notna()].sort_values(["arm", "rank"])
    profile = ranked.drop_duplicates(["arm", axis]).sort_values(["arm", axis])
    profile = profile[profile["final_test_error"].notna()]
    profile = profile[profile.groupby("arm")[axis].transform("nunique") > 1]
    if profile.empty:
        raise FigureSkipped(f"no optimizer has eligible cells at two {plural}")
    by_convention = axis == "weight_decay"
    profile = profile.assign(panel=profile["decay"].map(decay_name, na_action=None) if by_convention else "")
    panels = list(profile.groupby("panel", sort=True))
    rows, columns = panel_grid(len(panels), 3, 2)
    fig = new_figure({1: 4.2, 2: 5.8}.get(columns, 7.0), 0.05 + (1.8 if current_style().is_narrow else 2.1) * rows)
    axes = fig.subplots(rows, columns, squeeze=False, sharey=True)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    look = arm_styles(table["arm"])
    criteria = task_metrics(table)
    factor, unit = display_unit("final_test_error", criteria)
    for place, (ax, (name, part)) in enumerate(zip(axes.flat, panels, strict=False)):
        _axis_panel(ax, part, axis, factor, look)
        ax.set(title=name, xlabel="weight decay λ" if by_convention else "learning rate")
        ax.set_ylabel(with_unit(metric_name("final_test_error", criteria), unit) if place % columns == 0 else "")
    means = (profile["final_test_error"] * factor).to_list()
    if log_if_wide(axes[0, 0], means, higher_is_better=criteria.error.higher_is_better):
        axes[0, 0].set_ylim(bottom=max(0.5 * min(means), axes[0, 0].get_ylim()[0]))
    handles = {h.get_label(): h for ax in fig.axes for h in ax.get_legend_handles_labels()[0]}
    ordered = [handles[arm] for arm in look if arm in handles]
    add_legend(fig, ordered, {1: 2, 2: 4}.get(columns, 5))
    return fig


def _axis_panel(ax: Axes, part: pd.DataFrame, axis: str, factor: float, look: dict[str, ArmStyle]) -> None:
    positive = np.unique(part.loc[part[axis] > 0, axis])
    zero = zero_position(positive)
    ax.set_xscale("log")
    arms = [arm for arm in look if (part["arm"] == arm).any()]
    spread = 0.035 * math.log(max(positive[-1] / zero, 10.0)) / 2 if 1 < len(positive) <= 30 else 0.0
    for i, arm in enumerate(arms):
        arm_rows = part[part["arm"] == arm]
        dodge = math.exp(spread * (i - (len(arms) - 1) / 2) / max(len(arms) - 1, 1))  # bars side by side
        x = np.where(arm_rows[axis] > 0, arm_rows[axis], zero) * dodge
        y = arm_rows["final_test_error"].to_numpy(float) * factor
        half = arm_rows["final_test_error_half_width"].to_numpy(float) * factor
        lower = np.where(y > 0, np.minimum(half, 0.9 * y), half)  # what is positive has a bar above zero,
        upper = np.minimum(half, np.maximum(100 - y, 0)) if factor == 100 else half  # and a share one up to 100 %
        style = look[arm]
        body = arm_rows[axis].to_numpy(float) > 0
        colour, marker = style.colour, style.marker if len(x) <= 30 else ""
        ax.plot(x[body], y[body], color=colour, lw=1.2, ls=style.dash, marker=marker, ms=3.8, zorder=3, label=arm)
        if not body.all():
            ax.plot(x[:2], y[:2], color=colour, lw=0.8, ls=":", zorder=3)
            ax.plot(x[:1], y[:1], color=colour, ls="", marker=style.marker, ms=3.8, zorder=3)
        ax.errorbar(x, y, yerr=[lower, upper], fmt="none", ecolor=style.colour, elinewidth=0.8, capsize=1.8, alpha=0.8)
    set_axis_ticks(ax, positive, zero, with_zero=bool((part[axis] == 0).any()))
    ax.grid(visible=True, axis="y")


def zero_position(positive: np.ndarray) -> float:
    """Return a step and a half left of the lowest positive value, a step being the typical ratio of neighbors; not
    closer than an eighth of the axis.
    """
    if len(positive) < 2:
        return float(positive[0] / 4) if len(positive) else 1.0
    step = float(np.exp(np.median(np.diff(np.log(positive)))))
    return float(positive[0] / max(min(step, 10.0) ** 1.5, (positive[-1] / positive[0]) ** 0.125))


def set_axis_ticks(ax: Axes, positive: np.ndarray, zero: float, *, with_zero: bool) -> None:
    """Set ticks at powers of ten if two or more fit, else at the values; and "0" left of the break."""
    low, high = float(positive[0]), float(positive[-1])
    powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    every = max(1, math.ceil(len(powers) / 6))
    places = [10.0**k for k in powers][::-1][::every][::-1]
    texts = [power_of_ten(k) for k in powers][::-1][::every][::-1]
    if len(places) < 2:
        places = [float(v) for v in positive[:: math.ceil(len(positive) / 6)]]
        texts = [format_tick(v) for v in places]
    if with_zero:
        places, texts = [zero, *places], ["0", *texts]
        draw_axis_break(ax, zero, low, high)
    fixed_ticks(ax, "x", places, texts)


def draw_axis_break(ax: Axes, zero: float, low: float, high: float) -> None:
    """Draw two strokes through the axis between the position of 0 and the lowest positive value."""
    gap = math.sqrt(zero * low)
    for shift in (0.985, 1.015):
        at = gap * (high / zero) ** (shift - 1)
        ax.plot(
            [at],
            [0],
            marker=[(-0.5, -1), (0.5, 1)],
            ms=6,
            color=GRAY,
            mew=0.8,
            clip_on=False,
            transform=ax.get_xaxis_transform(),
        )
