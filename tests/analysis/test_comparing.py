"""Arms of several folders: paired, unpaired or refused; and arms that searched unequally."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from adamcmp.analysis import best_cells, by_task, cells, leaderboard, verdicts
from adamcmp.analysis.choice import Choice, at_smaller_budget, choices, half_width_of_choice, near_ties, rank_weights
from adamcmp.analysis.comparing import Side, compared, left_out
from adamcmp.analysis.verdicts import alone, decided, over_seeds, over_seeds_apart, unpaired, with_choice
from adamcmp.criteria import CLASSIFICATION
from adamcmp.errors import InputError
from adamcmp.report.judging import sentences, told


def folder(synthetic, arms, seeds, **columns):
    one = synthetic.make_records(arms, lrs=[0.1], lambdas=[0.001], seeds=seeds, settings="{}", **columns)
    return one.assign(variant=one["arm"] + str(columns.get("variant", "")))


def test_welchs_verdict_is_that_of_statsmodels():
    draw = np.random.default_rng(0)
    for _ in range(10):
        x, y = draw.normal(0.1, 0.01, 8), draw.normal(0.105, 0.03, 5)
        found = unpaired("a", "b", x, y, 0.005)
        both = CompareMeans(DescrStatsW(x), DescrStatsW(y))
        assert found.p_value == pytest.approx(both.ttest_ind(usevar="unequal")[1], rel=1e-10)
        assert (found.low, found.high) == pytest.approx(both.tconfint_diff(usevar="unequal"), rel=1e-10)
        assert found.p_same == pytest.approx(both.ttost_ind(-0.005, 0.005, usevar="unequal")[0], rel=1e-10)
        assert (found.n, found.paired) == (5, False)
    equal = unpaired("a", "b", np.arange(6) / 100, np.arange(6) / 100 + 0.01, 0.0)
    effect = TTestIndPower().solve_power(nobs1=6, alpha=0.05, power=0.8)
    assert equal.detectable == pytest.approx(effect * np.std(np.arange(6) / 100, ddof=1), rel=1e-6)
    assert unpaired("a", "b", np.ones(3), np.ones(4), 0.1).kind == "none"
    assert "over 6 seeds each, unpaired (Welch)" in told(decided([equal])[0], CLASSIFICATION.error, 1)


def test_test_examples_are_drawn_alike_for_arms_that_share_no_seeds():
    draw = np.random.default_rng(0)
    example_B = draw.normal(0, 1, 4000)
    a_SB, b_SB = (example_B + draw.normal(0, 0.1, (6, 1)) for _ in "ab")
    low, high = over_seeds_apart(a_SB, b_SB)
    assert high - low < 0.5  # what both share of the examples falls out
    wide = over_seeds(a_SB)
    assert wide[1] - wide[0] > 3


def test_folders_that_share_seeds_are_paired_and_others_are_not(synthetic):
    one = folder(synthetic, {"AdamW": "lr_scaled"}, range(6))
    same = folder(synthetic, {"AdamW": "lr_scaled"}, range(2, 9), noise=0.01)
    other = folder(synthetic, {"AdamW": "lr_scaled"}, range(10, 16), noise=0.01)
    for second, paired, n in ((same, True, 4), (other, False, 6)):
        records = compared([Side("one", one, "one"), Side("two", second, "two")])
        (task,) = by_task(records)
        (found,) = verdicts(task.records, best_cells(cells(task.records)))
        assert {found.a, found.b} == {"one: AdamW", "two: AdamW"}
        assert (found.paired, found.n) == (paired, n)
        x, y = (task.records.set_index(["arm", "seed"])["final_test_error"].loc[arm] for arm in found[:2])
        if paired:
            assert found.mean == pytest.approx((x - y).mean())
        else:
            assert found.p_value == pytest.approx(stats.ttest_ind(x, y, equal_var=False).pvalue)


def test_arms_of_one_name_are_compared_with_each_other_and_others_with_all(synthetic):
    both = {"Adam": "l2", "AdamW": "lr_scaled"}
    one, two = folder(synthetic, both, range(4)), folder(synthetic, both, range(4), noise=0.01)
    sgd = folder(synthetic, {"SGD": "l2"}, range(4))

    def pairs(*sides):
        (task,) = by_task(compared(sides))
        return {frozenset(each[:2]) for each in verdicts(task.records, best_cells(cells(task.records)))}

    first, second, third = (Side(name, each, name) for name, each in (("one", one), ("two", two), ("sgd", sgd)))
    assert pairs(first, second) == {frozenset((f"one: {arm}", f"two: {arm}")) for arm in both}
    assert pairs(first, third) == {frozenset((f"one: {arm}", "sgd: SGD")) for arm in both}
    other = json.dumps({"optimizer": {"eps": 1e-6}, "schedule": {"name": "constant"}, "targets": "classes"})
    usual = json.dumps({"optimizer": {"eps": 1e-8}, "schedule": {"name": "cosine"}, "targets": "classes"})
    varied = two.assign(settings=other, variant="of two " + two["variant"])
    assert pairs(Side("one", one.assign(settings=usual), "one"), Side("two", varied, "two")) == {
        frozenset((f"one: {arm} · eps=1e-08 · cosine", f"two: {arm} · eps=1e-06 · constant")) for arm in both
    }
    adam = one[one["arm"] == "Adam"]
    assert pairs(Side("adam", adam), Side("SGD", sgd)) == {frozenset(("Adam", "SGD"))}


def test_a_single_cell_needs_no_confirming(synthetic):
    tuned = synthetic.confirmed(
        synthetic.make_records({"AdamW": "lr_scaled"}, lrs=[0.1, 0.2], lambdas=[0.001], settings="{}")
    ).assign(variant="AdamW")
    single = folder(synthetic, {"SGD": "l2"}, range(5))
    (task,) = by_task(compared([Side("a", tuned, "a"), Side("b", single, "b")]))
    (found,) = verdicts(task.records, best_cells(cells(task.records)))
    assert (found.n, found.paired) == (5, False)
    board = leaderboard(task.records).set_index("arm")
    assert board["stage"].to_dict() == {"a: AdamW": "confirm", "b: SGD": "tune"}
    assert board.loc["b: SGD", "note"] == ""
    assert board["n"].to_dict() == {"a: AdamW": 8, "b: SGD": 5}


def test_what_shares_no_task_is_refused_and_what_is_left_out_is_told(synthetic):
    one = folder(synthetic, {"AdamW": "lr_scaled"}, range(4))
    other = folder(synthetic, {"AdamW": "lr_scaled"}, range(4), task="other", task_label="mnist · cnn")
    with pytest.raises(InputError, match=r"no two of these share a task: a is digits.*; b is mnist · cnn"):
        compared([Side("a", one, "a"), Side("b", other, "b")])
    both = pd.concat([one.assign(run_id="x" + one["run_id"]), other], ignore_index=True)
    sides = [Side("a", one, "a"), Side("b", both, "b")]
    records = compared(sides)
    assert set(records["task_label"]) == set(one["task_label"])
    assert left_out(sides, records) == ["b: 4 runs of mnist · cnn have nothing to be compared with"]


def searched(draw, count, seeds=5, tried=None, which=None):
    validation = 0.1 + 0.02 * np.arange(count)[:, None] / count + draw.normal(0, 0.004, (count, seeds))
    places = [(float(i + 1), 0.0) for i in range(count)]
    return Choice(
        validation,
        validation + draw.normal(0, 0.002, (count, seeds)),
        tried or count,
        which or tuple(range(seeds)),
        places,
    )


def test_the_smaller_budget_is_what_the_best_of_so_many_cells_would_have_brought():
    draw = np.random.default_rng(0)
    large, small = searched(draw, 30), searched(draw, 3)
    assert at_smaller_budget(large, searched(draw, 30)) is None
    budget, shift, half = at_smaller_budget(large, small)
    assert budget == 15
    order = large.validation_CT.mean(1).argsort()
    expected = large.test_CT.mean(1)[order] @ rank_weights(30, 3) - large.test_CT.mean(1)[order[0]]
    assert shift == pytest.approx(expected)
    assert half > 0
    assert at_smaller_budget(small, large)[1] == pytest.approx(-shift)
    more_seeds = searched(draw, 30, seeds=10)
    assert at_smaller_budget(more_seeds, small)[1] > shift - 0.01  # 15 runs are one cell of ten seeds
    assert more_seeds.best_of(1).shift > more_seeds.best_of(3).shift > more_seeds.best_of(30).shift == pytest.approx(0)


def test_what_the_choice_adds_at_the_smaller_budget_is_that_of_all_draws():
    draw = np.random.default_rng(4)
    large, small = searched(draw, 6, seeds=4), searched(draw, 2, seeds=4)
    _, shift, half = at_smaller_budget(large, small)
    mean = large.test_CT.mean(1)
    of_small, off = small.test_CT.mean(1), []
    for seeds in itertools.product(range(4), repeat=4):
        order = large.validation_CT[:, seeds].mean(1).argsort(kind="stable")
        best = small.validation_CT[:, seeds].mean(1).argmin()
        off.append(
            mean[order] @ rank_weights(6, 2) - mean[large.place] - shift - of_small[best] + of_small[small.place]
        )
    order = large.validation_CT.mean(1).argsort()
    found = [min(search, key=list(order).index) for search in itertools.combinations(range(6), 2)]
    expected = np.hypot(
        stats.t.ppf(0.975, 3) * np.sqrt(np.mean(np.square(off))), stats.norm.ppf(0.975) * mean[found].std()
    )
    assert half == pytest.approx(expected, rel=0.05)


def test_of_several_pairs_the_choice_counts_more():
    draw = np.random.default_rng(6)
    one, other = searched(draw, 6), searched(draw, 6)
    d = draw.normal(-0.01, 0.0005, 12)
    pair, among = (with_choice(alone("a", "b", d, 0.001), one, other, pairs) for pairs in (1, 6))
    assert (pair.choice_factor, among.choice) == (1, pair.choice)
    assert among.choice_factor == pytest.approx(stats.t.ppf(1 - 0.025 / 6, 4) / stats.t.ppf(0.975, 4))
    near = 0.009 / among.choice_factor  # within the interval that counts, and beyond the one that is shown
    kinds = [decided([each._replace(choice=near * 1.2)])[0].kind for each in (pair, among)]
    assert kinds == ["apart", "open"]


def test_where_nothing_was_searched_there_is_no_effort():
    draw = np.random.default_rng(5)
    one, other = searched(draw, 1, seeds=3), searched(draw, 1, seeds=8)
    assert at_smaller_budget(one, other) is None
    assert at_smaller_budget(one, searched(draw, 4))[0] == 3


def test_the_larger_search_must_be_better_at_the_smaller_budget_too():
    draw = np.random.default_rng(1)
    large, small = searched(draw, 60), searched(draw, 2)
    d = draw.normal(-0.004, 0.0005, 12)
    single = with_choice(alone("many", "few", d, 0.0001), large, small)
    assert single.high_at_budget > 0
    assert single.mean_at_budget > single.mean
    found = decided([single._replace(choice=0.0005)])[0]
    assert found.kind == "open"
    assert decided([found._replace(budget=float("nan"))])[0].kind == "apart"
    words = told(found, CLASSIFICATION.error, 1)
    assert "They searched unequally: by the best of what 10 runs of each would have found" in words
    assert "give both as many runs" in words


def test_optimizers_of_several_variants_are_told(synthetic):
    records = folder(synthetic, {"A": "l2", "B": "l2", "C": "l2"}, range(4))
    (task,) = by_task(records)
    found = verdicts(task.records, best_cells(cells(task.records)))
    assert "variants" not in " ".join(sentences(task, found))
    assert sentences(task, found)[-1] == (
        "The test part counts as given: of these runs no outcomes of test examples are stored."
    )
    task.records["optimizer"] = task.records["optimizer"].replace("C", "B")
    assert sentences(task, found)[-1].startswith("Optimizers were tried in unequal numbers of variants (A 1, B 2)")


def test_seeds_that_both_were_tuned_with_are_drawn_together_and_others_apart():
    draw = np.random.default_rng(2)
    one = searched(draw, 6)
    assert half_width_of_choice(one, one) == 0
    apart = replace(one, which=tuple(range(100, 105)))
    expected = np.sqrt(2) * half_width_of_choice(one, searched(draw, 1))
    assert half_width_of_choice(one, apart) == pytest.approx(expected)


def test_near_ties_are_told(synthetic):
    records = synthetic.make_records({"A": "l2", "B": "l2"}, lrs=[1e-3, 1e-2], lambdas=[0.0], seeds=range(4))
    records["final_validation_error"] = 0.1 + np.random.default_rng(3).normal(0, 0.01, len(records))
    records.loc[(records["arm"] == "B") & (records["lr"] > 5e-3), "final_validation_error"] = 0.5
    found = choices(records)
    (place, share), *_ = near_ties(found["A"])
    best = best_cells(cells(records)).set_index("arm")["lr"]
    assert place[0] != best["A"]
    assert share == pytest.approx(1 - found["A"].wins_C.max())
    assert near_ties(found["B"]) == []
    board = leaderboard(records).set_index("arm")
    assert board.loc["A", "next_lr"] == place[0]
    assert board["near_ties"].to_dict() == {"A": 1, "B": 0}
    assert board.loc["B", "wins"] == 1
