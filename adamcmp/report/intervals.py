"""Dots with intervals, a row an arm: what the basin of each optimizer is like."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamcmp.analysis.basin import Basin
from adamcmp.analysis.intervals import Estimate
from adamcmp.analysis.sensitivity import Sensitivity
from adamcmp.criteria import Criteria
from adamcmp.report.labels import scale, with_unit
from adamcmp.report.style import GREY, WIDTH, NotDrawn, figure, legend, looks, styled

SLOPES = (-2.2, 2.2)
"""The axis of slopes, at most: what cannot be told has intervals that reach beyond it."""


@styled
def basin_figure(found: Sequence[Basin], of_lr: Sequence[Sensitivity], criteria: Criteria, footer: str = "") -> Figure:
    """Four panels: d log λ*/d log lr by rows and by the ridge, separability, area, sensitivity to lr.

    Args:
        found: ``analysis.basin.basins`` of one task.
        of_lr: ``analysis.sensitivity.sensitivities`` of it.
        criteria: what its runs are judged by.
        footer: Provenance, ``labels.footer``.

    Raises:
        NotDrawn: no arm has a grid of three learning rates × three weight decays.
    """
    if not found:
        raise NotDrawn("no optimizer has a grid of three learning rates × three weight decays above 0")
    arms = [each.arm for each in found]
    look = looks(arms)
    fig = figure(WIDTH, 0.75 + 0.27 * len(arms), footer)
    slope, separable, area, lr = fig.subplots(1, 4, sharey=True, width_ratios=(1.5, 1.2, 1, 1))
    factor, unit = scale("final_gap", criteria)
    sensitivity = {each.arm: each.to_lr for each in of_lr}
    for row, each in enumerate(found):
        colour = look[each.arm].colour
        _dot(slope, row - 0.14, each.rows, colour, "o")
        _dot(slope, row + 0.14, each.ridge, colour, "D")
        _dot(separable, row, each.separability, colour, "o")
        _dot(area, row, Estimate(*(100 * x for x in each.area)), colour, "o")
        to_lr = sensitivity.get(each.arm, Estimate(math.nan))
        _dot(lr, row, Estimate(*(factor * x for x in to_lr)), colour, "o")
    for ax, at in ((slope, (0, -1)), (separable, (0,))):
        for x in at:
            ax.axvline(x, color=GREY, lw=0.7, ls="-" if x == 0 else ":", zorder=1)
    slope.set_xlim(*SLOPES)
    separable.set_xlim(-1.05, 1.05)
    area.set_xlim(0, 100)
    lr.set_xlim(left=0)
    slope.set_title("slope")
    slope.set_xlabel("d log λ* / d log lr")
    separable.set_title("separability")
    separable.set_xlabel("correlation of lr and λ")
    area.set_title("area")
    area.set_xlabel("cells in the basin (%)")
    lr.set_title("sensitivity to lr")
    lr.set_xlabel(with_unit("lost, untuned", unit))
    slope.set_yticks(range(len(arms)), arms)
    slope.set_ylim(len(arms) - 0.4, -0.6)
    for ax in (slope, separable, area, lr):
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=True, axis="x")
    marks = [("o", "rows"), ("D", "ridge")]
    handles = [Line2D([], [], color=GREY, marker=marker, ms=4, lw=1.2, label=text) for marker, text in marks]
    legend(fig, handles, 2)
    return fig


def _dot(ax: Axes, row: float, estimate: Estimate, colour: str, marker: str) -> None:
    """A value and its interval; a value alone is open."""
    if math.isnan(estimate.value):
        return
    known = not math.isnan(estimate.low)
    if known:
        ax.plot([estimate.low, estimate.high], [row, row], color=colour, lw=1.4, zorder=2)
    face = colour if known else "white"
    ax.plot(estimate.value, row, marker=marker, color=colour, mfc=face, ms=4.2, mec=colour, zorder=3, clip_on=True)
