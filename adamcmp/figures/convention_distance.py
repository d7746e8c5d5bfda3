"""How near other libraries' optimizers come to adamcmp's: one row per optimizer, on a logarithmic axis."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamcmp.figures.axis_labels import power_of_ten
from adamcmp.figures.style import GRAY, FigureSkipped, add_legend, fixed_ticks, new_figure, with_style

AGREEMENT_LEVEL = {
    "same": ("the same", "#0072B2", "o"),
    "same but for rounding": ("the same but for rounding", "#009E73", "s"),
    "differs": ("no convention of adamcmp's", "#D55E00", "D"),
}
MIN_DIFFERENCE = 1e-16
"""Position of an exact agreement."""


@with_style
def convention_distance_figure(table: pd.DataFrame) -> Figure:
    """Draw the largest relative difference of an update under the nearest convention, and under the one after it.

    Args:
        table: ``conformance.find_convention.to_frame``.

    Raises:
        FigureSkipped: nothing was compared.
    """
    rows = table[table["difference"].notna()].reset_index(drop=True)
    if rows.empty:
        raise FigureSkipped("no library was compared")
    libraries = list(dict.fromkeys(rows["library"]))
    fig = new_figure(7.0, 0.4 + 0.135 * (len(rows) + len(libraries)))
    ax = fig.subplots()
    labels, places, place = [], [], 0.0
    for library in libraries:
        place += 1
        ax.text(MIN_DIFFERENCE / 2, place, library, fontsize=6.5, fontweight="bold", va="center", ha="left")
        for row in rows[rows["library"] == library].to_dict("records"):
            place += 1
            _, colour, marker = AGREEMENT_LEVEL[str(row["verdict"])]
            ax.plot([max(row["next_difference"], MIN_DIFFERENCE)], [place], marker="|", ms=6, color=GRAY, ls="")
            ax.plot(
                [max(row["difference"], MIN_DIFFERENCE)], [place], marker=marker, ms=4, color=colour, ls="", zorder=3
            )
            name = str(row["optimizer"]).replace("tf_keras.optimizers.", "").replace("keras.optimizers.", "")
            labels.append(name.replace("add_decayed_weights(λ)", "L2"))
            places.append(place)
    ax.set(
        xscale="log",
        xlim=(MIN_DIFFERENCE / 3, 4),
        ylim=(place + 1, 0),
        xlabel="largest relative difference of an update",
    )
    ax.set_yticks(places, labels, fontsize=5.6)
    powers = range(-16, 1, 2)
    fixed_ticks(ax, "x", [10.0**k for k in powers], [power_of_ten(k) for k in powers])
    ax.grid(visible=True, axis="x")
    handles = [
        Line2D([], [], ls="", marker=marker, color=colour, ms=4.5, label=text)
        for text, colour, marker in AGREEMENT_LEVEL.values()
    ]
    handles.append(Line2D([], [], ls="", marker="|", color=GRAY, ms=7, label="under the next nearest convention"))
    add_legend(fig, handles, 4)
    return fig
