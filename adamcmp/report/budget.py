"""What a search of k cells brings, and who leads when: curves in, figures out."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adamcmp.analysis.ranks import profile
from adamcmp.criteria import Criteria
from adamcmp.report.labels import named, scale, with_unit
from adamcmp.report.style import NotDrawn, figure, legend, log_if_wide, log_ticks, looks, styled

WIDE = 5.8


@styled
def budget_figure(found: pd.DataFrame, criteria: Criteria, footer: str = "") -> Figure:
    """Expected validation and test error of the best of k cells by validation; band of the middle 80 % of searches.

    Args:
        found: ``analysis.budget.best_of_k`` of one task.
        criteria: what its runs are judged by.
        footer: Provenance, ``labels.footer``.

    Raises:
        NotDrawn: no arm has two cells.
    """
    if found.empty or found["k"].max() < 2:
        raise NotDrawn("no optimizer has two cells to search among")
    fig = figure(WIDE, 2.3, footer)
    axes = fig.subplots(1, 2, sharey=True)
    look = looks(found["arm"])
    for ax, part in zip(axes, ("validation", "test"), strict=True):
        metric = f"final_{part}_error"
        factor, unit = scale(metric, criteria)
        for arm, style in look.items():
            own = found[found["arm"] == arm]
            x, low, high = (own[name].to_numpy(float) for name in ("k", f"{part}_low", f"{part}_high"))
            ax.plot(x, factor * own[part].to_numpy(float), color=style.colour, ls=style.dash, label=arm, zorder=3)
            ax.fill_between(x, factor * low, factor * high, color=style.colour, alpha=0.10, lw=0, zorder=2)
        ax.set(xlabel="cells tried, k", ylabel=with_unit(named(f"{part}_error", criteria), unit))
        log_ticks(ax, "x", 1, float(found["k"].max()))
        ax.grid(visible=True)
        ax.margins(x=0.02)
    lines = factor * found[["validation", "test"]].to_numpy(float)
    log_if_wide(axes[0], lines.ravel().tolist())
    handles, _ = axes[0].get_legend_handles_labels()
    legend(fig, handles, 4)
    return fig


@styled
def ranks_figure(found: pd.DataFrame, footer: str = "") -> Figure:
    """Mean rank by test error at every evaluation, over shared seeds; and how many pairs stand as at the end.

    Raises:
        NotDrawn: there are no two arms, or no two evaluations.
    """
    if found.empty:
        raise NotDrawn("no two optimizers share two evaluations")
    fig = figure(WIDE, 2.2, footer)
    ranks, agreement = fig.subplots(1, 2, width_ratios=(1.5, 1))
    look = looks(found["arm"])
    for arm, style in look.items():
        own = found[found["arm"] == arm]
        ranks.plot(own["epoch"], own["rank"], color=style.colour, ls=style.dash, marker=style.marker, ms=3, label=arm)
    ranks.set(xlabel="epoch", ylabel="mean rank by test error")
    ranks.set_ylim(len(look) + 0.15, 0.85)
    ranks.yaxis.set_major_locator(MaxNLocator(integer=True))
    one = found.drop_duplicates("epoch")
    agreement.plot(one["epoch"], 100 * one["agreement"], color="black", lw=1.2)
    agreement.set(xlabel="epoch", ylabel="pairs as at the end (%)", ylim=(0, 103))
    for ax in (ranks, agreement):
        ax.grid(visible=True)
        ax.margins(x=0.02)
    handles, _ = ranks.get_legend_handles_labels()
    legend(fig, handles, 4)
    return fig


@styled
def profiles_figure(ratios: pd.DataFrame, footer: str = "") -> Figure:
    """Performance profiles over tasks, of steps and of seconds to each task's target.

    Args:
        ratios: ``analysis.ranks.to_targets`` of several tasks.
        footer: Provenance, ``labels.footer``.

    Raises:
        NotDrawn: there are fewer than two tasks with two arms.
    """
    if ratios["task"].nunique() < 2:
        raise NotDrawn("a profile needs two tasks with two optimizers each")
    fig = figure(WIDE, 2.2, footer)
    axes: Sequence[Axes] = fig.subplots(1, 2, sharey=True)
    look = looks(ratios["arm"])
    for ax, name in zip(axes, ("steps", "seconds"), strict=True):
        found = profile(ratios, name)
        most = float(found["tau"].max())
        for arm, style in look.items():
            own = found[found["arm"] == arm]
            x = [*own["tau"], 1.05 * most]
            ax.plot(x, [*(100 * own["share"]), 100 * own["share"].iloc[-1]], color=style.colour, ls=style.dash,
                    drawstyle="steps-post", label=arm)  # fmt: skip
        ax.set(xlabel=f"{name} to the target, by those of the fastest", ylim=(0, 103))
        if most > 1:
            log_ticks(ax, "x", 1, most)
        ax.grid(visible=True)
    axes[0].set_ylabel("tasks (%)")
    handles, _ = axes[0].get_legend_handles_labels()
    legend(fig, handles, 4)
    return fig
