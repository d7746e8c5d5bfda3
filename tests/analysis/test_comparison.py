"""Arms of several folders: paired, unpaired or refused; and arms that searched unequally."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from scipy import stats

from adamcmp.analysis import leaderboard, split_by_task, trials_table, verdicts
from adamcmp.errors import InputError
from adamcmp.report.comparison import Source, compare_sources, unmatched_runs
from adamcmp.report.warnings import collect_warnings


def folder(synthetic, arms, seeds, **columns):
    one = synthetic.make_records(arms, lrs=[0.1], lambdas=[0.001], seeds=seeds, settings="{}", **columns)
    return one.assign(variant=one["arm"] + str(columns.get("variant", "")))


def test_folders_that_share_seeds_are_paired_and_others_are_not(synthetic):
    one = folder(synthetic, {"AdamW": "lr_scaled"}, range(6))
    same = folder(synthetic, {"AdamW": "lr_scaled"}, range(2, 9), noise=0.01)
    other = folder(synthetic, {"AdamW": "lr_scaled"}, range(10, 16), noise=0.01)
    for second, paired, n in ((same, True, 4), (other, False, 6)):
        records = compare_sources([Source("one", one, "one"), Source("two", second, "two")])
        (task,) = split_by_task(records)
        (found,) = verdicts(task.records)
        assert {found.a, found.b} == {"one: AdamW", "two: AdamW"}
        assert (found.paired, found.n) == (paired, n)
        x, y = (task.records.set_index(["arm", "seed"])["final_test_error"].loc[arm] for arm in found[:2])
        if paired:
            assert found.mean == pytest.approx((x - y).mean())
        else:
            welch = stats.ttest_ind(x, y, equal_var=False)
            assert found.se_seeds == pytest.approx(abs(found.mean / welch.statistic))


def test_arms_of_one_name_are_compared_with_each_other_and_others_with_all(synthetic):
    both = {"Adam": "l2", "AdamW": "lr_scaled"}
    one, two = folder(synthetic, both, range(4)), folder(synthetic, both, range(4), noise=0.01)
    sgd = folder(synthetic, {"SGD": "l2"}, range(4))

    def pairs(*sides):
        (task,) = split_by_task(compare_sources(sides))
        return {frozenset(each[:2]) for each in verdicts(task.records)}

    first, second, third = (Source(name, each, name) for name, each in (("one", one), ("two", two), ("sgd", sgd)))
    assert pairs(first, second) == {frozenset((f"one: {arm}", f"two: {arm}")) for arm in both}
    assert pairs(first, third) == {frozenset((f"one: {arm}", "sgd: SGD")) for arm in both}
    other = json.dumps({"optimizer": {"eps": 1e-6}, "schedule": {"name": "constant"}, "targets": "classes"})
    usual = json.dumps({"optimizer": {"eps": 1e-8}, "schedule": {"name": "cosine"}, "targets": "classes"})
    varied = two.assign(settings=other, variant="of two " + two["variant"])
    assert pairs(Source("one", one.assign(settings=usual), "one"), Source("two", varied, "two")) == {
        frozenset((f"one: {arm} · eps=1e-08 · cosine", f"two: {arm} · eps=1e-06 · constant")) for arm in both
    }
    adam = one[one["arm"] == "Adam"]
    assert pairs(Source("adam", adam), Source("SGD", sgd)) == {frozenset(("Adam", "SGD"))}


def test_a_single_cell_needs_no_confirming(synthetic):
    tuned = synthetic.confirmed(
        synthetic.make_records({"AdamW": "lr_scaled"}, lrs=[0.1, 0.2], lambdas=[0.001], settings="{}")
    ).assign(variant="AdamW")
    single = folder(synthetic, {"SGD": "l2"}, range(5))
    (task,) = split_by_task(compare_sources([Source("a", tuned, "a"), Source("b", single, "b")]))
    (found,) = verdicts(task.records)
    assert (found.n, found.paired) == (5, False)
    board = leaderboard(task.records).set_index("arm")
    assert board["stage"].to_dict() == {"a: AdamW": "confirm", "b: SGD": "tune"}
    assert board.loc["b: SGD", "note"] == ""
    assert board["n"].to_dict() == {"a: AdamW": 8, "b: SGD": 5}


def test_what_shares_no_task_is_refused_and_what_is_left_out_is_told(synthetic):
    one = folder(synthetic, {"AdamW": "lr_scaled"}, range(4))
    other = folder(synthetic, {"AdamW": "lr_scaled"}, range(4), task="other", task_label="mnist · cnn")
    with pytest.raises(InputError, match=r"no two of these share a task: a is digits.*; b is mnist · cnn"):
        compare_sources([Source("a", one, "a"), Source("b", other, "b")])
    both = pd.concat([one.assign(run_id="x" + one["run_id"]), other], ignore_index=True)
    sides = [Source("a", one, "a"), Source("b", both, "b")]
    records = compare_sources(sides)
    assert set(records["task_label"]) == set(one["task_label"])
    assert unmatched_runs(sides, records) == ["b: 4 runs of mnist · cnn have nothing to be compared with"]


def test_optimizers_of_several_variants_are_told(synthetic):
    records = folder(synthetic, {"A": "l2", "B": "l2", "C": "l2"}, range(4))
    (task,) = split_by_task(records)
    found = verdicts(task.records)

    def texts() -> str:
        records = task.records
        return " ".join(
            each.text for each in collect_warnings(leaderboard(records), trials_table(records), records, found)
        )

    assert "variants" not in texts()
    assert "Test examples are not counted" in texts()
    task.records["optimizer"] = task.records["optimizer"].replace("C", "B")
    assert "Different numbers of variants per optimizer (A 1, B 2)" in texts()
