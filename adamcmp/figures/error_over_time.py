"""The error at any time, with and without warm restarts (the paper's Figure 4)."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from adamcmp.figures.axis_labels import display_unit, metric_label, with_unit
from adamcmp.figures.learning_curves import draw_mean_curves, set_curve_limits
from adamcmp.figures.style import (
    GRAY,
    FigureSkipped,
    add_shared_legend,
    arm_styles,
    current_style,
    log_ticks,
    new_figure,
    with_style,
)
from adamcmp.metrics.spec import task_metrics

TOP5_COLUMN = "test_top5_error"


@with_style
def error_over_time_figure(curves: pd.DataFrame) -> Figure:
    """Test error against epochs on a logarithmic axis, mean and 95 % band; top-5 error next to it if known.

    Args:
        curves: ``analysis.mean_curves`` of each optimizer's selected trial; ``restarts`` holds the epochs that end a
            period, with spaces between.

    Raises:
        FigureSkipped: there are no curves of two evaluations.
    """
    if curves.empty or curves["step"].nunique() < 2:
        raise FigureSkipped("no optimizer was evaluated twice; train.evaluations=5 makes a curve")
    criteria, look = task_metrics(curves), arm_styles(curves["arm"])
    panels = [("test_error", with_unit(metric_label("test_error", criteria), display_unit("test_error", criteria)[1]))]
    if TOP5_COLUMN in curves and curves[TOP5_COLUMN].notna().any():
        panels.append((TOP5_COLUMN, "test top-5 error (%)"))
    fig = new_figure(4.8 if len(panels) == 1 else 7.0, 2.0 if current_style().is_narrow else 2.7)
    axes = fig.subplots(1, len(panels), squeeze=False)[0]
    ends = sorted({float(end) for text in curves["restarts"].dropna() for end in str(text).split()})
    for ax, (metric, label) in zip(axes, panels, strict=True):
        factor = display_unit("test_error", criteria)[0] if metric != TOP5_COLUMN else 100.0
        for end in ends:
            ax.axvline(end, color=GRAY, lw=0.6, ls=":", zorder=1)
        draw_mean_curves(ax, curves, metric, factor, look)
        set_curve_limits(ax, curves, [metric], factor, higher_is_better=criteria.error.higher_is_better)
        low, high = float(curves["epoch"].min()), float(curves["epoch"].max())
        log_ticks(ax, "x", low, high)
        if len(ends) > 1:
            ax.xaxis.set_major_locator(FixedLocator([*(end for end in ends if end >= low), high]))
        ax.set(xlabel="epoch", ylabel=label)
    add_shared_legend(fig, 5)
    return fig
