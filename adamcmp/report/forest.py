"""Differences between arms as a forest plot: a row a pair, its intervals, the margin within which both are the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from adamcmp.analysis import Verdict
from adamcmp.criteria import Criteria
from adamcmp.report.labels import scale, with_unit
from adamcmp.report.style import FLAG, GREY, WIDTH, NotDrawn, figure, legend, styled

LONG = 45
"""Characters of a pair from which on it takes two lines."""
MOST = 28
"""Pairs that have room."""
KINDS = {
    "apart": ("told apart", "#0072B2", "o"),
    "same": ("the same", "#009E73", "s"),
    "open": ("not told apart", GREY, "D"),
}


@styled
def verdicts_figure(found: Sequence[Verdict], criteria: Criteria, footer: str = "") -> Figure:
    """Mean difference of final test errors: thick the 95 % interval over seeds, thin with all sources of noise.

    Args:
        found: ``analysis.verdicts`` of one task.
        criteria: what its runs are judged by.
        footer: Provenance, ``labels.footer``.

    Raises:
        NotDrawn: no pair has an interval.
    """
    drawn = [each for each in found if each.kind != "none"][:MOST]
    if not drawn:
        raise NotDrawn("no pair of optimizers has two confirming seeds that differ")
    factor, unit = scale("final_gap", criteria)
    names = [f"{each.a} − {each.b}" for each in drawn]
    long = max(map(len, names)) > LONG
    if long:
        names = [f"{each.a}\n− {each.b}" for each in drawn]
    fig = figure(WIDTH if long else 6.2, 0.55 + (0.36 if long else 0.24) * len(drawn), footer)
    ax = fig.subplots()
    margin = factor * drawn[0].margin
    if not math.isnan(margin):
        ax.axvspan(-margin, margin, color="#009E73", alpha=0.10, lw=0)
    ax.axvline(0, color="black", lw=0.7)
    for row, each in enumerate(drawn):
        _, colour, marker = KINDS[each.kind]
        widest = [factor * end for end in each.with_half_width(each.choice if each.choice < math.inf else 0.0)]
        ax.plot(widest, [row, row], color=colour, lw=0.9, zorder=3)
        ax.plot(
            [factor * each.low, factor * each.high], [row, row], color=colour, lw=2.6, solid_capstyle="butt", zorder=3
        )
        ax.plot(factor * each.mean, row, marker=marker, color=colour, ms=5, mec="white", mew=0.6, zorder=4)
        if not math.isnan(each.budget):
            ax.plot(factor * each.mean_at_budget, row, marker="|", color=FLAG, ms=9, mew=1.4, zorder=5)
    ax.set_yticks(range(len(drawn)), names)
    ax.set_ylim(len(drawn) - 0.4, -0.6)
    ax.set_xlabel(with_unit(f"difference of the final test {criteria.error.label}", unit))
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=True, axis="x")
    used = {each.kind for each in drawn}
    handles = [
        Line2D([], [], color=colour, marker=marker, ms=5, lw=0.9, label=text)
        for kind, (text, colour, marker) in KINDS.items()
        if kind in used
    ]
    handles.append(Line2D([], [], color=GREY, lw=2.6, label="95 % over seeds"))
    if any(each.choice > 0 or not math.isnan(each.low_examples) for each in drawn):
        handles.append(Line2D([], [], color=GREY, lw=0.9, label="with all sources"))
    if any(not math.isnan(each.budget) for each in drawn):
        handles.append(Line2D([], [], color=FLAG, marker="|", ms=9, mew=1.4, lw=0, label="at the smaller budget"))
    patches = [] if math.isnan(margin) else [Patch(color="#009E73", alpha=0.2, lw=0, label="margin")]
    legend(fig, [*handles, *patches], 6)
    return fig
