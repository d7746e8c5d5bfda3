"""Figures of verdicts, basins, budgets, ranks and profiles: what they show, and that it has room."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from adamcmp.analysis import basin, best_trials, sensitivity, split_by_task, trials_table, verdicts
from adamcmp.analysis.best_of_k import expected_best_of_k
from adamcmp.analysis.rank_over_time import ranks_over_time, targets_table
from adamcmp.analysis.verdicts import to_frame
from adamcmp.figures.basin import basin_figure
from adamcmp.figures.best_of_k import best_of_k_figure, profiles_figure, rank_figure
from adamcmp.figures.forest_plot import verdicts_figure
from adamcmp.figures.style import FigureSkipped, FigureStyle, layout, render_figure, use_style

LONG = {f"an optimizer {i} with a rather long name": decay for i, decay in enumerate(("l2", "lr_scaled", "l2"))}


@pytest.fixture(scope="module")
def records(synthetic):
    """Names long enough to need line breaks: what fits them fits usual ones."""
    return synthetic.confirmed(synthetic.make_records(LONG))


@pytest.fixture(scope="module")
def curves(synthetic, records):
    curves = synthetic.make_curves(records, 6)
    curves["test_error"] += 0.05 * np.random.default_rng(0).random(len(curves))
    return curves


def two_tasks(records, curves):
    tasks, parts = [], []
    for name in ("one", "two"):
        tasks.append(records.assign(task=name, task_label=name, settings="{}", run_id=name + records["run_id"]))
        parts.append(curves.assign(run_id=name + curves["run_id"]))
    return targets_table(split_by_task(pd.concat(tasks)), pd.concat(parts))


def drawn(name, records, curves):
    table = trials_table(records)
    best = best_trials(table)
    return {
        "verdicts": lambda: verdicts_figure(to_frame(verdicts(records))),
        "basin": lambda: basin_figure(
            basin.to_frame(basin.estimate_basins(records, table)),
            sensitivity.to_frame(sensitivity.estimate_sensitivities(records, table)),
        ),
        "budget": lambda: best_of_k_figure(expected_best_of_k(records, table)),
        "ranks": lambda: rank_figure(ranks_over_time(curves, records, best)),
        "profiles": lambda: profiles_figure(two_tasks(records, curves)),
    }[name]()


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize("name", ["verdicts", "basin", "budget", "ranks", "profiles"])
def test_nothing_overlaps_and_nothing_is_cut_off(records, curves, name, width):
    with use_style(FigureStyle(width, footer="Made from: " + "x " * 100)):
        fig = drawn(name, records, curves)
        layout(fig)
        render_figure(fig, "png")
    legend, footer = fig.legends[0].get_window_extent(), fig.texts[0].get_window_extent()
    boxes = [ax.get_tightbbox() for ax in fig.axes]
    assert footer.y1 <= legend.y0 + 1
    for i, box in enumerate(boxes):
        assert box.y0 >= legend.y1 - 2
        assert box.x0 >= fig.bbox.x0 - 1
        assert box.x1 <= fig.bbox.x1 + 2
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_each_pair_has_its_intervals_and_unequal_budgets_are_marked(records):
    found = verdicts(records)
    few = found[0]._replace(budget=5.0, mean_as_tuned=0.01)
    ax = verdicts_figure(to_frame([few, *found[1:]])).axes[0]
    lines = [line.get_xdata() for line in ax.lines]
    assert len(ax.get_yticklabels()) == len(found)
    for each in found:
        assert any(np.allclose(x, [100 * each.low, 100 * each.high]) for x in lines)
        ends = [100 * (each.mean + sign * 1.96 * each.se_seeds) for sign in (-1, 1)]
        assert any(np.allclose(x, ends) for x in lines)
    assert any(np.allclose(x, [1.0]) for x in lines)


def test_what_cannot_be_told_is_not_drawn(synthetic, records):
    nothing = pd.DataFrame(columns=["arm", "k", "task"])
    open_ = verdicts(records)[0]._replace(kind="none", low=math.nan)
    for draw in (
        lambda: verdicts_figure(to_frame([open_])),
        lambda: basin_figure(nothing, nothing),
        lambda: best_of_k_figure(nothing),
        lambda: rank_figure(nothing),
        lambda: profiles_figure(nothing),
    ):
        with pytest.raises(FigureSkipped):
            draw()
