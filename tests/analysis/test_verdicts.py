"""Verdicts against other people's code, and against what is known of made-up differences."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from adamcmp.analysis import best_trials, leaderboard, mean_curves, trials_table, tuning_runs, verdicts
from adamcmp.analysis.difference import Difference, compare, satterthwaite_freedom, two_way, unseen_variance
from adamcmp.analysis.held_out import HeldOut
from adamcmp.analysis.power import power, required_count
from adamcmp.analysis.selection_uncertainty import Selection, VarianceComponent
from adamcmp.analysis.verdicts import decide
from adamcmp.metrics.spec import CLASSIFICATION, metric_spec
from adamcmp.report.verdict_text import format_verdict
from adamcmp.report.warnings import collect_warnings

ERROR = CLASSIFICATION.error


def from_arrays(validation_CT, test_CT):
    """Return the selection among C trials on T tuning seeds, by the lowest mean validation error."""
    return Selection(validation_CT, test_CT, len(test_CT), tuple(range(test_CT.shape[1])))


ONE_TRIAL = from_arrays(np.zeros((1, 3)), np.zeros((1, 3)))


def held(arm, examples_SN, seeds=None, stored=True):
    seeds = tuple(range(len(examples_SN))) if seeds is None else tuple(seeds)
    return HeldOut(arm, seeds, examples_SN.mean(1), np.zeros(1), ("",) * len(seeds), examples_SN if stored else None)


def exact(arm, error_S, seeds=None):
    """Without per-example errors."""
    return held(arm, np.asarray(error_S)[:, None], seeds, stored=False)


def test_without_examples_and_selection_it_is_the_paired_t_test():
    for d in np.random.default_rng(0).normal(0.004, 0.01, (20, 9)):
        (found,) = decide([compare(exact("a", d), exact("b", np.zeros(9)), ONE_TRIAL, ONE_TRIAL)], 0.005)
        expected = stats.ttest_1samp(d, 0)
        interval = expected.confidence_interval()
        assert found.p_value == pytest.approx(expected.pvalue)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert (found.kind == "apart") == (expected.pvalue <= 0.05)
        assert (found.n, found.freedom, found.examples) == (9, pytest.approx(8), "ignored")


def test_optimizers_without_shared_seeds_are_compared_by_welchs_test():
    draw = np.random.default_rng(0)
    for _ in range(10):
        x, y = draw.normal(0.1, 0.01, 8), draw.normal(0.105, 0.03, 5)
        (found,) = decide([compare(exact("a", x), exact("b", y, range(50, 55)), ONE_TRIAL, ONE_TRIAL)], 0.005)
        both = CompareMeans(DescrStatsW(x), DescrStatsW(y))
        assert found.p_value == pytest.approx(both.ttest_ind(usevar="unequal")[1], rel=1e-10)
        assert (found.low, found.high) == pytest.approx(both.tconfint_diff(usevar="unequal"), rel=1e-10)
        assert (found.n, found.paired) == (5, False)
        assert found.p_same / 2 == pytest.approx(both.ttost_ind(-0.005, 0.005, usevar="unequal")[0], abs=0.5)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_pair_is_different_exactly_when_its_interval_excludes_zero(count):
    draw = np.random.default_rng(count)
    kinds = set()
    for _ in range(300):
        compared = [
            Difference("a", "b", 8, draw.normal(0, 0.006), VarianceComponent(draw.exponential(6e-6), 7),
                       VarianceComponent(draw.exponential(2e-6), 300), [VarianceComponent(draw.exponential(1e-6), 4)])
            for _ in range(count)
        ]  # fmt: skip
        for found in decide(compared, 0.008, has_power=False):
            assert (found.kind == "apart") == (found.p_value <= 0.05) == (found.low > 0 or found.high < 0)
            inside = found.low > -0.008 and found.high < 0.008
            assert (found.kind == "same") == (inside and found.kind != "apart")
            assert inside == (found.p_same <= 0.05) or found.kind == "apart"
            assert found.low <= found.mean <= found.high
            kinds.add(found.kind)
    assert kinds == {"apart", "same", "open"}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(1e-6, 1)), min_size=1, max_size=10))
def test_statement_and_interval_agree_for_any_numbers(pairs):
    compared = [
        Difference("a", "b", 5, mean, VarianceComponent(variance, 4), VarianceComponent(0.0, 9), [])
        for mean, variance in pairs
    ]
    for found in decide(compared, 0.1, has_power=False):
        assert (found.kind == "apart") == (found.low > 0 or found.high < 0) == (found.p_value <= 0.05)
        if found.kind == "same":
            assert -0.1 < found.low <= found.high < 0.1


def test_more_sources_of_noise_make_a_wider_interval():
    base = Difference("a", "b", 8, 0.01, VarianceComponent(4e-6, 7), VarianceComponent(0.0, 300), [])
    widths = [
        decide([each], has_power=False)[0]
        for each in (base, base._replace(examples=VarianceComponent(3e-6, 300)),
                     base._replace(examples=VarianceComponent(3e-6, 300), selection=[VarianceComponent(2e-6, 4)]))
    ]  # fmt: skip
    assert [found.se_seeds for found in widths] == [2e-3] * 3
    variances = [found.se_seeds**2 + found.se_examples**2 + found.se_selection**2 for found in widths]
    assert variances == pytest.approx([4e-6, 7e-6, 9e-6])
    whole = widths[-1]
    alone = [np.diff(whole.pointwise(*sources))[0] for sources in (["seeds"], ["seeds", "examples"])]
    assert alone[0] < alone[1] < np.diff(whole.pointwise("seeds", "examples", "selection"))[0] <= whole.high - whole.low


def test_the_two_way_model_finds_the_variance_of_seeds_and_of_examples():
    draw, seen = np.random.default_rng(5), []
    for _ in range(200):
        seeds, examples = draw.normal(0, 0.2, 12), draw.normal(0, 0.4, 300)
        e_SN = seeds[:, None] + examples + draw.normal(0, 1, (12, 300))
        seen.append([*(part.variance for part in two_way([e_SN])), e_SN.mean()])
    of_seeds, of_examples, means = np.array(seen).T
    assert of_seeds.mean() == pytest.approx(0.2**2 / 12 + 1 / 3600, rel=0.1)
    assert of_examples.mean() == pytest.approx(0.4**2 / 300, rel=0.1)
    assert (of_seeds + of_examples).mean() == pytest.approx(means.var(), rel=0.3)


def test_examples_that_both_optimizers_share_cancel():
    draw = np.random.default_rng(6)
    difficulty = draw.normal(0, 1, 400)
    a, b = (held(arm, difficulty + draw.normal(0, 0.1, (6, 400)), range(first, first + 6))
            for arm, first in (("a", 0), ("b", 6)))  # fmt: skip
    found = compare(a, b, ONE_TRIAL, ONE_TRIAL)
    assert not found.paired
    assert found.examples.variance < 1e-5 < difficulty.var() / 400


def test_equal_predictions_are_no_proof_of_equality():
    """One example more or less must not turn "not tested" into certainty."""
    nothing = np.zeros((8, 359))
    one = nothing.copy()
    one[0, 0] = 1.0
    for other in (nothing, one):
        found = decide([compare(held("a", nothing), held("b", other), ONE_TRIAL, ONE_TRIAL, is_share=True)], 0.005)[0]
        assert found.kind == "open"
        assert found.high - found.low > 2 * 1.6 / 361
        assert found.limit == "examples"
    many = np.zeros((8, 20_000))
    found = decide([compare(held("a", many), held("b", many), ONE_TRIAL, ONE_TRIAL, is_share=True)], 0.005)[0]
    assert found.kind == "same"
    rmse = decide([compare(held("a", nothing + 0.3), held("b", nothing + 0.3), ONE_TRIAL, ONE_TRIAL)], 0.005)[0]
    assert rmse.kind == "none"
    assert "identical errors on all 8 held-out seeds" in format_verdict(rmse, ERROR)


def test_without_stored_examples_errors_count_as_independent():
    a, b = exact("a", [0.02] * 8), exact("b", [0.02] * 8)
    found = compare(a, b, ONE_TRIAL, ONE_TRIAL, is_share=True, count=359)
    assert found.known == "bounded"
    assert found.examples.variance == pytest.approx(2 * 0.02 * 0.98 / 359)
    assert decide([found], 0.005)[0].kind == "open"
    assert compare(a, b, ONE_TRIAL, ONE_TRIAL, is_share=False, count=359).known == "ignored"


def test_equal_error_on_few_test_examples_is_rarely_called_a_difference():
    """Two optimizers with equal population error and one trial each: test examples count from the first comparison."""
    draw, wrong = np.random.default_rng(1), 0
    for _ in range(400):
        p_2N = np.clip(draw.normal(0.05, 0.08, (2, 359)), 0, 1)
        a, b = (held(arm, (draw.random((40, 359)) < p).astype(float)) for arm, p in zip("ab", p_2N, strict=True))
        wrong += decide([compare(a, b, ONE_TRIAL, ONE_TRIAL, is_share=True)], 0.005, has_power=False)[0].kind == "apart"
    assert wrong / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_power_is_that_of_statsmodels():
    oracle = TTestPower()
    for n, effect in itertools.product((3, 8, 30), (0.2, 1.0, 2.0)):
        expected = oracle.power(effect, n, 0.05, alternative="two-sided")
        assert power(2 * effect, 2 / math.sqrt(n), n - 1) == pytest.approx(np.nan_to_num(expected, nan=1.0), abs=1e-5)
    assert power(1e3, 1.0, 1.5, 1e-4) == pytest.approx(1.0, abs=0.05)
    of = Difference("a", "b", 8, 0.9, VarianceComponent(1 / 8, 7), VarianceComponent(0.0, math.inf), [])
    (found,) = decide([of])
    expected = oracle.solve_power(nobs=8, alpha=0.05, power=0.8, alternative="two-sided")
    assert found.detectable == pytest.approx(expected, rel=1e-4)
    needed = oracle.solve_power(effect_size=0.9, alpha=0.05, power=0.8, alternative="two-sided")
    assert found.seeds_needed == pytest.approx(math.ceil(np.asarray(needed).item()), abs=1)


@pytest.mark.parametrize("sources", [(1.0, 0.0, 0.0), (0.4, 1.0, 0.2), (0.3, 0.2, 1.0)])
def test_printed_power_is_how_often_the_whole_procedure_finds_it(sources):
    """Of all sources of variance: seed noise alone would promise much more."""
    draw = np.random.default_rng(3)
    seeds, examples, selection = sources
    n, tuned, count = 8, 5, 200

    def of(mean):
        parts = [VarianceComponent(size**2 * draw.chisquare(freedom) / freedom, freedom)
                 for size, freedom in zip(sources, (n - 1, count - 1, tuned - 1), strict=True)]  # fmt: skip
        return Difference("a", "b", n, mean, parts[0], parts[1], [parts[2]], tuning_seeds=tuned)

    detectable = np.median([decide([of(0.0)])[0].detectable for _ in range(50)])
    spread = math.hypot(seeds, examples, selection)
    found = [decide([of(draw.normal(detectable, spread))], has_power=False)[0].kind == "apart" for _ in range(1500)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.07)


def test_the_largest_source_is_named_with_what_would_help():
    seeds, examples, tuning_ = VarianceComponent(1e-6, 7), VarianceComponent(1e-6, 358), VarianceComponent(1e-6, 4)
    of = Difference("a", "b", 8, 0.005, seeds, examples, [tuning_], 359, "stored", 5)
    limits = {
        "seeds": of._replace(seeds=VarianceComponent(9e-6, 7)),
        "examples": of._replace(examples=VarianceComponent(9e-6, 358)),
        "tuning": of._replace(selection=[VarianceComponent(9e-6, 4)]),
    }
    words = {"seeds": "Limited by seeds; about", "examples": "Limited by the test set (359 examples)",
             "tuning": "Limited by the selection with 5 tuning seeds; use study.seeds="}  # fmt: skip
    for limit, each in limits.items():
        (found,) = decide([each], 0.0005)
        assert (found.kind, found.limit) == ("open", limit)
        assert words[limit] in format_verdict(found, ERROR)
    hopeless = of._replace(mean=0.002, examples=VarianceComponent(9e-6, 358))
    assert "more seeds will not help" in format_verdict(decide([hopeless], 0.0005)[0], ERROR)
    assert required_count(hopeless, "seeds") == math.inf
    assert 359 < required_count(of._replace(examples=VarianceComponent(9e-6, 358)), "examples") < math.inf


def test_freedom_is_welchs_and_satterthwaites():
    parts = [VarianceComponent(2.0, 4), VarianceComponent(1.0, 9), VarianceComponent(0.0, 3)]
    assert satterthwaite_freedom(parts) == pytest.approx(9 / (4 / 4 + 1 / 9))
    assert math.isinf(satterthwaite_freedom([VarianceComponent(0.0, 3)]))


def two_stages(synthetic, gap=0.0, spread=0.002, seeds=8, **columns):
    """A tuned grid of two arms, and fresh seeds at the best cell of each whose test errors differ by ``gap``."""
    tuned = synthetic.make_records({"A": "lr_scaled", "B": "lr_scaled"}, best_lambda=0.01, stage="tune", **columns)
    tuned["settings"] = tuned["settings"].str.replace("eval_examples", "unknown")  # no number of test examples
    best = best_trials(trials_table(tuned))
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
    ("gap", "spread", "kind"), [(0.05, 0.002, "apart"), (0.0, 0.0005, "same"), (0.003, 0.01, "open")]
)
def test_the_three_verdicts_of_stored_runs(synthetic, gap, spread, kind):
    records, _ = two_stages(synthetic, gap, spread)
    (found,) = verdicts(records)
    assert (found.a, found.b, found.n, found.runs_a) == ("A", "B", 8, 8)
    fresh = records[records["stage"] == "confirm"].set_index(["arm", "seed"])["final_test_error"]
    assert found.mean == pytest.approx((fresh["A"] - fresh["B"]).mean())
    assert found.se_selection > 0  # other candidates have no held-out runs
    words = {"apart": "A is significantly better than B: −", "same": "A and B are equivalent within ±0.50 pp: ",
             "open": "A vs. B: no significant difference. A may be anything from "}  # fmt: skip
    if kind != "apart":
        assert found.kind in (kind, "open")
    if found.kind == kind:
        assert words[kind] in format_verdict(found, ERROR)


def test_the_estimate_comes_from_held_out_runs_alone(synthetic):
    records, _ = two_stages(synthetic, 0.05)
    (found,) = verdicts(records)
    other = records.copy()
    other.loc[other["stage"] == "tune", "final_test_error"] = 0.9
    (again,) = verdicts(other)
    assert (again.mean, again.se_seeds, again.n) == (found.mean, found.se_seeds, found.n)
    board, again = leaderboard(records), leaderboard(other)
    assert board["final_test_error"].tolist() == again["final_test_error"].tolist()
    assert again["tuned_test_error"].tolist() == pytest.approx([0.9, 0.9])


def test_held_out_runs_select_nothing(synthetic):
    records, best = two_stages(synthetic)
    misleading = records.copy()
    fresh = misleading["stage"] == "confirm"
    misleading.loc[fresh, [c for c in misleading if c.endswith("_validation_error")]] = 0.99
    pd.testing.assert_frame_equal(best_trials(trials_table(misleading)), best)
    assert trials_table(misleading)["runs"].max() == trials_table(tuning_runs(records))["runs"].max()


def test_the_board_shows_both_stages_and_the_optimism(synthetic):
    records, best = two_stages(synthetic)
    board = leaderboard(records).set_index("arm")
    for row in best.to_dict("records"):
        mine = board.loc[row["arm"]]
        assert (mine["stage"], mine["n"], mine["tuned_n"]) == ("confirm", 8, 3)
        assert mine["final_validation_error"] == pytest.approx(0.2)
        assert mine["tuned_validation_error"] == pytest.approx(row["final_validation_error"])
        assert mine["optimism"] == pytest.approx(row["final_validation_error"] - 0.2)
    alone = leaderboard(tuning_runs(records))
    assert set(alone["stage"]) == {"tune"}
    assert alone["optimism"].isna().all()


def test_curves_of_winners_are_of_the_held_out_seeds(synthetic):
    records, best = two_stages(synthetic)
    curves = mean_curves(synthetic.make_curves(records), records, best)
    assert set(curves["n"]) == {8}


def test_where_nothing_was_selected_the_runs_themselves_are_compared(synthetic):
    records = synthetic.make_records({"A": "l2", "B": "l2"}, lrs=[1e-3], lambdas=[0.0], seeds=range(8))
    (found,) = verdicts(records)
    assert (found.n, found.se_selection, found.tuned) == (8, 0, math.inf)
    several = synthetic.make_records({"A": "l2", "B": "l2"}, seeds=range(8))
    assert verdicts(several) == []


def test_a_reference_and_a_margin_of_the_users_own(synthetic):
    records = synthetic.make_records(dict.fromkeys("ABCD", "l2"), lrs=[1e-3], lambdas=[0.0], seeds=range(9))
    assert len(verdicts(records)) == 6
    assert {frozenset((v.a, v.b)) for v in verdicts(records, reference="C")} == {
        frozenset(("C", other)) for other in "ABD"
    }
    assert {v.pairs for v in verdicts(records, reference="C")} == {3}
    wide = verdicts(records, margin=0.5)
    assert {v.kind for v in wide} <= {"same", "apart"}
    rmse = records.assign(loss="mse", error_metric="rmse", error_unit="mm", error_better="lower")
    found = verdicts(rmse)
    assert all(math.isnan(v.margin) for v in found)
    assert "mm" in format_verdict(verdicts(rmse, 0.5)[0], metric_spec("rmse", "mm"))
    warned = collect_warnings(leaderboard(rmse), trials_table(rmse), rmse, found)
    assert any("test examples are not counted" in warning.problem for warning in warned)


def test_intervals_of_shares_end_at_the_largest_difference(synthetic):
    records, _ = two_stages(synthetic, 0.05)
    rng = np.random.default_rng(0)
    held_out = records["stage"] == "confirm"
    records.loc[held_out, "final_test_error"] = rng.integers(0, 2, held_out.sum()).astype(float)
    few = records[~held_out | (records["seed"] < records.loc[held_out, "seed"].min() + 2)]
    (found,) = verdicts(few)
    assert -1 <= found.low < found.high <= 1


def test_one_tuning_seed_decides_nothing(synthetic):
    records, best = two_stages(synthetic, 0.05)
    one = records[(records["stage"] == "confirm") | (records["seed"] == 0)].copy()
    for row in best.to_dict("records"):
        same = (one["arm"] == row["arm"]) & (one["lr"] == row["lr"]) & (one["weight_decay"] == row["weight_decay"])
        one.loc[same, "final_validation_error"] = 0.0  # it is selected by that seed too
    (found,) = verdicts(one)
    assert (found.kind, found.limit) == ("open", "one tuning seed")
    assert not found.has_interval
    words = "A vs. B: not decidable: trials share fewer than 2 tuning seeds; use study.seeds=5 or more."
    assert format_verdict(found, ERROR) == words


def outcomes_of(records, rng, count=400):
    """For each held-out run bits whose mean is its test error, as far as may be."""
    difficulty = rng.random(count)
    return {
        row["run_id"]: (difficulty < np.quantile(difficulty, row["final_test_error"])).astype(float)
        for row in records[records["stage"] == "confirm"].to_dict("records")
    }


def test_few_test_examples_limit_what_all_seeds_show(synthetic):
    records, _ = two_stages(synthetic, 0.012, 0.001)
    rng = np.random.default_rng(0)
    many = verdicts(records, outcomes=outcomes_of(records, rng, count=40_000))[0]
    few = verdicts(records, outcomes=outcomes_of(records, rng, count=80))[0]
    assert (many.examples, few.examples, few.test_examples) == ("stored", "stored", 80)
    assert many.se_examples < few.se_examples
    assert few.kind == "open"
    assert "Limited by the test set (80 examples)" in format_verdict(few, ERROR)


def test_where_a_run_has_no_stored_examples_none_are_used(synthetic):
    records, _ = two_stages(synthetic, 0.05)
    known = outcomes_of(records, np.random.default_rng(0))
    del known[next(iter(known))]
    (found,) = verdicts(records, outcomes=known)
    assert (found.examples, found.se_examples) == ("ignored", 0)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_few_seeds_that_agree_by_chance_are_no_proof(seeds):
    """Of few seeds the spread may be small by chance; test examples make seeds differ by a known least amount."""
    draw, wrong, count = np.random.default_rng(1), 0, 500
    for _ in range(count):
        p = np.clip(draw.normal(0.1, 0.1, 400), 0, 1)
        a, b = (held(arm, (draw.random((seeds, 400)) < p).astype(float)) for arm in "ab")
        wrong += decide([compare(a, b, ONE_TRIAL, ONE_TRIAL, is_share=True)], has_power=False)[0].kind == "apart"
    assert wrong / count <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / count)


def test_of_a_skewed_smaller_search_the_estimate_is_inside_its_interval():
    """A search of many trials, two of them terrible, against a search of two: the mean of its luck is misleading."""
    draw = np.random.default_rng(0)
    errors = np.where(np.arange(30) < 28, 1.0 + 0.001 * np.arange(30), 600.0)
    large, small = (
        from_arrays(values[:, None] + 0.001 * draw.standard_normal((len(values), 4)),
                    values[:, None] + 0.001 * draw.standard_normal((len(values), 4)))
        for values in (errors, np.array([1.5, 1.6]))
    )  # fmt: skip
    held_errors = [np.full(8, value) + 0.001 * draw.standard_normal(8) for value in (1.0, 1.5)]
    a, b = (
        HeldOut(arm, tuple(range(8)), error, np.full(count, error.mean()), ("",) * 8)
        for arm, error, count in (("A", held_errors[0], 30), ("B", held_errors[1], 2))
    )
    (found,) = decide([compare(a, b, large, small)])
    assert found.low < found.mean < found.high
    assert found.budget == small.runs
    if found.kind == "apart":
        assert (found.mean < 0) == (found.high < 0)
        assert format_verdict(found, metric_spec("rmse", "")).startswith("A is significantly better than B")


@pytest.mark.parametrize("scale", [1e-100, 1e-12, 1.0, 1e100])
def test_the_scale_of_errors_does_not_matter(scale):
    draw = np.random.default_rng(0)
    errors = [0.1 + gap + 0.003 * draw.standard_normal(8) for gap in (0.0, 0.02)]
    a, b = (exact(arm, scale * error) for arm, error in zip("ab", errors, strict=True))
    (found,) = decide([compare(a, b, ONE_TRIAL, ONE_TRIAL)])
    assert found.kind == "apart"
    assert found.low <= found.mean <= found.high < 0
    assert found.high / scale == pytest.approx(decide([compare(exact("a", errors[0]), exact("b", errors[1]), ONE_TRIAL,
                                                               ONE_TRIAL)])[0].high, rel=1e-6)  # fmt: skip


def test_a_pair_without_a_test_says_why():
    same = decide([compare(exact("a", [1.0, 2.0, 3.0]), exact("b", [1.0, 2.0, 3.0]), ONE_TRIAL, ONE_TRIAL)])[0]
    assert "identical errors on all 3 held-out seeds" in format_verdict(same, ERROR)
    shifted = decide([compare(exact("a", [1.0, 2.0, 3.0]), exact("b", [2.0, 3.0, 4.0]), ONE_TRIAL, ONE_TRIAL)])[0]
    assert "the same difference on all 3 held-out seeds" in format_verdict(shifted, ERROR)
    missing = decide([compare(exact("a", [np.nan] * 3), exact("b", [2.0, 3.0, 4.0]), ONE_TRIAL, ONE_TRIAL)])[0]
    assert "errors are missing" in format_verdict(missing, ERROR)
    few = decide([compare(exact("a", [1.0]), exact("b", [2.0]), ONE_TRIAL, ONE_TRIAL)])[0]
    assert "fewer than 2 shared held-out seeds" in format_verdict(few, ERROR)


def test_a_candidate_of_small_weight_does_not_end_the_least_example_variance():
    """Examples count by the size of their difference, so that verdicts do not jump with a win share."""
    agreed = np.zeros((8, 100))
    values = []
    for weight in (0.0, 0.01, 0.1, 1.0):
        other = agreed.copy()
        other[0, :4] = weight
        values.append(unseen_variance(other, agreed, is_paired=True) * 102**2)
    assert values == pytest.approx([1.0, 0.99, 0.9, 0.0])
    assert unseen_variance(other, agreed, is_paired=False) == 0.0
    assert unseen_variance(agreed, agreed, is_paired=False) == pytest.approx(1 / 102**2)
