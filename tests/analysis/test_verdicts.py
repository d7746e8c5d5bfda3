"""Verdicts against other people's code, and against what is known of made-up differences."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from adamcmp.analysis import best_cells, cells, judged, leaderboard, mean_curves, tuning, verdicts
from adamcmp.analysis.verdicts import (
    detectable,
    equivalence_test,
    fewest_seeds,
    over_examples,
    over_seeds,
    permutation_test,
    power,
    seeds_needed,
)
from adamcmp.criteria import CLASSIFICATION, error_metric
from adamcmp.report.judging import told


@pytest.fixture
def differences():
    return np.random.default_rng(0).normal(0.4, 1.0, (20, 9))


def test_the_permutation_test_is_scipys(differences):
    for d in differences:
        oracle = stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf)
        assert permutation_test(d) == pytest.approx(oracle.pvalue, abs=1e-12)
    many = np.random.default_rng(1).normal(0.3, 1.0, 40)
    t = stats.ttest_1samp(many, 0).pvalue
    assert permutation_test(many) == pytest.approx(t, abs=0.02)  # of drawn signs
    assert permutation_test(many) == permutation_test(many)


def test_the_permutation_test_cannot_go_below_two_in_two_to_the_n():
    for n in range(2, 12):
        assert permutation_test(np.ones(n) + np.arange(n)) == 2 / 2**n
    for pairs in (1, 3, 6, 10, 45):
        n = fewest_seeds(pairs)
        assert pairs * 2 / 2**n <= 0.05 < pairs * 2 / 2 ** (n - 1)


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.5])
def test_two_one_sided_tests_are_those_of_statsmodels(differences, margin):
    for d in differences:
        expected, _, _ = ttost_paired(d, np.zeros_like(d), -margin, margin)
        assert equivalence_test(d, margin) == pytest.approx(expected, rel=1e-10)


def test_power_is_that_of_statsmodels():
    oracle = TTestPower()
    for n in (3, 8, 30):
        for effect in (0.2, 1.0, 2.5):
            expected = np.nan_to_num(oracle.power(effect, n, 0.05, alternative="two-sided"), nan=1.0)
            assert power(2 * effect, 2.0, n) == pytest.approx(expected, abs=1e-8)
        for pairs in (1, 6) if n > 3 else (1,):  # of three at so small a level statsmodels has no number
            expected = oracle.solve_power(nobs=n, alpha=0.05 / pairs, power=0.8, alternative="two-sided")
            assert detectable(2.0, n, 0.05 / pairs) == pytest.approx(2 * expected, rel=1e-6)
    for effect in (0.3, 0.9, 3.0):
        expected = oracle.solve_power(effect_size=effect, alpha=0.05, power=0.8, alternative="two-sided")
        assert seeds_needed(effect, 1.0) == pytest.approx(math.ceil(np.asarray(expected).item()), abs=1)
    assert seeds_needed(1e-4, 1.0) == math.inf


def test_power_of_few_seeds_at_a_small_level_is_how_often_they_show_it():
    level, trials = 0.05 / 6, 200_000
    for effect in (6.3, detectable(1.0, 3, level)):
        x = np.random.default_rng(0).normal(effect, 1, (trials, 3))
        shown = (stats.ttest_1samp(x, 0, axis=1).pvalue < level).mean()
        assert power(effect, 1.0, 3, level) == pytest.approx(shown, abs=4 * math.sqrt(0.25 / trials))
    assert power(detectable(1.0, 3, level), 1.0, 3, level) == pytest.approx(0.8)
    assert detectable(1.0, 2, 0.05 / 1000) > detectable(1.0, 2, level)


def two_stages(synthetic, gap=0.0, spread=0.002, seeds=8, **columns):
    """A tuned grid of two arms, and fresh seeds at the best cell of each whose test errors differ by ``gap``."""
    tuned = synthetic.make_records({"A": "lr_scaled", "B": "lr_scaled"}, best_lambda=0.01, stage="tune", **columns)
    best = best_cells(cells(tuned))
    draw, parts = np.random.default_rng(3), []
    for place, row in enumerate(best.to_dict("records")):
        cell = (
            (tuned["arm"] == row["arm"]) & (tuned["lr"] == row["lr"]) & (tuned["weight_decay"] == row["weight_decay"])
        )
        fresh = pd.concat([tuned[cell].iloc[:1]] * seeds, ignore_index=True)
        fresh["seed"] = np.arange(seeds) + 1000
        fresh["final_test_error"] = 0.1 + place * gap + spread * draw.standard_normal(seeds)
        fresh["final_validation_error"] = 0.2
        fresh["run_id"] = [f"fresh {row['arm']} {seed}" for seed in fresh["seed"]]
        parts.append(fresh.assign(stage="confirm"))
    return pd.concat([tuned, *parts], ignore_index=True), best


@pytest.mark.parametrize(
    ("gap", "spread", "kind"),
    [(0.05, 0.002, "apart"), (0.0, 0.0005, "same"), (0.003, 0.01, "open"), (0.01, 0.0, "none")],
)
def test_the_three_verdicts(synthetic, gap, spread, kind):
    records, best = two_stages(synthetic, gap, spread)
    (found,) = verdicts(records, best)
    assert (found.a, found.b, found.kind, found.n) == ("A", "B", kind, 8)
    rows = judged(records, best).set_index(["arm", "seed"])["final_test_error"]
    d = (rows["A"] - rows["B"]).to_numpy()
    assert found.mean == pytest.approx(d.mean())
    if kind != "none":
        interval = stats.ttest_1samp(d, 0).confidence_interval()
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert found.p_value == pytest.approx(permutation_test(d))
    words = {"apart": "told apart, A is better", "same": "the same to within 0.50 points",
             "open": "in four of five trials, and this difference takes", "none": "no verdict"}  # fmt: skip
    assert words[kind] in told(found, CLASSIFICATION.error, 1)


def test_the_numbers_of_a_verdict_come_from_fresh_seeds_alone(synthetic):
    records, best = two_stages(synthetic, 0.05)
    (found,) = verdicts(records, best)
    other = records.copy()
    other.loc[other["stage"] == "tune", "final_test_error"] = 0.9
    (again,) = verdicts(other, best)
    assert again._replace(choice=0.0) == found._replace(choice=0.0)  # the choice is judged by the runs that chose
    board, again = leaderboard(records), leaderboard(other)
    assert board["final_test_error"].tolist() == again["final_test_error"].tolist()
    assert again["tuned_test_error"].tolist() == pytest.approx([0.9, 0.9])


def test_a_seed_that_was_tuned_with_confirms_nothing(synthetic):
    records, best = two_stages(synthetic, 0.05)
    cheating = records.copy()
    cheating.loc[cheating["stage"] == "confirm", "seed"] -= 1000  # 0 … 7, of which tuning has seen 0, 1, 2
    rows = judged(cheating, best)
    assert sorted(rows["seed"].unique()) == [3, 4, 5, 6, 7]
    assert not set(rows["seed"]) & set(tuning(cheating)["seed"])


def test_fresh_seeds_choose_nothing(synthetic):
    records, best = two_stages(synthetic)
    misleading = records.copy()
    fresh = misleading["stage"] == "confirm"
    misleading.loc[fresh, [c for c in misleading if c.endswith("_validation_error")]] = 0.99
    pd.testing.assert_frame_equal(best_cells(cells(misleading)), best)
    assert cells(misleading)["runs"].max() == cells(tuning(records))["runs"].max()


def test_the_board_tells_both_stages_and_the_optimism(synthetic):
    records, best = two_stages(synthetic)
    board = leaderboard(records).set_index("arm")
    for row in best.to_dict("records"):
        mine = board.loc[row["arm"]]
        assert (mine["stage"], mine["n"], mine["tuned_n"]) == ("confirm", 8, 3)
        assert mine["final_validation_error"] == pytest.approx(0.2)
        assert mine["tuned_validation_error"] == pytest.approx(row["final_validation_error"])
        assert mine["optimism"] == pytest.approx(row["final_validation_error"] - 0.2)
    alone = leaderboard(tuning(records))
    assert set(alone["stage"]) == {"tune"}
    assert alone["optimism"].isna().all()


def test_a_confirming_run_that_is_lost_is_told(synthetic):
    records, _ = two_stages(synthetic)
    ended = records.copy()
    ended.loc[ended["run_id"] == "fresh A 1003", "status"] = "diverged"
    board = leaderboard(ended).set_index("arm")
    assert board.loc["A", "n"] == 7
    assert board.loc["A", "note"] == "1 of 8 confirming runs did not complete"
    assert board.loc["B", "note"] == ""


def test_curves_of_winners_are_of_the_fresh_seeds(synthetic):
    records, best = two_stages(synthetic)
    curves = mean_curves(synthetic.make_curves(records), records, best)
    assert set(curves["n"]) == {8}


def test_where_nothing_was_chosen_the_runs_themselves_are_judged(synthetic):
    records = synthetic.make_records({"A": "l2", "B": "l2"}, lrs=[1e-3], lambdas=[0.0], seeds=range(8))
    best = best_cells(cells(records))
    (found,) = verdicts(records, best)
    assert found.n == 8
    several = synthetic.make_records({"A": "l2", "B": "l2"}, seeds=range(8))
    assert verdicts(several, best_cells(cells(several))) == []


def test_a_reference_and_a_margin_of_the_users_own(synthetic):
    records = synthetic.make_records(dict.fromkeys("ABCD", "l2"), lrs=[1e-3], lambdas=[0.0], seeds=range(9))
    best = best_cells(cells(records))
    assert len(verdicts(records, best)) == 6
    assert {frozenset((v.a, v.b)) for v in verdicts(records, best, reference="C")} == {
        frozenset(("C", other)) for other in "ABD"
    }
    wide = verdicts(records, best, margin=0.5)
    assert {v.kind for v in wide} <= {"same", "apart"}
    rmse = records.assign(loss="mse", error_metric="rmse", error_unit="mm", error_better="lower")
    assert all(math.isnan(v.margin) for v in verdicts(rmse, best))
    assert "mm" in told(verdicts(rmse, best, 0.5)[0], error_metric("rmse", "mm"), 6)


def test_more_pairs_need_more(synthetic):
    """Holm over the pairs: what two arms alone show may be lost among many."""
    d = [0.010, 0.012, 0.011, 0.013, 0.009, 0.014]  # n = 6: p = 2/64 = 0.031
    rows = synthetic.make_records(dict.fromkeys("ABC", "l2"), lrs=[1e-3], lambdas=[0.0], seeds=range(6))
    base = np.array([0.1, 0.11, 0.12, 0.13, 0.14, 0.15])
    for arm, shift in (("A", 0.0), ("B", np.array(d)), ("C", np.array(d) * 1.01)):
        rows.loc[rows["arm"] == arm, "final_test_error"] = base + shift
    two = rows[rows["arm"] != "C"]
    assert verdicts(two, best_cells(cells(two)))[0].kind == "apart"
    three = verdicts(rows, best_cells(cells(rows)))
    assert {v.kind for v in three if v.a == "A"} != {"apart"}
    assert min(v.seeds_needed for v in three) == fewest_seeds(3) > 6  # as many as were there do not do


def outcomes_of(records, rng, spread_of_examples=1.0, count=400):
    """For each confirming run bits whose mean is its test error, as far as may be."""
    difficulty = rng.random(count) ** spread_of_examples
    return {
        row["run_id"]: (difficulty < np.quantile(difficulty, row["final_test_error"])).astype(float)
        for row in records[records["stage"] == "confirm"].to_dict("records")
    }


def test_the_crossed_bootstrap_has_the_variance_of_both_sources():
    """Of additive effects of seeds and examples it is var(seeds)/S + var(examples)/N."""
    rng = np.random.default_rng(5)
    seeds, examples = rng.normal(0, 0.02, 12), rng.normal(0, 0.4, 900)
    a_SN = seeds[:, None] + examples[None, :] + 0.1
    drawn = over_examples({"a": dict(enumerate(a_SN)), "b": dict(enumerate(np.zeros_like(a_SN)))}, is_root=False)
    low, high = over_seeds(np.stack([drawn["a"][i] - drawn["b"][i] for i in range(12)]))
    expected = 2 * 1.96 * np.sqrt(seeds.var() / 12 + examples.var() / 900)
    assert high - low == pytest.approx(expected, rel=0.04)
    assert (low + high) / 2 == pytest.approx(a_SN.mean(), abs=0.05 * expected)


def test_a_root_is_taken_of_each_draw():
    squares = np.random.default_rng(6).chisquare(1, (3, 500))
    (roots,) = over_examples({"a": dict(enumerate(squares))}, is_root=True).values()
    (means,) = over_examples({"a": dict(enumerate(squares))}, is_root=False).values()
    assert np.allclose(roots[1], np.sqrt(means[1]))


def test_a_verdict_needs_the_wider_interval(synthetic):
    """A gap that all seeds show, on the same few examples: of another test part it might not be there."""
    records, best = two_stages(synthetic, 0.012, 0.001)
    assert verdicts(records, best)[0].kind == "apart"
    rng = np.random.default_rng(0)
    many = verdicts(records, best, outcomes=outcomes_of(records, rng, count=4_000))[0]
    assert many.kind == "apart"
    few = verdicts(records, best, outcomes=outcomes_of(records, rng, count=80))[0]
    assert few.low_examples <= 0 <= few.high_examples
    assert few.kind == "open"
    assert "over 8 seeds, test examples and the choice of cells" in told(few, CLASSIFICATION.error, 1)
    assert "a larger test part would tell" in told(few, CLASSIFICATION.error, 1)
    assert (few.low, few.high) == (many.low, many.high)


def test_where_outcomes_are_missing_there_is_one_source_alone(synthetic):
    records, best = two_stages(synthetic, 0.05)
    known = outcomes_of(records, np.random.default_rng(0))
    del known[next(iter(known))]
    (found,) = verdicts(records, best, outcomes=known)
    assert math.isnan(found.low_examples)
    assert found.kind == "apart"
