from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adamcmp.analysis import holm, mean_interval, paired_difference

finite = st.floats(-1e3, 1e3, allow_nan=False)


def test_interval_equals_scipys():
    x = [0.021, 0.025, 0.019, 0.030]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(x), scale=stats.sem(x))
    mean, half, n = mean_interval(x)
    assert (mean - half, mean + half, n) == pytest.approx((low, high, 4), abs=1e-15)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_interval_covers_the_true_mean_in_95_percent_of_samples(n):
    rng = np.random.default_rng(1)
    samples = rng.normal(0.3, 0.05, (4000, n))
    covered = [abs(i.mean - 0.3) <= i.half_width for i in map(mean_interval, samples)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


def test_paired_interval_covers_and_its_test_keeps_its_level():
    rng = np.random.default_rng(2)
    seeds = rng.normal(0, 1, (3000, 4))  # the spread between seeds, which pairing takes out
    differences = rng.normal(0, 0.1, (3000, 4))
    found = [
        paired_difference(dict(enumerate(s + d)), dict(enumerate(s))) for s, d in zip(seeds, differences, strict=True)
    ]
    assert np.mean([f.low <= 0 <= f.high for f in found]) == pytest.approx(0.95, abs=0.015)
    assert np.mean([f.p_value < 0.05 for f in found]) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(("values", "n"), [([], 0), ([0.2], 1), ([0.2, math.nan], 1)])
def test_fewer_than_two_seeds_have_no_interval(values, n):
    interval = mean_interval(values)
    assert interval.n == n
    assert math.isnan(interval.half_width)


def test_an_infinite_loss_makes_the_mean_infinite_and_the_spread_unknown():
    interval = mean_interval([1.0, math.inf])
    assert interval.mean == math.inf
    assert math.isnan(interval.half_width)


def test_pairing_takes_the_seeds_that_both_have():
    a, b = {0: 0.5, 1: 0.4, 2: 0.6, 9: 99.0}, {2: 0.3, 1: 0.2, 0: 0.1, 7: -99.0}
    paired = paired_difference(a, b)
    reference = stats.ttest_rel([0.5, 0.4, 0.6], [0.1, 0.2, 0.3])
    low, high = reference.confidence_interval(0.95)
    assert paired.n == 3
    assert paired == pytest.approx((0.3, low, high, reference.pvalue, 3), rel=1e-12)


def test_pairing_takes_series_indexed_by_seed_and_refuses_a_seed_that_stands_twice():
    a = pd.Series([0.5, 0.4], index=[0, 1])
    assert paired_difference(a, a - 0.1).mean == pytest.approx(0.1)
    with pytest.raises(ValueError, match="twice"):
        paired_difference(pd.Series([1.0, 2.0], index=[0, 0]), a)


def test_equal_results_are_no_evidence_and_one_seed_none_either():
    for shift in (0.0, 1 / 360):  # errors are multiples of 1/N_test, so that equal differences come about by chance
        tied = paired_difference({0: 0.1, 1: 0.2, 2: 0.4}, {0: 0.1 + shift, 1: 0.2 + shift, 2: 0.4 + shift})
        assert tied.mean == pytest.approx(-shift)
        assert math.isnan(tied.p_value)
        assert math.isnan(tied.low)
    assert math.isnan(paired_difference({0: 0.1}, {0: 0.2}).p_value)
    assert paired_difference({0: 0.1}, {1: 0.2}).n == 0


@given(st.lists(st.tuples(finite, finite), min_size=2, max_size=6))
def test_swapping_the_two_sides_mirrors_the_interval(pairs):
    a, b = (dict(enumerate(side)) for side in zip(*pairs, strict=True))
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low), abs=1e-9, nan_ok=True)
    assert one.p_value == pytest.approx(other.p_value, nan_ok=True)


def test_two_shared_seeds_have_an_interval_and_fewer_have_nothing_but_a_mean():
    two = paired_difference({0: 0.5, 1: 0.3}, {0: 0.1, 1: 0.2})
    low, high = stats.ttest_rel([0.5, 0.3], [0.1, 0.2]).confidence_interval(0.95)
    assert (two.low, two.high, two.n) == pytest.approx((low, high, 2))
    one = paired_difference({0: 0.5, 1: 0.3}, {0: 0.1})
    assert (one.mean, one.n) == (0.4, 1)
    none = paired_difference({0: 0.5}, {1: 0.1})
    assert none.n == 0
    tied = paired_difference({0: 0.5, 1: 0.3}, {0: 0.4, 1: 0.2})
    assert (tied.mean, tied.n) == (pytest.approx(0.1), 2)
    for each in (one, none, tied):
        assert all(map(math.isnan, (each.low, each.high, each.p_value)))
    assert math.isnan(none.mean)


def test_a_seed_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match=r"^a seed occurs twice: pair one run per seed"):
        paired_difference(pd.Series([1.0, 2.0], index=[3, 3]), {3: 1.0})


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holms_adjustment_is_that_of_its_definition(p_values):
    """max over the smaller p of (how many are at least as large as that one) times that one, and at most 1."""
    m = len(p_values)
    ranked = sorted(range(m), key=lambda i: p_values[i])
    expected = {
        i: max(min(1.0, (m - k) * p_values[ranked[k]]) for k in range(place + 1)) for place, i in enumerate(ranked)
    }
    assert holm(p_values) == [expected[i] for i in range(m)]


@pytest.mark.parametrize(
    ("given_p", "adjusted"),
    [([], []), ([0.04], [0.04]), ([0.04, 1.0], [0.08, 1.0]), ([0.5, 0.9], [1.0, 1.0]), ([0.03, 0.01], [0.03, 0.02])],
)
def test_holm_by_hand(given_p, adjusted):
    assert holm(given_p) == pytest.approx(adjusted)


def test_holm_accepts_where_the_next_p_value_is_smaller():
    """The second of three is taken times two, and no adjusted value is below one before it."""
    assert holm([0.02, 0.021, 0.9]) == pytest.approx([0.06, 0.06, 0.9])
