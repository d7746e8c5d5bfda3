from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import PatchCollection, PathCollection, QuadMesh
from matplotlib.figure import Figure

from adamcmp.analysis import best_trials, mean_curves, trials_table
from adamcmp.figures.error_vs_hyperparameter import error_vs_decay_figure, error_vs_lr_figure
from adamcmp.figures.error_vs_train_loss import error_vs_train_loss_figure
from adamcmp.figures.heatmap import color_limits, heatmap_figure
from adamcmp.figures.learning_curves import learning_curves_figure
from adamcmp.figures.style import FLAG_COLOR, FigureSkipped, FigureStyle, arm_styles, render_figure, use_style


@pytest.fixture(scope="module")
def records(synthetic):
    return synthetic.make_records()


@pytest.fixture(scope="module")
def table(records):
    return trials_table(records)


def panels(fig: Figure):
    return [ax for ax in fig.axes if any(isinstance(c, QuadMesh) for c in ax.collections) and ax.get_title("left")]


def meshes(fig: Figure):
    return [next(c for c in ax.collections if isinstance(c, QuadMesh)) for ax in panels(fig)]


def marks(ax, label):
    return next(c for c in ax.collections if isinstance(c, PathCollection) and c.get_label() == label)


def legend_texts(fig: Figure):
    return [text.get_text() for text in fig.legends[0].get_texts()]


def test_one_panel_an_arm_on_one_colour_scale(table):
    found = meshes(heatmap_figure(table))
    assert len(found) == 4
    assert all(mesh.norm is found[0].norm for mesh in found)


def test_colour_is_the_mean_test_error_with_zero_decay_first_and_lr_rising(table):
    fig = heatmap_figure(table)
    part = table[table["arm"] == "AdamW"]
    ax = next(ax for ax in panels(fig) if ax.get_title("left") == "AdamW")
    shown = next(c for c in ax.collections if isinstance(c, QuadMesh)).get_array()
    pivot = part.pivot(index="lr", columns="weight_decay", values="final_test_error")
    np.testing.assert_allclose(shown, 100 * pivot.to_numpy())
    assert ax.get_xticklabels()[0].get_text() == "0"


def test_ten_cells_are_circled_and_one_starred_where_selection_says(table):
    fig = heatmap_figure(table)
    best = best_trials(table).set_index("arm")
    for ax in panels(fig):
        assert len(marks(ax, "top").get_offsets()) == 10
        ((x, y),) = marks(ax, "best").get_offsets()
        row = best.loc[ax.get_title("left")]
        assert sorted(table["weight_decay"].unique())[int(x)] == row["weight_decay"]
        assert sorted(table["lr"].unique())[int(y)] == row["lr"]


def test_marks_ignore_the_test_columns(table):
    shuffled = table.copy()
    shuffled["final_test_error"] = shuffled["final_test_error"].to_numpy()[::-1]
    for one, other in zip(panels(heatmap_figure(table)), panels(heatmap_figure(shuffled)), strict=True):
        for label in ("best", "top"):
            assert np.array_equal(marks(one, label).get_offsets(), marks(other, label).get_offsets())


def test_few_cells_are_not_all_circled(synthetic):
    fig = heatmap_figure(trials_table(synthetic.make_records(lrs=[1e-3, 1e-2, 1e-1], lambdas=[0, 1e-3, 1e-2])))
    assert len(marks(panels(fig)[0], "top").get_offsets()) == 2
    assert "2 best on validation" in legend_texts(fig)


def test_diverged_cells_and_one_terrible_cell_leave_the_colour_limits(synthetic, records):
    limits = meshes(heatmap_figure(trials_table(records)))[0].get_clim()
    worst = records["lr"] == records["lr"].max()
    diverged = synthetic.end(records, worst & (records["weight_decay"] > 0.03), "diverged")
    assert meshes(heatmap_figure(trials_table(diverged)))[0].get_clim() == pytest.approx(limits, rel=0.02)
    terrible = records.copy()
    first = worst & (records["weight_decay"] == records["weight_decay"].max()) & (records["arm"] == "AdamW")
    terrible.loc[first, "final_test_error"] = 0.9
    fig = heatmap_figure(trials_table(terrible))
    assert meshes(fig)[0].get_clim() == pytest.approx(limits, rel=0.02)
    assert meshes(fig)[-1].colorbar.extend == "max"


def test_colour_limits_show_a_bowl_but_its_corners_and_cut_a_plateau_at_chance():
    u, v = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41))
    bowl = (5 + 10 * (u**2 + v**2)).ravel()
    low, high, clipped = color_limits(bowl)
    assert (low, clipped) == (5, True)
    assert high == pytest.approx(5 + 10 * 4 / np.pi, abs=0.3)  # area π r²/4 = 1/4 at r² = 1/π
    low, high, clipped = color_limits(np.concatenate([bowl, np.full(bowl.size, 90.0)]))
    assert (low, clipped) == (5, True)
    assert high <= 25
    smooth = np.linspace(2, 4, 50)
    assert color_limits(smooth) == (2, 4, False)
    assert color_limits(np.array([])) == (0, 1, False)
    assert color_limits(np.array([15559.0, 15580, 16698, 16703])) == (15559, 16703, False)
    low, high, _ = color_limits(np.array([3.0, 3.0, np.nan]))
    assert low == 3 < high


def test_diverged_cells_are_hatched_failed_ones_crossed_and_missing_ones_blank(synthetic, records):
    worst = (records["lr"] == records["lr"].max()) & (records["arm"] == "AdamW")
    zero, high = records["weight_decay"] == 0, records["weight_decay"] == records["weight_decay"].max()
    changed = synthetic.end(records, worst & high, "diverged")
    changed = synthetic.end(changed, worst & zero, "failed", "boom")
    changed = changed[~((changed["arm"] == "SGDW") & zero & (changed["lr"] < 1e-3))]
    fig = heatmap_figure(trials_table(changed))
    ax = next(ax for ax in panels(fig) if ax.get_title("left") == "AdamW")
    hatched = [c for c in ax.collections if isinstance(c, PatchCollection) and c.get_hatch()]
    assert sum(len(c.get_paths()) for c in hatched) == 1
    assert len(marks(ax, "failed").get_offsets()) == 1
    assert legend_texts(fig)[-3:] == ["diverged", "failed", "not run"]


def test_a_best_cell_on_the_edge_is_flagged(synthetic):
    inside = heatmap_figure(trials_table(synthetic.make_records()))
    assert not any("edge" in text for text in legend_texts(inside))
    edge = heatmap_figure(trials_table(synthetic.make_records(best_lr=10.0)))
    assert "best, on the edge of the grid" in legend_texts(edge)
    assert mpl.colors.to_hex(marks(panels(edge)[0], "best").get_facecolor()[0]).upper() == FLAG_COLOR


@pytest.mark.parametrize("arms", [1, 4, 5, 10])
def test_any_number_of_arms_fits(synthetic, arms):
    names = {f"optimizer {i} with a rather long name": "l2" for i in range(arms)}
    with use_style(FigureStyle(footer="made from " * 30)):
        fig = heatmap_figure(trials_table(synthetic.make_records(names, seeds=(0,))))
    assert len(panels(fig)) == arms
    assert len(render_figure(fig, "png")) > 10_000


@pytest.mark.parametrize("width", ["single", "double"])
def test_nothing_overlaps_and_nothing_is_cut_off(records, width):
    with use_style(FigureStyle(width, footer="Made from: " + "x " * 100)):
        fig = heatmap_figure(trials_table(records))
        render_figure(fig, "png")
    inner = fig.bbox
    legend, footer = fig.legends[0].get_window_extent(), fig.texts[0].get_window_extent()
    boxes = [ax.get_tightbbox() for ax in fig.axes]
    assert footer.y1 <= legend.y0 + 1
    for i, box in enumerate(boxes):
        assert box.y0 >= legend.y1 - 1
        assert box.x0 >= inner.x0 - 1
        assert box.x1 <= inner.x1 + 1
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_the_looks_of_arms_do_not_depend_on_the_order_of_the_runs():
    names = ["SGDW", "Adam", "AdamW"]
    assert arm_styles(names) == arm_styles(sorted(names))
    many = arm_styles(str(i) for i in range(20))
    assert len(set(map(str, many.values()))) == 20
    assert len({(look.marker, str(look.dash)) for look in arm_styles(map(str, range(8))).values()}) == 8  # in grey too


def test_the_looks_of_arms_are_the_same_in_figures_that_lack_some():
    with use_style(FigureStyle(arms=("Adam", "AdamW", "SGDW"))):
        assert (
            arm_styles(["SGDW"])["SGDW"]
            == arm_styles(["SGDW", "Adam", "AdamW"])["SGDW"]
            != arm_styles(["Adam"])["Adam"]
        )


def test_learning_curves_show_every_winner_with_its_band(synthetic, records, table):
    fig = learning_curves_figure(mean_curves(synthetic.make_curves(records), records, best_trials(table)))
    assert [ax.get_ylabel() for ax in fig.axes] == ["validation error (%)", "test error (%)", "training loss (nat)"]
    for ax in fig.axes:
        assert len(ax.get_lines()) == 4
        assert len(ax.collections) == 4
        assert all(band.get_zorder() < line.get_zorder() for band in ax.collections for line in ax.get_lines())
    assert fig.axes[0].get_ylim() == fig.axes[1].get_ylim()
    seed = records[records["seed"] == 0]
    one = learning_curves_figure(mean_curves(synthetic.make_curves(records), seed, best_trials(table)))
    assert not one.axes[0].collections


def test_zero_decay_stands_left_of_a_break(table):
    fig = error_vs_decay_figure(table)
    assert [ax.get_title("left") for ax in fig.axes] == ["L2", "decoupled, ηαλ per step"]
    for ax in fig.axes:
        labels = [text.get_text() for text in ax.get_xticklabels()]
        assert labels[0] == "0"
        assert ax.get_xticks()[0] < table.loc[table["weight_decay"] > 0, "weight_decay"].min()


def test_bars_of_a_share_end_at_all_of_it(table):
    ax = error_vs_decay_figure(table.assign(final_test_error=0.9, final_test_error_half_width=0.4)).axes[0]
    tops = [segment[:, 1].max() for each in ax.collections for segment in each.get_segments()]
    assert max(tops) == pytest.approx(100)


def test_profiles_show_test_error_at_the_cell_that_validation_chose(table):
    line = error_vs_lr_figure(table[table["arm"] == "AdamW"]).axes[0].get_lines()[0]
    part = table[table["arm"] == "AdamW"]
    chosen = part.loc[part.groupby("lr")["final_validation_error"].idxmin()].sort_values("lr")
    np.testing.assert_allclose(line.get_ydata(), 100 * chosen["final_test_error"])


def test_each_completed_cell_is_one_point(synthetic, records):
    diverged = synthetic.end(records, records["lr"] == records["lr"].max(), "diverged")
    ax = error_vs_train_loss_figure(trials_table(diverged)).axes[0]
    points = [c for c in ax.collections if c.get_label() != "winner"]
    assert sum(len(c.get_offsets()) for c in points) == 4 * 5 * 7
    assert sum(c.get_label() == "winner" for c in ax.collections) == 4


def test_what_cannot_be_drawn_says_why(synthetic, records):
    line = trials_table(synthetic.make_records(lambdas=[0.0]))
    for draw in (heatmap_figure, error_vs_decay_figure):
        with pytest.raises(FigureSkipped, match="two"):
            draw(line)
    assert error_vs_lr_figure(line).axes
    with pytest.raises(FigureSkipped, match="curves"):
        learning_curves_figure(
            mean_curves(synthetic.make_curves(records).iloc[:0], records, best_trials(trials_table(records)))
        )
    gone = trials_table(synthetic.end(records, records["lr"] > 0, "diverged"))
    assert len(panels(heatmap_figure(gone))) == 4
    for draw in (error_vs_decay_figure, error_vs_lr_figure, error_vs_train_loss_figure):
        with pytest.raises(FigureSkipped):
            draw(gone)


def test_the_same_cells_give_the_same_pdf(table):
    assert render_figure(heatmap_figure(table), "pdf") == render_figure(
        heatmap_figure(table), "pdf"
    )  # png and svg: test_sections.py


def test_matplotlibs_own_settings_stay_as_they_were(table):
    before = dict(mpl.rcParams)
    render_figure(heatmap_figure(table), "svg")
    assert dict(mpl.rcParams) == before


def test_where_more_is_better_the_same_cells_are_dark_and_the_scale_is_cut_below(synthetic):
    plain = synthetic.make_records()
    columns = [name for name in plain if name.endswith("_error") and plain[name].dtype == float]
    turned = plain.assign(**{name: 1 - plain[name] for name in columns})
    turned = turned.assign(loss="bce", error_metric="f1", error_unit="1", error_better="higher")
    one, other = (heatmap_figure(trials_table(each)) for each in (plain, turned))
    for mesh, mirrored in zip(meshes(one), meshes(other), strict=True):
        np.testing.assert_allclose(
            mesh.cmap(mesh.norm(mesh.get_array())), mirrored.cmap(mirrored.norm(mirrored.get_array())), atol=0.02
        )
    bars = [next(ax for ax in fig.axes if ax.get_label() == "<colorbar>") for fig in (one, other)]
    assert [bar.get_ylabel() for bar in bars] == ["final test error (%)", "final test F1 (%)"]
    assert bars[0]._colorbar.extend in {"max", "neither"}
    assert bars[1]._colorbar.extend in {"min", "neither"}


def test_quantities_are_told_in_their_unit_and_losses_of_them_in_none(synthetic):
    records = synthetic.make_records().assign(loss="mse", error_metric="rmse", error_unit="mg/dl", error_better="lower")
    table = trials_table(records)
    assert error_vs_decay_figure(table).axes[0].get_ylabel() == "final test RMSE (mg/dl)"
    scatter = error_vs_train_loss_figure(table).axes[0]
    assert (scatter.get_xlabel(), scatter.get_ylabel()) == ("final training loss", "final test RMSE (mg/dl)")
    means = mean_curves(synthetic.make_curves(records), records, best_trials(table))
    curves = learning_curves_figure(means.assign(loss="mse", error_metric="rmse", error_unit="mg/dl"))
    assert [ax.get_ylabel() for ax in curves.axes] == ["validation RMSE (mg/dl)", "test RMSE (mg/dl)", "training loss"]
    shown = table["final_test_error"].max()
    assert np.nanmax(np.concatenate([m.get_array().ravel() for m in meshes(heatmap_figure(table))])) == pytest.approx(
        shown
    )


def test_one_evaluation_is_no_curve(synthetic, records, table):
    curves = synthetic.make_curves(records, evaluations=1)
    with pytest.raises(FigureSkipped, match=r"evaluated once.*train\.evaluations=5 makes a curve"):
        learning_curves_figure(mean_curves(curves, records, best_trials(table)))
