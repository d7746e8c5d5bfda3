"""Figures of verdicts, basins, budgets, ranks and profiles: what they show, and that it has room."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from adamcmp.analysis import best_cells, by_task, cells, criteria_of, verdicts
from adamcmp.analysis.basin import basins
from adamcmp.analysis.budget import best_of_k
from adamcmp.analysis.ranks import ranks, to_targets
from adamcmp.analysis.sensitivity import sensitivities
from adamcmp.report.budget import budget_figure, profiles_figure, ranks_figure
from adamcmp.report.forest import verdicts_figure
from adamcmp.report.intervals import basin_figure
from adamcmp.report.style import NotDrawn, arrange, render

LONG = {f"an optimizer {i} with a rather long name": decay for i, decay in enumerate(("l2", "lr_scaled", "l2"))}


@pytest.fixture(scope="module", params=[None, LONG], ids=["usual names", "long names"])
def records(synthetic, request):
    return synthetic.confirmed(synthetic.make_records(request.param))


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
    return to_targets(by_task(pd.concat(tasks)), pd.concat(parts))


def drawn(name, records, curves):
    table, criteria = cells(records), criteria_of(records)
    best, footer = best_cells(table), "Made from: " + "x" * 200
    return {
        "verdicts": lambda: verdicts_figure(verdicts(records, best), criteria, footer),
        "basin": lambda: basin_figure(basins(records, table), sensitivities(records, table), criteria, footer),
        "budget": lambda: budget_figure(best_of_k(records, table), criteria, footer),
        "ranks": lambda: ranks_figure(ranks(curves, records, best), footer),
        "profiles": lambda: profiles_figure(two_tasks(records, curves), footer),
    }[name]()


@pytest.mark.parametrize("name", ["verdicts", "basin", "budget", "ranks", "profiles"])
def test_nothing_overlaps_and_nothing_is_cut_off(records, curves, name):
    fig = drawn(name, records, curves)
    arrange(fig)
    render(fig, "png")
    legend, footer = fig.legends[0].get_window_extent(), fig.texts[0].get_window_extent()
    boxes = [ax.get_tightbbox() for ax in fig.axes]
    assert footer.y1 <= legend.y0 + 1
    for i, box in enumerate(boxes):
        assert box.y0 >= legend.y1 - 2
        assert box.x0 >= fig.bbox.x0 - 1
        assert box.x1 <= fig.bbox.x1 + 2
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_each_pair_has_its_intervals_and_what_changes_at_the_smaller_budget(records):
    best = best_cells(cells(records))
    found = verdicts(records, best)
    few = found[0]._replace(budget=5.0, mean_at_budget=0.01, low_at_budget=0.0, high_at_budget=0.02)
    ax = verdicts_figure([few, *found[1:]], criteria_of(records)).axes[0]
    lines = [line.get_xdata() for line in ax.lines]
    assert len(ax.get_yticklabels()) == len(found)
    for each in found:
        assert any(np.allclose(x, [100 * each.low, 100 * each.high]) for x in lines)
        assert any(np.allclose(x, 100 * np.array(each.widest)) for x in lines)
    assert any(np.allclose(x, [1.0]) for x in lines)


def test_what_cannot_be_told_is_not_drawn(synthetic, records):
    criteria, nothing = criteria_of(records), pd.DataFrame(columns=["arm", "k", "task"])
    open_ = verdicts(records, best_cells(cells(records)))[0]._replace(kind="none", low=math.nan)
    for draw in (
        lambda: verdicts_figure([open_], criteria),
        lambda: basin_figure([], [], criteria),
        lambda: budget_figure(nothing, criteria),
        lambda: ranks_figure(nothing),
        lambda: profiles_figure(nothing),
    ):
        with pytest.raises(NotDrawn):
            draw()
