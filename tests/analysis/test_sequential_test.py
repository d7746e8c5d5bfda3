"""Confidence sequences hold at every look, whatever the differences are, and an interval of fixed size does not."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from adamcmp.analysis.difference import Difference
from adamcmp.analysis.selection_uncertainty import EqualBudget, VarianceComponent
from adamcmp.analysis.sequential_test import (
    bounded_sequence,
    cannot_be_decided,
    decide_sequence,
    has_outlier,
    log_capital,
    log_evidence,
    min_seeds,
    mixture_scale,
    seeds_needed,
    sequential_verdict,
    symmetric_sequence,
)
from adamcmp.metrics.spec import CLASSIFICATION, metric_spec
from adamcmp.report.verdict_text import format_settle_state, format_symmetric_hint

LOOKS = range(8, 161, 8)
BOUND = 0.9
DRAWS = {
    "normal": lambda rng, n: rng.normal(0, 0.02, n),
    "collapse": lambda rng, n: np.where(rng.random(n) < 0.05, 0.86, -0.86 * 0.05 / 0.95) + rng.normal(0, 0.01, n),
    "lognormal": lambda rng, n: (rng.lognormal(0, 1, n) - math.exp(0.5)) * 0.02,
    "two values": lambda rng, n: rng.choice([-BOUND, BOUND], n),
    "rare": lambda rng, n: np.where(rng.random(n) < 0.01, 0.891, -0.009),
}
"""Differences with a mean of 0; of the lognormal ones, few are cut off at the bound."""


def allowed(trials, level=0.05):
    return level * trials + 3 * math.sqrt(level * (1 - level) * trials)


@pytest.mark.parametrize("name", DRAWS)
def test_looking_often_at_any_bounded_differences_keeps_the_error_rate(name):
    rng, trials, wrong = np.random.default_rng(2), 150, 0
    for _ in range(trials):
        d = DRAWS[name](rng, 160)
        ends = (bounded_sequence(d[:n], BOUND) for n in LOOKS)
        wrong += any(low > 0 or high < 0 for low, high in ends)
    assert wrong <= allowed(trials)


def test_the_symmetric_sequence_is_wrong_for_an_optimizer_that_collapses():
    rng, trials, wrong, detected = np.random.default_rng(2), 150, 0, 0
    for _ in range(trials):
        d = DRAWS["collapse"](rng, 160)
        missed = [n for n in LOOKS if (ends := symmetric_sequence(d[:n], mixture_scale(0.01)))[0] > 0 or ends[1] < 0]
        wrong += bool(missed)
        detected += has_outlier(d)
    assert wrong > allowed(trials)
    assert detected > 0.95 * trials
    assert not has_outlier(rng.normal(0, 1, 200))
    assert not has_outlier(np.zeros(3))


def test_the_capital_is_a_martingale_and_falls_with_the_mean():
    x = np.array([0.0, 1.0])  # each with probability ½: the mean is ½
    expected = np.mean([math.exp(log_capital(np.array([first, second]), 0.5)) for first in x for second in x])
    assert expected == pytest.approx(1)
    values = np.random.default_rng(0).random(30)
    capital = [log_capital(values, mean) for mean in np.linspace(0.05, 0.95, 30)]
    assert capital == sorted(capital, reverse=True)


def test_its_ends_are_where_the_capital_is_large_enough():
    d = np.random.default_rng(1).normal(-0.3, 0.1, 60)
    low, high = bounded_sequence(d, BOUND)
    assert -BOUND <= low < d.mean() < high < 0
    x = (d + BOUND) / (2 * BOUND)
    assert log_capital(x, (low + BOUND) / (2 * BOUND)) == pytest.approx(math.log(40), abs=1e-6)
    turned = bounded_sequence(-d, BOUND)
    assert turned == pytest.approx((-high, -low))
    assert bounded_sequence(np.zeros(0), BOUND) == (-BOUND, BOUND)


def test_a_difference_takes_about_as_many_seeds_as_announced():
    d = np.random.default_rng(0).normal(0.05, 0.01, 400)
    taken = next(n for n in range(1, 400) if bounded_sequence(d[:n], BOUND)[0] > 0)
    assert taken == pytest.approx(seeds_needed(0.05, BOUND), rel=0.15)
    assert math.isinf(seeds_needed(0.0, BOUND))


@pytest.mark.parametrize("rho", [0.1, 1.0, 5.0])
def test_the_evidence_is_the_mixture_over_normal_weights(rho):
    d = np.random.default_rng(0).normal(0.3, 1, 7)
    for mean in (-0.5, 0.0, 0.4):
        total, squares = (d - mean).sum(), ((d - mean) ** 2).sum()

        def weighted(x, total=total, squares=squares):
            return math.exp(x * total - x**2 * squares / 2) * stats.norm.pdf(x, scale=rho)

        expected, _ = integrate.quad(weighted, -40 * rho, 40 * rho, points=[0], limit=500)
        assert log_evidence(d, mean, rho) == pytest.approx(math.log(expected), abs=1e-6)


def test_the_ends_of_the_symmetric_one_are_where_the_evidence_is_large_enough():
    d = np.random.default_rng(1).normal(0.3, 1, 25)
    low, high = symmetric_sequence(d, mixture_scale(1.0))
    assert low < d.mean() < high
    for end in (low, high):
        assert log_evidence(d, end, mixture_scale(1.0)) == pytest.approx(-math.log(0.05 - 2 / 2**8), abs=1e-9)
    assert symmetric_sequence(d[:7], mixture_scale(1.0)) == (-math.inf, math.inf)
    low, high = symmetric_sequence(d[:8], mixture_scale(1.0))
    assert d[:8].min() <= low < high <= d[:8].max()


@pytest.mark.parametrize("draw", [
    lambda rng: rng.standard_t(2, 60),
    *(pytest.param(each, marks=pytest.mark.slow)
      for each in (lambda rng: rng.normal(0, 1, 60), lambda rng: rng.integers(-3, 4, 60) / 3)),
])  # fmt: skip
def test_looking_often_at_symmetric_differences_keeps_the_error_rate(draw):
    rng = np.random.default_rng(2)
    wrong = naive = 0
    trials = 300
    for _ in range(trials):
        d = draw(rng)
        looks = [d[:n] for n in range(2, 61, 2) if np.ptp(d[:n]) > 0]
        ends = [symmetric_sequence(each, mixture_scale(1.0)) for each in looks]
        wrong += any(low > 0 or high < 0 for low, high in ends)
        naive += any(stats.ttest_1samp(each, 0).pvalue < 0.05 for each in looks)
    assert wrong <= allowed(trials)
    assert naive > 0.12 * trials


def test_the_symmetric_one_finds_a_difference_and_narrows():
    d = np.random.default_rng(3).normal(0.5, 1.0, 200)
    widths = [np.diff(symmetric_sequence(d[:n], mixture_scale(1.0)))[0] for n in (10, 40, 200)]
    assert widths == sorted(widths, reverse=True)
    low, _ = symmetric_sequence(d, mixture_scale(1.0))
    assert low > 0
    fixed = 2 * stats.t.ppf(0.975, 199) * d.std(ddof=1) / math.sqrt(200)
    assert fixed < widths[-1] < 2.2 * fixed  # the price of looking often


def settling(synthetic, arms=2, count=40, gap=0.02):
    """Optimizers with held-out runs, and seeds of stage ``settle`` at their selected trials."""
    names = dict.fromkeys("ABCD"[:arms], "lr_scaled")
    made = synthetic.make_records(names, lrs=[0.1], lambdas=[0.001, 0.01], seeds=range(4), baseline_test_error=0.9)
    made["settings"] = made["settings"].str.replace("eval_examples", "unknown")
    records = synthetic.confirmed(made)
    fresh = records[records["stage"] == "confirm"].groupby("arm").head(1)
    fresh = fresh.loc[fresh.index.repeat(count)].assign(stage="settle")
    fresh["seed"] = 2_000_000 + fresh.groupby("arm").cumcount()
    fresh["run_id"] = "settle " + fresh["arm"] + fresh["seed"].astype(str)
    noise = 0.003 * np.random.default_rng(4).standard_normal(len(fresh))
    fresh["final_test_error"] = 0.1 + gap * (fresh["arm"] == "B") + noise
    return pd.concat([records, fresh], ignore_index=True)


def paired(records, stage):
    errors = records[records["stage"] == stage].set_index(["arm", "seed"])["final_test_error"]
    return (errors["A"] - errors["B"]).sort_index().to_numpy()


@pytest.mark.parametrize(("arms", "pairs"), [(2, 1), (4, 6)])
def test_each_pair_of_a_task_has_its_share_of_the_level(synthetic, arms, pairs):
    records = settling(synthetic, arms)
    found = sequential_verdict(records, ("A", "B"), assume_symmetric=True)
    sd = paired(records, "confirm").std(ddof=1)
    low, high = symmetric_sequence(paired(records, "settle"), mixture_scale(sd, 0.05 / pairs), 0.05 / pairs)
    assert (found.n, found.kind, found.pairs) == (40, "apart", pairs)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)  # nearly no selection
    assert min_seeds(0.05 / pairs) == (8 if pairs == 1 else 11)
    bounded = sequential_verdict(records, ("A", "B"))
    ends = bounded_sequence(paired(records, "settle"), BOUND, 0.05 / pairs)
    assert (bounded.low, bounded.high) == pytest.approx(ends, abs=1e-4)
    assert bounded.kind == "open"
    large = sequential_verdict(settling(synthetic, arms, count=80, gap=0.2), ("A", "B"))
    assert (large.kind, large.n) == ("apart", 80)
    assert "A is significantly better than B: −" in format_settle_state(large, CLASSIFICATION.error)


def test_lost_runs_count_and_make_differences_asymmetric(synthetic):
    records = settling(synthetic)
    chosen = (records["stage"] == "settle") & (records["arm"] == "A") & (records["seed"] < 2_000_004)
    ended = synthetic.end(records, chosen, "diverged")
    found = sequential_verdict(ended, ("A", "B"))
    assert found.mean == pytest.approx(paired(records, "settle").mean() + 4 * (0.9 - 0.1) / 40, abs=0.002)
    with pytest.raises(ValueError, match="not symmetric: leave out --assume-symmetric"):
        sequential_verdict(ended, ("A", "B"), assume_symmetric=True)
    rmse = records.assign(loss="mse", error_metric="rmse", error_unit="", error_better="lower")
    assert sequential_verdict(rmse, ("A", "B")).n == 40  # its bound is the baseline's
    with pytest.raises(ValueError, match="no known bound"):
        sequential_verdict(rmse.assign(baseline_test_error=np.nan), ("A", "B"))
    with pytest.raises(ValueError, match="three held-out seeds"):
        sequential_verdict(records[records["seed"] < 1_000_002], ("A", "B"), assume_symmetric=True)


def test_test_examples_widen_the_interval_and_may_end_it(synthetic):
    records, hard = settling(synthetic), np.random.default_rng(0).random(600)

    def outcomes(count):
        of = np.arange(count) % 600
        return {
            run: (hard[of] < error * 5).astype(float)
            for run, error in zip(records["run_id"], records["final_test_error"], strict=True)
        }

    found, alone = (
        sequential_verdict(records, ("A", "B"), outcomes=each, assume_symmetric=True) for each in (outcomes(600), None)
    )
    assert found.se_examples > alone.se_examples == 0
    assert found.high - found.mean > alone.high - alone.mean
    few = sequential_verdict(records, ("A", "B"), outcomes=outcomes(60), assume_symmetric=True)
    assert few.kind == "open"
    assert cannot_be_decided(few)
    assert "more seeds will not help: limited by the test set" in format_settle_state(few, CLASSIFICATION.error)


def test_it_ends_where_more_seeds_cannot_decide():
    of = Difference("a", "b", 8, 0.0, VarianceComponent(1e-6, 7), VarianceComponent(0.0, math.inf), [], tuning_seeds=5)
    d = np.random.default_rng(0).normal(0.0, 0.001, 40)
    ends = symmetric_sequence(d, mixture_scale(0.001))

    def decided(selection, n=40, ends=ends):
        parts = [VarianceComponent(selection**2, 4)] if selection else []
        return decide_sequence(of._replace(selection=parts), n, float(d.mean()), ends, 0.005)

    assert decided(0.0).kind == "same"
    assert not cannot_be_decided(decided(0.001))
    assert cannot_be_decided(decided(0.02))
    assert not cannot_be_decided(decided(0.02, n=0, ends=(-1, 1)))
    unknown = decided(math.inf, n=0, ends=(-1, 1))
    assert cannot_be_decided(unknown)
    assert "not decidable: trials share fewer than 2 tuning seeds" in format_settle_state(unknown, CLASSIFICATION.error)


def test_the_hint_counts_all_that_seeds_cannot_change(synthetic):
    records = settling(synthetic)
    found = sequential_verdict(records, ("A", "B"))
    assert "takes " in format_symmetric_hint(found, records, CLASSIFICATION.error)
    wide = found._replace(se_selection=0.05)
    assert "seeds may not decide" in format_symmetric_hint(wide, records, CLASSIFICATION.error)
    precision = records.assign(loss="bce", error_metric="average_precision", error_better="higher")
    assert math.isinf(seeds_needed(0.1, 0.0))
    assert "takes " in format_symmetric_hint(
        found, precision.assign(baseline_test_error=0.0), metric_spec("average_precision")
    )


def test_the_luck_of_a_smaller_search_widens_a_sequence_without_other_noise():
    luck = EqualBudget(2, 0.0, [], np.array([-1.0, 1.0]), np.array([0.5, 0.5]), [VarianceComponent(0.0, 4)] * 2)
    nothing = VarianceComponent(0.0, math.inf)
    of = Difference("a", "b", 8, 1.0, nothing, nothing, [], luck=luck)
    found = decide_sequence(of, 40, 1.0, (0.98, 1.02), 0.005)
    assert found.low < 0.1
    assert found.high > 1.9
