"""Learning curves of each optimizer's selected trial (the paper's Figure 3, left and middle)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adamcmp.figures.axis_labels import display_unit, format_tick, metric_label, time_label, with_unit
from adamcmp.figures.style import (
    ArmStyle,
    FigureSkipped,
    add_legend,
    arm_styles,
    current_style,
    log_if_wide,
    new_figure,
    panel_grid,
    with_style,
)
from adamcmp.metrics.spec import task_metrics

LEARNING_METRICS = ("validation_error", "test_error", "train_loss")


@with_style
def learning_curves_figure(means: pd.DataFrame) -> Figure:
    """Draw validation error, test error and training loss against epochs: mean over seeds, band of 95 % (Student t).

    Args:
        means: ``analysis.mean_curves`` of each optimizer's selected trial, with its ``lr`` and ``weight_decay``.

    Raises:
        FigureSkipped: no optimizer has a selected trial, or none of their runs has a curve of two evaluations.
    """
    if means.empty:
        raise FigureSkipped("no optimizer has a best trial with stored curves")
    if (means.groupby("arm")["step"].nunique() < 2).all():
        raise FigureSkipped("the winners were evaluated once, after the last step; train.evaluations=5 makes a curve")
    look, criteria = arm_styles(means["arm"]), task_metrics(means)
    shown = [metric for metric in LEARNING_METRICS if means[metric].notna().any()]  # a program may report fewer
    rows, columns = panel_grid(len(shown), 3, 1)
    fig = new_figure(7.0, 1.25 * rows if current_style().is_narrow else 2.15)
    axes = fig.subplots(rows, columns, squeeze=False, sharex=current_style().is_narrow).ravel()
    for ax, metric in zip(axes, shown, strict=True):
        factor, unit = display_unit(metric, criteria)
        draw_mean_curves(ax, means, metric, factor, look)
        ax.set(xlabel=time_label(means), ylabel=with_unit(metric_label(metric, criteria), unit))
        if "time_axis" in means:  # steps or epochs of a program: whole numbers
            ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    for ax in axes[:-1] if current_style().is_narrow else ():
        ax.set_xlabel("")
    errors = [metric for metric in shown if metric != "train_loss"]  # on one scale
    for ax, metric in zip(axes, shown, strict=True):
        metrics = errors if metric in errors else [metric]
        is_higher = metric in errors and criteria.error.higher_is_better
        set_curve_limits(ax, means, metrics, display_unit(metrics[0], criteria)[0], higher_is_better=is_higher)
    handles, _ = axes[0].get_legend_handles_labels()
    cells = means.drop_duplicates("arm").set_index("arm")
    winners = {
        str(arm): f"{arm}: lr {format_tick(row['lr'])}, λ {format_tick(row['weight_decay'])}"
        for arm, row in cells.iterrows()
    }
    add_legend(fig, handles, 3 if len(handles) > 4 else 2, [winners[str(handle.get_label())] for handle in handles])
    return fig


def draw_mean_curves(ax: Axes, means: pd.DataFrame, metric: str, factor: float, look: dict[str, ArmStyle]) -> None:
    """Draw the mean of each optimizer against epochs, with its band."""
    groups = dict(iter(means.groupby("arm")))
    for arm, style in ((arm, style) for arm, style in look.items() if arm in groups):
        part = groups[arm]
        x, y = part["epoch"].to_numpy(float), part[metric].to_numpy(float) * factor
        half = np.nan_to_num(part[f"{metric}_half_width"].to_numpy(float)) * factor
        marker = style.marker if np.isfinite(y).sum() < 3 else ""
        ax.plot(x, y, color=style.colour, ls=style.dash, marker=marker, label=arm, zorder=3)
        if (half > 0).any():
            low = np.where(y > 0, np.maximum(y - half, 0.01 * y), y - half)  # what is positive has a band above zero
            ax.fill_between(x, low, y + half, color=style.colour, alpha=0.15, lw=0, zorder=2)
    ax.grid(visible=True)
    ax.margins(x=0.02)


def set_curve_limits(
    ax: Axes, means: pd.DataFrame, metrics: list[str], factor: float, *, higher_is_better: bool = False
) -> None:
    """Set limits for all lines, and for bands as far as they do not squeeze the lines; logarithmic if that helps."""
    mean = means[metrics].to_numpy(float) * factor
    half = np.nan_to_num(means[[f"{metric}_half_width" for metric in metrics]].to_numpy(float)) * factor
    finite = np.isfinite(mean)
    if not finite.any():
        return
    lines, low, high = mean[finite], float(mean[finite].min()), float(mean[finite].max())
    band_low, band_high = float((mean - half)[finite].min()), float((mean + half)[finite].max())
    if log_if_wide(ax, lines.tolist(), higher_is_better=higher_is_better):
        ax.set_ylim(max(band_low, 0.6 * low) / 1.06, min(band_high, 1.5 * high) * 1.06)
    else:
        room = (high - low) or abs(high) or 1.0
        floor = 0.0 if low >= 0 else -np.inf
        ax.set_ylim(max(band_low, low - room / 2, floor) - 0.04 * room, min(band_high, high + room / 2) + 0.04 * room)
