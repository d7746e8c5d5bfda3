from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest

from adamcmp import analysis
from adamcmp.analysis import (
    best_trials,
    grid_boundaries,
    leaderboard,
    mean_curves,
    split_by_task,
    trials_table,
)
from adamcmp.analysis.selection import ranked_trials

LRS, LAMBDAS = [1e-4, 1e-3, 1e-2], [0.0, 1e-3, 1e-2]


@pytest.fixture(scope="module")
def records(synthetic):
    return synthetic.make_records()


def small(synthetic, errors, *, seeds=(0, 1), lrs=LRS, lambdas=LAMBDAS):
    """One arm whose validation errors are given, per (lr, λ): all else equal."""
    records = synthetic.make_records({"AdamW": "lr_scaled"}, lrs, lambdas, seeds, noise=0.0)
    for column in ("final_validation_error", "final_validation_loss"):
        records[column] = 0.5
    for (lr, decay), value in errors.items():
        hit = (records["lr"] == lr) & (records["weight_decay"] == decay)
        records.loc[hit, "final_validation_error"] = value
    return records


def chosen(records):
    best = best_trials(trials_table(records)).iloc[0]
    return best["lr"], best["weight_decay"]


def test_cells_hold_the_mean_and_interval_over_seeds(synthetic, records):
    table = trials_table(records)
    assert len(table) == 4 * 6 * 7
    row = table.iloc[50]
    runs = records[(records["arm"] == row["arm"]) & (records["lr"] == row["lr"])]
    runs = runs[runs["weight_decay"] == row["weight_decay"]]
    for metric in analysis.METRICS:
        expected = synthetic.mean_interval(runs[metric])
        assert (row[metric], row[f"{metric}_half_width"], row["n"]) == pytest.approx(expected)


def test_the_known_minimum_is_found(synthetic):
    records = synthetic.make_records(noise=0.0)
    best = best_trials(trials_table(records))
    assert (best["lr"] == sorted(records["lr"].unique())[3]).all()
    assert (best["weight_decay"] == sorted(records["weight_decay"].unique())[4]).all()


def test_permuting_all_test_columns_changes_no_selection(records):
    shuffled = records.copy()
    touching_test = [c for c in records if "test" in str(c) or str(c).endswith("gap")]
    assert len(touching_test) == 9
    order = np.random.default_rng(3).permutation(len(records))
    shuffled[touching_test] = records[touching_test].to_numpy()[order]
    before, after = trials_table(records), trials_table(shuffled)
    assert not before["final_test_error"].equals(after["final_test_error"])
    assert list(ranked_trials(before).index) == list(ranked_trials(after).index)
    assert leaderboard(records)["arm"].equals(leaderboard(shuffled)["arm"])


def test_cells_do_not_depend_on_the_order_of_the_runs(records):
    pd.testing.assert_frame_equal(
        trials_table(records), trials_table(records.sample(frac=1, random_state=4)), check_exact=True
    )


def test_ties_go_to_the_lower_loss_then_the_smaller_lr_then_the_smaller_decay(synthetic):
    records = small(synthetic, {})
    assert chosen(records) == (1e-4, 0.0)
    records.loc[(records["lr"] > 1e-4) & (records["weight_decay"] > 0), "final_validation_loss"] = 0.4
    assert chosen(records) == (1e-3, 1e-3)
    records.loc[(records["lr"] == 1e-2) & (records["weight_decay"] == 1e-2), "final_validation_error"] = 0.49
    assert chosen(records) == (1e-2, 1e-2)


def test_means_that_differ_in_the_last_bit_are_a_tie(synthetic):
    records = small(synthetic, {}, seeds=(0, 1, 2))
    first = (records["lr"] == 1e-4) & (records["weight_decay"] == 0)
    last = (records["lr"] == 1e-2) & (records["weight_decay"] == 1e-2)
    records.loc[first, "final_validation_error"] = [0.1, 0.2, 0.3]  # their mean is one bit above 0.2
    records.loc[last, "final_validation_error"] = [0.2, 0.2, 0.2]
    assert np.mean([0.1, 0.2, 0.3]) > 0.2
    assert chosen(records) == (1e-4, 0.0)


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_diverged_and_failed_runs_enter_no_mean_and_bar_their_cell(synthetic, status):
    records = small(synthetic, {(1e-3, 1e-3): 0.1, (1e-2, 1e-3): 0.2})
    hit = (records["lr"] == 1e-3) & (records["weight_decay"] == 1e-3) & (records["seed"] == 1)
    ended = synthetic.end(records, hit, status, "boom")
    cell = trials_table(ended).query("lr == 1e-3 and weight_decay == 1e-3").iloc[0]
    assert (cell["n"], cell[status], cell["runs"], bool(cell["eligible"])) == (1, 1, 2, False)
    assert cell["final_validation_error"] == pytest.approx(0.1)
    assert chosen(ended) == (1e-2, 1e-3)


def test_a_cell_without_completed_runs_is_a_row_of_nan(synthetic):
    records = small(synthetic, {})
    gone = synthetic.end(records, records["lr"] == 1e-2, "diverged")
    lost = trials_table(gone).query("lr == 1e-2")
    assert len(lost) == 3
    assert lost["final_test_error"].isna().all()
    assert (lost["n"] == 0).all()
    assert not lost["eligible"].any()


def test_a_cell_with_fewer_seeds_than_most_is_not_eligible_and_one_with_more_is(synthetic):
    records = small(synthetic, {(1e-3, 1e-3): 0.1}, seeds=(0, 1, 2))
    at = (records["lr"] == 1e-3) & (records["weight_decay"] == 1e-3)
    assert chosen(records[~(at & (records["seed"] == 2))]) != (1e-3, 1e-3)
    assert chosen(records[at | (records["seed"] < 2)]) == (1e-3, 1e-3)


def test_eligibility_is_judged_within_each_arm(synthetic, records):
    fewer = records[(records["arm"] != "SGDW") | (records["seed"] == 0)]
    assert set(best_trials(trials_table(fewer))["arm"]) == set(records["arm"])


def test_top_cells_are_the_k_best_in_order_and_begin_with_the_best(records):
    table = trials_table(records)
    top = ranked_trials(table).groupby("arm").head(10)
    own = top[top["arm"] == "AdamW"]["final_validation_error"]
    assert own.is_monotonic_increasing
    assert own.max() <= table[(table["arm"] == "AdamW") & ~table.index.isin(own.index)]["final_validation_error"].min()
    assert list(top.groupby("arm").head(1).index) == list(best_trials(table).index)


@pytest.mark.parametrize(
    ("at", "sides"),
    [
        ((1e-3, 1e-3), []),
        ((1e-4, 1e-3), ["lr low"]),
        ((1e-2, 1e-2), ["lr high", "λ high"]),
        ((1e-3, 0.0), []),
    ],
)
def test_edges(synthetic, at, sides):
    table = trials_table(small(synthetic, {at: 0.1}))
    assert grid_boundaries(table, best_trials(table).iloc[0]) == sides


def test_the_lowest_decay_is_an_edge_only_above_zero_and_an_axis_of_one_value_has_none(synthetic):
    table = trials_table(small(synthetic, {(1e-3, 1e-3): 0.1}, lambdas=[1e-3, 1e-2]))
    assert grid_boundaries(table, best_trials(table).iloc[0]) == ["λ low"]
    table = trials_table(small(synthetic, {}, lrs=[1e-3], lambdas=[1e-2]))
    assert grid_boundaries(table, best_trials(table).iloc[0]) == []


def test_leaderboard_numbers_equal_those_worked_out_by_hand(synthetic):
    records = small(synthetic, {(1e-3, 1e-3): 0.1})
    at = (records["lr"] == 1e-3) & (records["weight_decay"] == 1e-3)
    records.loc[at, "final_test_error"] = [0.10, 0.14]
    records.loc[at, "best_test_error"] = [0.20, 0.22]
    records = synthetic.end(records, records["lr"] == 1e-2, "diverged")
    row = leaderboard(records).iloc[0]
    t = 12.706204736432095  # Student's t, 0.975 quantile, one degree of freedom
    assert row["final_test_error"] == pytest.approx(0.12)
    assert row["final_test_error_half_width"] == pytest.approx(t * 0.02)  # s = 0.02 √2, over √2
    assert row["best_test_error"] == pytest.approx(0.21)
    assert (row["lr"], row["weight_decay"], row["decay"]) == (1e-3, 1e-3, "lr_scaled")
    assert (row["n"], row["trials"], row["runs"], row["diverged"], row["failed"]) == (2, 9, 18, 6, 0)
    assert (row["edge"], row["note"]) == ("", "")


def test_leaderboard_is_sorted_and_arms_without_a_best_cell_stand_last_with_the_reason(synthetic, records):
    board = leaderboard(synthetic.end(records, records["arm"] == "AdamW", "diverged"))
    assert board["final_validation_error"].dropna().is_monotonic_increasing
    last = board.iloc[-1]
    assert (last["arm"], last["diverged"], last["n"]) == ("AdamW", 126, 0)
    assert math.isnan(last["lr"])
    assert last["note"] == "no completed run: 126 diverged, 0 failed"
    partly = leaderboard(synthetic.end(records, (records["arm"] == "AdamW") & (records["seed"] == 0), "failed", "x"))
    assert partly.iloc[-1]["note"].startswith("no trial completed on every seed: ")


def test_one_seed_is_said_and_has_no_interval(synthetic):
    row = leaderboard(synthetic.make_records(seeds=(0,))).iloc[0]
    assert row["note"] == "one seed: no interval"
    assert math.isnan(row["final_test_error_half_width"])


def test_tasks_are_kept_apart_the_latest_first(synthetic, records):
    other = synthetic.make_records(seeds=(0,), task="zz", task_label="mnist")
    other["finished_at"] += pd.Timedelta(days=1)
    tasks = split_by_task(pd.concat([records, other], ignore_index=True))
    assert [(t.task, t.label, len(t.records)) for t in tasks] == [
        ("zz", "mnist", len(other)),
        ("7a5c1e", records["task_label"].iat[0], len(records)),
    ]
    with pytest.raises(ValueError, match="more than one task"):
        trials_table(pd.concat([records, other]))
    assert split_by_task(records.iloc[:0]) == []


def test_an_infinite_loss_of_a_completed_run_warns_nobody(synthetic):
    records = small(synthetic, {})
    records.loc[0, "final_test_loss"] = math.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trials_table(records)["final_test_loss"].iloc[0] == math.inf


def test_mean_curves_average_the_winners_alone(synthetic, records):
    curves, best = synthetic.make_curves(records, evaluations=4), best_trials(trials_table(records))
    means = mean_curves(curves, records, best)
    assert len(means) == 4 * 4
    assert (means["n"] == 3).all()
    last = means.groupby("arm").last()
    expected = best.set_index("arm")
    assert ((last["test_error"] - expected["final_test_error"]).abs() < 1e-3).all()
    assert mean_curves(curves.iloc[:0], records, best).empty


def test_the_board_names_every_edge_and_keeps_arms_without_a_cell_last(synthetic):
    records = synthetic.make_records(
        {"B": "lr_scaled", "A": "lr_scaled", "C": "l2"}, LRS, LAMBDAS, best_lr=5.0, best_lambda=5.0, noise=0.0,
        baseline_validation_error=0.9, baseline_test_error=0.8,
    )  # fmt: skip
    records = synthetic.end(records, records["arm"] == "C", "diverged")
    board = leaderboard(records)
    assert board.index.tolist() == [0, 1, 2]
    assert board["arm"].tolist() == ["B", "A", "C"]
    assert board["edge"].tolist() == ["lr high, λ high", "lr high, λ high", ""]
    assert board["n"].tolist() == [3, 3, 0]
    assert board["n"].dtype == "int64"
    assert board["note"].tolist() == ["", "", "no completed run: 27 diverged, 0 failed"]
    assert set(board["baseline_validation_error"]) == {0.9}
    assert set(board["baseline_test_error"]) == {0.8}


def test_a_cell_whose_decay_is_not_known_is_a_cell(synthetic):
    records = synthetic.make_records({"Own": "lr_scaled"}, LRS, [0.0])
    records["weight_decay"] = math.nan
    table = trials_table(records)
    assert len(table) == len(LRS)
    assert table["final_test_error"].notna().all()
    assert table["lr"].tolist() == LRS


def test_what_cannot_be_a_cell_is_refused_and_says_why(records):
    with pytest.raises(ValueError, match=r"^records of more than one task: use split_by_task first$"):
        trials_table(pd.concat([records, records.assign(task="other")]))
    with pytest.raises(ValueError, match=r"^a trial has a seed twice; name_arms distinguishes variants of one label$"):
        trials_table(pd.concat([records, records.head(1)]))
    columns = list(trials_table(records))
    assert columns[:6] == ["arm", "lr", "weight_decay", "runs", "n", "diverged"]
