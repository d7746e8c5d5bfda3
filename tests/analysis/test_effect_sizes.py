"""Effect sizes against rliable, scipy and statsmodels, and by how often their intervals hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rliable import metrics
from scipy import stats
from statsmodels.stats import effect_size

from adamcmp.analysis import verdicts
from adamcmp.analysis.effect_sizes import (
    bca,
    estimate_effects,
    interquartile_mean,
    probability_of_improvement,
    standardized_difference,
    standardized_paired,
    to_frame,
)


@pytest.fixture
def samples():
    draw = np.random.default_rng(0)
    return [(draw.normal(0.3, 1, 8).round(1), draw.normal(0, 1, 9).round(1)) for _ in range(20)]


def test_point_estimates_are_those_of_rliable(samples):
    for x, y in samples:
        assert interquartile_mean(x) == pytest.approx(metrics.aggregate_iqm(x[:, None]), abs=1e-12)
        expected = metrics.probability_of_improvement(-x[:, None], -y[:, None])  # there more is better
        assert probability_of_improvement(x, y).value == pytest.approx(expected, abs=1e-12)


def test_standardised_effects_have_the_intervals_of_statsmodels(samples):
    for x, y in samples:
        d = x[:8] - y[:8]
        found, t = standardized_paired(d), stats.ttest_1samp(d, 0).statistic
        oracle = effect_size._noncentrality_t(t, 7)
        assert stats.nct.cdf(t, 7, found.low * math.sqrt(8)) == pytest.approx(0.975, abs=1e-6)
        assert found.value == pytest.approx(t / math.sqrt(8), abs=1e-12)
        assert (found.low, found.high) == pytest.approx(np.array(oracle.confint) / math.sqrt(8), abs=1e-8)
        of_two = standardized_difference(x[:8], y[:8])
        oracle = effect_size._noncentrality_t(stats.ttest_ind(x[:8], y[:8]).statistic, 14)
        assert (of_two.low, of_two.high) == pytest.approx(np.array(oracle.confint) * 0.5, abs=1e-8)


@pytest.mark.parametrize("statistic", [np.mean, interquartile_mean])
def test_bca_intervals_hold_the_centre_of_what_is_symmetric(statistic):
    draw, trials = np.random.default_rng(1), 300
    found = [bca((draw.normal(0, 1, 8),), statistic) for _ in range(trials)]
    held = np.mean([each.low <= 0 <= each.high for each in found])
    assert 0.92 <= held <= 0.985
    narrow = [(each.high - each.value, each.value - each.low) for each in found]
    assert np.mean([min(ends) for ends in narrow]) < 1.1  # Student's has 0.84 here


def test_bca_follows_a_skew_and_of_two_samples_is_of_their_difference():
    x = np.random.default_rng(2).exponential(1, 20)
    found = bca((x,), np.mean)
    assert found.high - found.value > 1.1 * (found.value - found.low)
    both = bca((x, x[::-1] + 1), np.mean)
    assert both.value == pytest.approx(-1)
    half = stats.ttest_ind(x, x + 1, equal_var=False).confidence_interval()
    assert (both.high - both.low) == pytest.approx(half.high - half.low, rel=0.1)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_the_probability_of_improvement_has_an_interval_that_holds_it(shift):
    draw = np.random.default_rng(3)
    found = [probability_of_improvement(draw.normal(0, 1, 8), draw.normal(shift, 1, 8)) for _ in range(400)]
    truth = stats.norm.cdf(shift / math.sqrt(2))
    assert np.mean([each.value for each in found]) == pytest.approx(truth, abs=0.02)
    assert 0.92 <= np.mean([each.low <= truth <= each.high for each in found]) <= 0.99


def test_its_interval_ends_where_newcombes_score_is_z():
    x, y = np.random.default_rng(4).normal(0, 1, 8), np.random.default_rng(5).normal(0.7, 1, 10)
    found, k = probability_of_improvement(x, y), 8
    for end in found[1:]:
        spread = end * (1 - end) * (1 + k * (1 - end) / (2 - end) + k * end / (1 + end)) / 80
        assert abs(found.value - end) / math.sqrt(spread) == pytest.approx(stats.norm.ppf(0.975), rel=1e-6)


def test_seeds_that_are_all_better_do_not_make_certain():
    x = np.arange(8.0)
    found = probability_of_improvement(x, x + 100)
    assert (found.value, found.high) == (1, 1)
    assert 0.6 < found.low < 0.9
    assert probability_of_improvement(x + 100, x) == pytest.approx((0, 0, 1 - found.low), abs=1e-9)


def test_few_seeds_and_seeds_that_are_alike_have_no_interval():
    three = np.array([1.0, 2.0, 4.0])
    assert math.isnan(bca((three,), np.mean).low)
    assert math.isnan(bca((np.ones(8),), np.mean).low)
    assert bca((three,), np.mean).value == pytest.approx(7 / 3)
    assert probability_of_improvement(three, three).value == 0.5
    assert math.isnan(probability_of_improvement(three, three).low)


def test_a_table_has_one_row_a_pair_and_the_same_numbers_each_time(synthetic):
    records = synthetic.make_records({"A": "l2", "B": "l2", "C": "l2"}, lrs=[0.1], lambdas=[0.001], seeds=range(8))
    found = verdicts(records)
    table = to_frame(estimate_effects(records, found))
    assert list(zip(table["a"], table["b"], strict=True)) == [(each.a, each.b) for each in found]
    assert np.allclose(table["mean"], [each.mean for each in found])
    assert (table["improvement"] > 0.5).all()  # the better one of a pair stands first
    assert table.equals(to_frame(estimate_effects(records, found)))
