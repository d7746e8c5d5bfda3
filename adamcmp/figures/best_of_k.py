"""Expected best of k trials, and ranks over time."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adamcmp.figures.axis_labels import display_unit, metric_label, time_label, with_unit
from adamcmp.figures.style import (
    FigureSkipped,
    add_shared_legend,
    arm_styles,
    current_style,
    log_if_wide,
    log_ticks,
    new_figure,
    panel_grid,
    with_style,
)
from adamcmp.metrics.spec import task_metrics

WIDE_PANELS = 5.8
MAX_ARMS_WITH_BANDS = 6
"""Up to which bands do not hide each other."""


@with_style
def best_of_k_figure(table: pd.DataFrame) -> Figure:
    """Draw expected validation and test error of the best of k trials by validation; band of the middle 80 % of
    searches.

    Args:
        table: ``analysis.best_of_k.expected_best_of_k`` of one task.

    Raises:
        FigureSkipped: no optimizer has two trials.
    """
    if table.empty or table["k"].max() < 2:
        raise FigureSkipped("no optimizer has two cells to search among")
    criteria = task_metrics(table)
    fig = new_figure(WIDE_PANELS, 1.9 if current_style().is_narrow else 2.3)
    axes = fig.subplots(1, 2, sharey=True)
    look = arm_styles(table["arm"])
    for ax, part in zip(axes, ("validation", "test"), strict=True):
        metric = f"final_{part}_error"
        factor, unit = display_unit(metric, criteria)
        for arm, style in look.items():
            arm_rows = table[table["arm"] == arm]
            x, low, high = (arm_rows[name].to_numpy(float) for name in ("k", f"{part}_low", f"{part}_high"))
            y = factor * arm_rows[part].to_numpy(float)
            at = np.unique(np.geomspace(1, len(x), min(7, len(x))).astype(int)) - 1  # evenly on the axis
            ax.plot(
                x, y, color=style.colour, ls=style.dash, marker=style.marker, ms=3, markevery=at.tolist(), lw=1.1,
                label=arm, zorder=3,
            )  # fmt: skip
            if len(look) <= MAX_ARMS_WITH_BANDS:
                ax.fill_between(x, factor * low, factor * high, color=style.colour, alpha=0.10, lw=0, zorder=2)
        ax.set(xlabel="cells tried, k", ylabel=with_unit(metric_label(f"{part}_error", criteria), unit))
        log_ticks(ax, "x", 1, float(table["k"].max()))
        ax.grid(visible=True)
        ax.margins(x=0.02)
    lines = factor * table[["validation", "test"]].to_numpy(float)
    log_if_wide(axes[0], lines.ravel().tolist(), higher_is_better=criteria.error.higher_is_better)
    add_shared_legend(fig, 4)
    return fig


@with_style
def rank_figure(table: pd.DataFrame) -> Figure:
    """Draw mean rank by test error at every evaluation, over shared seeds; and how many pairs stand as at the end.

    Args:
        table: ``analysis.rank_over_time.ranks_over_time`` of one task.

    Raises:
        FigureSkipped: there are no two optimizers, or no two evaluations.
    """
    if table.empty:
        raise FigureSkipped("no two optimizers share two evaluations")
    rows, columns = panel_grid(2, 2, 1)
    look = arm_styles(table["arm"])
    height = 2.2 + 0.06 * max(len(look) - 8, 0)
    fig = new_figure(WIDE_PANELS, (1.6 * rows if current_style().is_narrow else height))
    ratios = {"width_ratios": (1.5, 1)} if columns == 2 else {"height_ratios": (1.5, 1)}
    ranks, agreement = fig.subplots(rows, columns, gridspec_kw=ratios)
    few = table["epoch"].nunique() <= 20
    for arm, style in look.items():
        arm_rows = table[table["arm"] == arm]
        every = None if few else (len(arm_rows) // 12)
        ranks.plot(
            arm_rows["epoch"], arm_rows["rank"], color=style.colour, ls=style.dash, marker=style.marker, ms=3,
            markevery=every, lw=1.1, label=arm,
        )  # fmt: skip
    ranks.set(xlabel=time_label(table), ylabel="mean rank by test error")
    ranks.set_ylim(len(look) + 0.15, 0.85)
    ranks.yaxis.set_major_locator(MaxNLocator(integer=True))
    one = table.drop_duplicates("epoch")
    agreement.plot(one["epoch"], 100 * one["agreement"], color="black", lw=1.2)
    agreement.set(xlabel=time_label(table), ylabel="pairs as at\nthe end (%)", ylim=(0, 103))
    for ax in (ranks, agreement):
        ax.grid(visible=True)
        ax.margins(x=0.02)
    add_shared_legend(fig, 4)
    return fig


@with_style
def profiles_figure(ratios: pd.DataFrame) -> Figure:
    """Draw performance profiles over tasks, of steps and of seconds to each task's target.

    Args:
        ratios: ``analysis.rank_over_time.targets_table`` of several tasks.

    Raises:
        FigureSkipped: there are fewer than two tasks with two optimizers.
    """
    if ratios["task"].nunique() < 2:
        raise FigureSkipped("a profile needs two tasks with two optimizers each")
    fig = new_figure(WIDE_PANELS, 1.7 if current_style().is_narrow else 2.2)
    axes = fig.subplots(1, 2, sharey=True)
    look = arm_styles(ratios["arm"])
    for ax, name in zip(axes, ("steps", "seconds"), strict=True):
        profile = performance_profile(ratios, name)
        most = float(profile["tau"].max())
        for arm, style in look.items():
            arm_rows = profile[profile["arm"] == arm]
            x = [*arm_rows["tau"], 1.05 * most]
            y = [*(100 * arm_rows["share"]), 100 * arm_rows["share"].iloc[-1]]
            ax.plot(x, y, color=style.colour, ls=style.dash, drawstyle="steps-post", label=arm)
        ax.set(xlabel=f"{name} to the target,\nby those of the fastest", ylim=(0, 103))
        if most > 1:
            log_ticks(ax, "x", 1, most)
        ax.grid(visible=True)
    axes[0].set_ylabel("tasks (%)")
    add_shared_legend(fig, 4)
    return fig


def performance_profile(ratios: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return for each optimizer the share of tasks that it reaches within each ratio τ that occurs: ``arm``, ``tau``,
    ``share``.
    """
    tasks = ratios["task"].nunique()
    finite = ratios[np.isfinite(ratios[f"{name}_ratio"])]
    taus = np.unique([1.0, *finite[f"{name}_ratio"]])
    rows = [
        (arm, tau, float((part[f"{name}_ratio"] <= tau * (1 + 1e-12)).sum()) / tasks)
        for arm, part in ratios.groupby("arm")
        for tau in taus
    ]
    return pd.DataFrame(rows, columns=["arm", "tau", "share"])
