"""Steps until a network generalizes that has long fitted, against λ (grokking)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from adamcmp.figures.error_vs_hyperparameter import set_axis_ticks, zero_position
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


@with_style
def steps_to_generalize_figure(table: pd.DataFrame) -> Figure:
    """Draw median steps over seeds against λ, bars from the fastest to the slowest seed, one line per optimizer.

    Args:
        table: one row per trial: ``arm``, ``weight_decay``, ``median``, ``fastest``, ``slowest``, ``reached`` of ``n``
            seeds, ``budget`` in steps.

    Raises:
        FigureSkipped: no optimizer has two λ.
    """
    if table.empty or table["weight_decay"].nunique() < 2:
        raise FigureSkipped("no optimizer was tried at two weight decays")
    fig = new_figure(4.8, 2.2 if current_style().is_narrow else 2.9)
    ax = fig.subplots()
    positive = np.unique(table.loc[table["weight_decay"] > 0, "weight_decay"])
    zero = zero_position(positive)
    fastest = table.sort_values("median").drop_duplicates(["arm", "weight_decay"])
    ax.set_xscale("log")
    for i, (arm, style) in enumerate(arm_styles(table["arm"]).items()):
        arm_rows = fastest[fastest["arm"] == arm].sort_values("weight_decay")
        x = np.where(arm_rows["weight_decay"] > 0, arm_rows["weight_decay"], zero) * 1.05 ** (i - 1.5)
        y, low, high = (arm_rows[name].to_numpy(float) for name in ("median", "fastest", "slowest"))
        ax.plot(x, y, color=style.colour, ls=style.dash, marker=style.marker, ms=4.5, lw=1.1, label=arm, zorder=3)
        ax.errorbar(x, y, yerr=[y - low, high - y], fmt="none", ecolor=style.colour, elinewidth=0.8, capsize=1.8)
        lost = (2 * arm_rows["reached"] <= arm_rows["n"]).to_numpy()
        ax.plot(x[lost], y[lost], color=style.colour, ls="", marker=style.marker, ms=4.5, mfc="white", zorder=4)
    budget = float(table["budget"].max())
    ax.axhline(budget, color=GRAY, lw=0.8, ls=":", zorder=1)
    log_ticks(ax, "y", float(table["fastest"].min()), budget)
    if table["fastest"].min() >= budget:  # no run generalized
        ax.set_ylim(budget / 2, 1.3 * budget)
    set_axis_ticks(ax, positive, zero, with_zero=bool((table["weight_decay"] == 0).any()))
    ax.set(xlabel="weight decay λ (each in its convention)", ylabel="steps to generalize")
    ax.grid(visible=True)
    add_shared_legend(fig, 4)
    return fig
