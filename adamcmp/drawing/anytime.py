"""The error at any time, with and without warm restarts (the paper's Figure 4)."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from adamcmp.drawing.labels import named, scale, with_unit
from adamcmp.drawing.learning_curves import draw_curves, limit_curves
from adamcmp.drawing.style import GREY, NotDrawn, figure, log_ticks, looks, page, shared_legend, styled
from adamcmp.metrics.spec import task_metrics

TOP5 = "test_top5_error"


@styled
def anytime(curves: pd.DataFrame) -> Figure:
    """Test error against epochs on a logarithmic axis, mean and 95 % band; top-5 error beside it where it is known.

    Args:
        curves: ``analysis.mean_curves`` of each arm's best cell; ``restarts`` holds the epochs that end a period, with
            spaces between.

    Raises:
        NotDrawn: there are no curves of two evaluations.
    """
    if curves.empty or curves["step"].nunique() < 2:
        raise NotDrawn("no optimizer was evaluated twice; train.evaluations=5 makes a curve")
    criteria, look = task_metrics(curves), looks(curves["arm"])
    panels = [("test_error", with_unit(named("test_error", criteria), scale("test_error", criteria)[1]))]
    if TOP5 in curves and curves[TOP5].notna().any():
        panels.append((TOP5, "test top-5 error (%)"))
    fig = figure(4.8 if len(panels) == 1 else 7.0, 2.0 if page().is_narrow else 2.7)
    axes = fig.subplots(1, len(panels), squeeze=False)[0]
    ends = sorted({float(end) for text in curves["restarts"].dropna() for end in str(text).split()})
    for ax, (metric, label) in zip(axes, panels, strict=True):
        factor = scale("test_error", criteria)[0] if metric != TOP5 else 100.0
        for end in ends:
            ax.axvline(end, color=GREY, lw=0.6, ls=":", zorder=1)
        draw_curves(ax, curves, metric, factor, look)
        limit_curves(ax, curves, [metric], factor)
        low, high = float(curves["epoch"].min()), float(curves["epoch"].max())
        log_ticks(ax, "x", low, high)
        if len(ends) > 1:
            ax.xaxis.set_major_locator(FixedLocator([*(end for end in ends if end >= low), high]))
        ax.set(xlabel="epoch", ylabel=label)
    shared_legend(fig, 5)
    return fig
