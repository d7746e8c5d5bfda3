"""Learning curves of every λ at one learning rate (the paper's Figure 3): the best in bold, the others thin."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamcmp.figures.axis_labels import display_unit, format_tick, metric_label, with_unit
from adamcmp.figures.style import (
    FigureSkipped,
    add_legend,
    arm_styles,
    current_style,
    log_if_wide,
    new_figure,
    with_style,
)
from adamcmp.metrics.spec import task_metrics

SHADES = "Greys"
"""Thin lines: the darker, the larger λ."""


@with_style
def decay_curves_figure(curves: pd.DataFrame) -> Figure:
    """Draw one column per optimizer: training loss above, test error below, against epochs.

    Args:
        curves: Mean curves of every trial: ``arm``, ``weight_decay``, ``best``, ``epoch`` and the metrics.

    Raises:
        FigureSkipped: no trial has two evaluations.
    """
    if curves.empty or curves["step"].nunique() < 2:
        raise FigureSkipped("no cell was evaluated twice; train.evaluations=5 makes a curve")
    criteria, look = task_metrics(curves), arm_styles(curves["arm"])
    metrics = ("train_loss", "test_error")
    fig = new_figure(1.2 + 2.6 * len(look), 3.0 if current_style().is_narrow else 3.9)
    axes = fig.subplots(len(metrics), len(look), squeeze=False, sharex=True, sharey="row")
    shades = mpl.colormaps[SHADES]
    handles = []
    for column, (arm, style) in enumerate(look.items()):
        arm_rows = curves[curves["arm"] == arm]
        decays = np.unique(arm_rows["weight_decay"])
        best = arm_rows[arm_rows["best"]]
        for row, metric in enumerate(metrics):
            ax = axes[row, column]
            factor, unit = display_unit(metric, criteria)
            for i, decay in enumerate(decays):
                part = arm_rows[arm_rows["weight_decay"] == decay]
                shade = shades(0.3 + 0.6 * i / max(len(decays) - 1, 1))
                ax.plot(part["epoch"], factor * part[metric], color=shade, lw=0.6, ls=":" if decay == 0 else "-")
            ax.plot(best["epoch"], factor * best[metric], color=style.colour, lw=1.8, ls=style.dash, zorder=4)
            ax.grid(visible=True)
            ax.margins(x=0.02)
            ax.set_xlabel("epoch" if row else "")
            ax.set_ylabel(with_unit(metric_label(metric, criteria), unit) if column == 0 else "")
        axes[0, column].set_title(arm)
        if len(best):
            text = f"{arm}: best λ {format_tick(best['weight_decay'].iloc[0])}"
            handles.append(Line2D([], [], color=style.colour, lw=1.8, ls=style.dash, label=text))
    for row, metric in enumerate(metrics):
        values = (display_unit(metric, criteria)[0] * curves[metric]).dropna()
        is_loss = metric == "train_loss"
        shown = values[values > 0] if is_loss else values
        is_higher = not is_loss and criteria.error.higher_is_better
        log_if_wide(axes[row, 0], shown.tolist(), higher_is_better=is_higher)
    handles.append(Line2D([], [], color=shades(0.9), lw=0.6, label="largest λ"))
    handles.append(Line2D([], [], color=shades(0.3), lw=0.6, label="smallest λ"))
    if (curves["weight_decay"] == 0).any():
        handles.append(Line2D([], [], color=shades(0.3), lw=0.6, ls=":", label="λ = 0"))
    add_legend(fig, handles, 5)
    return fig
