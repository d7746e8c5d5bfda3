"""Error over lr × λ, one panel an optimizer (the paper's Figures 1 and 2): trials in, a figure out.

Colour is the mean over seeds of a reported metric; stars and circles mark the trials that were selected, on
validation. All panels share one color scale, which shows the valley: a few terrible trials do not stretch it.
"""

from __future__ import annotations

import math
import textwrap
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection, PathCollection, QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from adamcmp.figures.axis_labels import decay_name, display_unit, metric_name, tick_labels, with_unit
from adamcmp.figures.style import (
    FLAG_COLOR,
    GRAY,
    FigureSkipped,
    add_legend,
    arm_styles,
    current_style,
    new_figure,
    panel_grid,
    with_style,
)
from adamcmp.metrics.spec import task_metrics

COLORMAP = "viridis"
DIVERGED, HATCH = "#DDDDDD", "//////"
MIN_CELLS = 8
"""Trials below which the limits of the color scale follow from the median."""
SCATTERED = 0.5
"""Share of the rows × columns that has to be there for trials to be a grid: a search draws a point at a time."""


def is_grid(cells: pd.DataFrame) -> bool:
    """Return whether the trials of an optimizer fill a grid of lr × λ, or are points that were drawn."""
    return len(cells) >= SCATTERED * cells["lr"].nunique() * cells["weight_decay"].nunique()


def grid_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of those optimizers that have a grid."""
    return table[table["arm"].map({arm: is_grid(part) for arm, part in table.groupby("arm")}).astype(bool)]


class ColorScale(NamedTuple):
    """Color of values, the same in all panels: the best is dark, whichever direction that is."""

    norm: Normalize
    name: str


@with_style
def heatmap_figure(
    table: pd.DataFrame,
) -> Figure:
    """Draw one panel an optimizer: x weight decay (categorical, 0 first), y lr (rising), color the mean test error.

    Args:
        table: ``analysis.trials_table`` of one task; star and circles go by its column ``rank``.

    Raises:
        FigureSkipped: no optimizer has two learning rates and two weight decays.
    """
    sizes = table.groupby("arm")[["lr", "weight_decay"]].nunique()
    if not (sizes > 1).all(axis=1).any():
        raise FigureSkipped("no optimizer has two learning rates and two weight decays: there is no grid to show")
    arms = list(arm_styles(table["arm"]))
    most = len(arms) if len(arms) <= 3 else 2 if len(arms) == 4 else 3 if len(arms) <= 9 else 4
    rows, columns = panel_grid(len(arms), most, 2)
    narrow = current_style().is_narrow
    fig = new_figure(1.3 + 2.7 * columns, 0.1 + (1.75 if narrow else 2.3 if columns < 3 else 2.0) * rows)
    width = fig.get_figwidth()
    axes = fig.subplots(rows, columns, squeeze=False)
    panels = dict(zip(arms, axes.flat, strict=False))
    for ax in axes.flat[len(arms) :]:
        ax.remove()

    criteria = task_metrics(table)
    factor, unit = display_unit("final_test_error", criteria)
    more_is_better = criteria.error.higher_is_better
    sign = -1 if more_is_better else 1
    values = table.loc[table["n"] > 0, "final_test_error"].to_numpy(dtype=np.float64) * factor
    low, high, clipped = color_limits(sign * values)
    if more_is_better:
        low, high = -high, -low
    colours = ColorScale(Normalize(low, high), COLORMAP + ("_r" if more_is_better else ""))
    k = count_circled(table)
    best, top = table[table["rank"] == 1], table[table["rank"] <= k]
    mesh: QuadMesh | PathCollection | None = None
    for arm, ax in panels.items():
        part = table[table["arm"] == arm].assign(value=lambda t: t["final_test_error"] * factor)
        across, down = part["weight_decay"].nunique(), part["lr"].nunique()
        if is_grid(part):
            cell_points = 72 * min(width / columns * 0.72 / across, 1.75 / down)
            mesh = _heatmap_panel(ax, part, colours)
            _heatmap_marks(ax, part, best[best["arm"] == arm], top[top["arm"] == arm], cell_points)
        else:
            mesh = _scatter_panel(ax, part, colours, best[best["arm"] == arm])
        named = decay_name(part["decay"].iloc[0])
        ax.set(
            title=textwrap.fill(arm, int(10 * width / columns)),
            xlabel=f"weight decay λ ({named})"
            if columns < 3 and not narrow
            else _wrap_to_width(f"λ ({named})", width / columns),
        )
    for row, ax in ((i // columns, ax) for i, ax in enumerate(panels.values())):
        ax.set_ylabel("learning rate" if ax is axes[row, 0] else "")
    assert mesh is not None
    worse = "min" if more_is_better else "max"
    bar = fig.colorbar(
        mesh,
        ax=list(panels.values()),
        extend=worse if clipped else "neither",
        aspect=28,
        pad=0.015,
        location="top" if narrow else "right",
    )
    bar.set_label(with_unit(metric_name("final_test_error", criteria), unit))
    handles = _heatmap_legend(table, best, k, {arm: table[table["arm"] == arm] for arm in arms})
    add_legend(fig, handles, 5 if width > 5 else 2)
    return fig


def _wrap_to_width(text: str, inches: float) -> str:
    """Break text into lines that fit a panel."""
    return textwrap.fill(text, int(12 * inches))


def color_limits(values: NDArray[np.float64]) -> tuple[float, float, bool]:
    """Return limits of the color scale, and whether some value lies above them.

    From the lowest value to the highest one that is at most ``min + 4 (q25 − min)``. Of a quadratic bowl in the middle
    of the grid that shows all but the corners (q25 lies at 0.16 of its height). Cells far above, such as those at
    chance level, have the color of the end, and a few of them more or less hardly move the limits. Of fewer than eight
    trials the median stands for q25.
    """
    finite = np.sort(values[np.isfinite(values)])
    if finite.size == 0:
        return 0.0, 1.0, False
    low, top = float(finite[0]), float(finite[-1])
    above = finite[finite > low]
    quarter = np.quantile(finite, 0.25 if finite.size >= MIN_CELLS else 0.5, method="higher")
    reach = 4 * float((quarter if quarter > low else above[0] if above.size else low) - low)
    high = float(finite[finite <= low + reach * (1 + 1e-9)][-1])
    if high == low:
        return low, low + max(abs(low) * 0.01, 1e-9), False
    return low, high, top > high


def count_circled(table: pd.DataFrame) -> int:
    """Return the number of circled trials per panel: ten as in the paper, fewer if that were over a quarter."""
    return int(min(10, max(1, table.groupby("arm").size().max() // 4)))


def _positions(part: pd.DataFrame, all_of: pd.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    x = np.searchsorted(np.unique(all_of["weight_decay"]), part["weight_decay"])
    y = np.searchsorted(np.unique(all_of["lr"]), part["lr"])
    return x, y


def _heatmap_panel(ax: Axes, part: pd.DataFrame, colours: ColorScale) -> QuadMesh:
    decays, lrs = np.unique(part["weight_decay"]), np.unique(part["lr"])
    x, y = _positions(part, part)
    values = np.full((len(lrs), len(decays)), np.nan)
    values[y, x] = part["value"]
    big = values.size > 1600
    mesh = ax.pcolormesh(
        np.ma.masked_invalid(values),
        norm=colours.norm,
        cmap=colours.name,
        edgecolors="face",
        linewidth=0.2,
        rasterized=big,
    )
    for status, face, hatch, edge_colour in (
        ("diverged", DIVERGED, HATCH, "#8A8A8A"),
        ("failed", "#F4F4F4", None, GRAY),
    ):
        for rows, colour in (((part["n"] == 0), face), ((part["n"] > 0), "none")):
            hit = (rows & (part[status] > 0)).to_numpy()
            boxes = [Rectangle((i, j), 1, 1) for i, j in zip(x[hit], y[hit], strict=True)]
            if boxes and (hatch or colour != "none"):
                patches = PatchCollection(boxes, label=status, facecolor=colour, edgecolor=edge_colour, linewidth=0)
                patches.set(hatch=hatch, rasterized=big)
                ax.add_collection(patches, autolim=False)
    hit = (part["failed"] > 0).to_numpy()
    ax.scatter(x[hit] + 0.5, y[hit] + 0.5, marker="x", s=16, linewidths=1.0, color=FLAG_COLOR, label="failed")
    ax.set(xlim=(0, len(decays)), ylim=(0, len(lrs)))
    if decays[0] == 0 and len(decays) > 1:
        ax.axvline(1, color="white", lw=1.2)  # λ = 0 is no neighbor of the lowest λ on a logarithmic scale
    ax.spines[:].set_visible(True)
    for which, known in (("x", decays), ("y", lrs)):
        texts = tick_labels([float(v) for v in known])
        every = math.ceil(len(known) / 12)
        axis = ax.xaxis if which == "x" else ax.yaxis
        axis.set_ticks(np.arange(len(known))[::every] + 0.5, texts[::every])
    if len(decays) > 5:
        ax.tick_params(axis="x", labelrotation=90)
    return mesh


def _scatter_panel(ax: Axes, part: pd.DataFrame, colours: ColorScale, best: pd.DataFrame) -> PathCollection:
    """Draw a dot for each trial on logarithmic axes, with a separate column for λ = 0 on the left."""
    positive = part.loc[part["weight_decay"] > 0, "weight_decay"]
    low = float(positive.min()) if len(positive) else 1.0
    zero = low / 10 ** max(0.35, 0.08 * math.log10(float(positive.max()) / low) if len(positive) else 0.35)
    x = part["weight_decay"].where(part["weight_decay"] > 0, zero)
    good = part["n"] > 0
    lost = part[~good]
    ax.scatter(x[~good], lost["lr"], marker="x", s=14, linewidths=0.8, color="#8A8A8A", zorder=2)
    dots = ax.scatter(x[good], part.loc[good, "lr"], c=part.loc[good, "value"], norm=colours.norm, cmap=colours.name,
                      s=22, edgecolors="white", linewidths=0.3, zorder=3)  # fmt: skip
    star = best["weight_decay"].where(best["weight_decay"] > 0, zero)
    ax.scatter(star, best["lr"], s=110, marker="*", c="white", edgecolors="black", linewidths=0.6, zorder=4)
    ax.set(xscale="log", yscale="log")
    if (part["weight_decay"] == 0).any():
        ax.axvline(math.sqrt(zero * low), color=GRAY, lw=0.6, ls=":", zorder=1)
        ax.annotate("0", (zero, 0), xycoords=("data", "axes fraction"), xytext=(0, -3), textcoords="offset points",
                    ha="center", va="top", fontsize="small")  # fmt: skip
        ticks_ = [tick for tick in ax.get_xticks() if tick >= low * 0.99 and tick <= float(positive.max()) * 1.01]
        ax.set_xticks(ticks_)
        ax.minorticks_off()
    low_lr, high_lr = float(part["lr"].min()), float(part["lr"].max())
    nice = [m * 10.0**e for e in range(math.floor(math.log10(low_lr)), math.ceil(math.log10(high_lr)) + 1) for m in
            ((1, 2, 5) if high_lr < 100 * low_lr else (1,))]  # fmt: skip
    ticks = [lr for lr in nice if low_lr <= lr <= high_lr]
    ax.set_yticks(ticks, tick_labels(ticks))
    ax.yaxis.minorticks_off()
    ax.spines[:].set_visible(True)
    return dots


def _heatmap_marks(ax: Axes, part: pd.DataFrame, best: pd.DataFrame, top: pd.DataFrame, cell_points: float) -> None:
    size = min(max(0.72 * cell_points, 3.5), 12.0)
    ring = [withStroke(linewidth=1.7, foreground="black")]
    x, y = _positions(top, part)
    ax.scatter(
        x + 0.5,
        y + 0.5,
        s=size**2,
        facecolors="none",
        edgecolors="white",
        linewidths=0.9,
        path_effects=ring,
        label="top",
    )
    x, y = _positions(best, part)
    colour = [FLAG_COLOR if edge else "white" for edge in best["edge"].fillna("")]
    ax.scatter(
        x + 0.5,
        y + 0.5,
        s=max(0.8 * size, 6.0) ** 2,
        marker="*",
        c=colour,
        edgecolors="black",
        linewidths=0.4,
        label="best",
    )


def _heatmap_legend(
    table: pd.DataFrame, best: pd.DataFrame, k: int, parts: dict[str, pd.DataFrame]
) -> list[Line2D | Patch]:
    def mark(marker: str, face: str, text: str, edge_colour: str = "black", size: float = 7) -> Line2D:
        return Line2D([], [], ls="", marker=marker, mfc=face, mec=edge_colour, mew=0.6, ms=size, label=text)

    flagged = {bool(edge) for edge in best["edge"].fillna("")}
    handles: list[Line2D | Patch] = []
    if False in flagged:
        handles.append(mark("*", "white", "best on validation"))
    if True in flagged:
        handles.append(mark("*", FLAG_COLOR, "best, on the edge of the grid"))
    full = [part for part in parts.values() if is_grid(part)]
    if flagged and k > 1 and full:
        handles.append(mark("o", "none", f"{k} best on validation", size=6))
    if len(full) < len(parts) and (table["n"] == 0).any():
        handles.append(mark("x", "#8A8A8A", "diverged or ended early", "#8A8A8A", 5))
    if full and (table["diverged"] > 0).any():
        text = "diverged" if (table.loc[table["diverged"] > 0, "n"] == 0).all() else "diverged (over color: some seeds)"
        handles.append(Patch(facecolor=DIVERGED, edgecolor="#8A8A8A", hatch=HATCH, linewidth=0, label=text))
    if (table["failed"] > 0).any():
        handles.append(mark("x", FLAG_COLOR, "failed", FLAG_COLOR, 5))
    if any(len(p) < p["lr"].nunique() * p["weight_decay"].nunique() for p in full):
        handles.append(Patch(facecolor="white", edgecolor=GRAY, linewidth=0.5, label="not run"))
    return handles
