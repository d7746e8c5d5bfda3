"""Extra metrics along the training: one panel per metric; or one row per quantity and one column per layer."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adamcmp.figures.axis_labels import extra_metric_label, time_label
from adamcmp.figures.learning_curves import draw_mean_curves
from adamcmp.figures.style import (
    ArmStyle,
    FigureSkipped,
    add_shared_legend,
    arm_styles,
    current_style,
    log_if_wide,
    new_figure,
    panel_grid,
    with_style,
)

MAX_LAYERS, MAX_LAYERS_NARROW = 5, 2
"""Side by side, on two columns and on one."""
LAYER_METRICS: Mapping[str, tuple[str, str]] = {
    "weight norm": ("weight_norms_", ""),
    "update / weight": ("updates_", "_ratio"),
    "angle of a step (rad)": ("updates_", "_angle"),
    "share of the squared weight norm": ("weight_norms_", "_share"),
}
"""Metrics with one value per layer: beginning and end of a metric's name."""


def split_by_layer(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows that have one value per layer, by quantity, with a column ``layer``; the others under ``""``."""
    kinds: dict[str, pd.DataFrame] = {}
    left = table
    for kind, (prefix, suffix) in sorted(LAYER_METRICS.items(), key=lambda item: -len(item[1][1])):
        mine = left["metric"].str.startswith(prefix) & left["metric"].str.endswith(suffix)
        layer = left["metric"][mine].str.removeprefix(prefix).str.removesuffix(suffix)
        kinds[kind] = left[mine].assign(layer=layer)
        left = left[~mine]
    return {kind: kinds[kind] for kind in LAYER_METRICS if len(kinds[kind])} | {"": left}


@with_style
def extra_metrics_figure(table: pd.DataFrame) -> Figure:
    """Draw metrics with one value a model against epochs: mean over seeds, band of 95 % (Student t).

    Args:
        table: ``analysis.extra_metric_curves`` of one task.

    Raises:
        FigureSkipped: there is none, or it was measured once.
    """
    _check_curves(table)
    single = split_by_layer(table)[""]
    if single.empty:
        raise FigureSkipped("no run measured a metric with one value a model (train.metrics)")
    panels = list(single.groupby("metric", sort=False))
    rows, columns = panel_grid(len(panels), 3, 2)
    fig = new_figure({1: 3.4, 2: 5.2}.get(columns, 7.0), (1.5 if current_style().is_narrow else 1.9) * rows)
    axes = fig.subplots(rows, columns, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    look = arm_styles(table["arm"])
    for ax, (name, part) in zip(axes.flat, panels, strict=False):
        _draw_lines(ax, part, look)
        ax.set(xlabel=time_label(table), ylabel=extra_metric_label(str(name)))
    add_shared_legend(fig, 4)
    return fig


@with_style
def layer_metrics_figure(table: pd.DataFrame) -> Figure:
    """Draw weight norms, and size and angle of steps, of the layers with the largest share of the weights' norm.

    Raises:
        FigureSkipped: no metric has one value a layer, or it was measured once.
    """
    _check_curves(table)
    kinds = split_by_layer(table)
    del kinds[""]
    if not kinds:
        raise FigureSkipped("no run measured weight norms or updates (train.metrics)")
    shares = kinds.pop("share of the squared weight norm", None)
    names = list(next(reversed(kinds.values()))["layer"].unique())  # of updates, where they were measured
    most = MAX_LAYERS_NARROW if current_style().is_narrow else MAX_LAYERS
    if len(names) > most and shares is not None:
        largest = shares[shares["layer"].isin(names)].groupby("layer")["mean"].mean().nlargest(most)
        names = [name for name in names if name in largest.index]
    names = names[:most]
    fig = new_figure(7.0, 1.45 * len(kinds) + 0.2)
    axes = fig.subplots(len(kinds), len(names), squeeze=False, sharex=True)
    look = arm_styles(table["arm"])
    for row, (kind, part) in enumerate(kinds.items()):
        for column, name in enumerate(names):
            ax = axes[row, column]
            _draw_lines(ax, part[part["layer"] == name], look)
            ax.set_ylabel(kind if column == 0 else "")
            ax.set_xlabel(time_label(table) if row == len(kinds) - 1 else "")
            if row == 0:
                ax.set_title(_shorten_name(name, (30 if current_style().is_narrow else 75) // len(names)))
    add_shared_legend(fig, 4)
    return fig


def _check_curves(table: pd.DataFrame) -> None:
    """Refuse metrics without curves.

    Raises:
        FigureSkipped: all was measured once.
    """
    if table["step"].nunique() < 2:
        raise FigureSkipped("it was measured once, after the last step; train.evaluations=5 makes a curve")


def _draw_lines(ax: Axes, part: pd.DataFrame, look: dict[str, ArmStyle]) -> None:
    draw_mean_curves(ax, part.rename(columns={"half_width": "mean_half_width"}), "mean", 1.0, look)
    values = part["mean"].to_numpy(float)
    if log_if_wide(ax, values.tolist(), ratio=20):
        ax.set_ylim(values.min() / 1.5, values.max() * 1.5)
    else:
        ax.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=True)


def _shorten_name(name: str, most: int) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"
