from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adamcmp.analysis import holm
from adamcmp.analysis.intervals import half_width


def test_half_width_equals_scipys():
    x = [0.021, 0.025, 0.019, 0.030]
    _, high = stats.t.interval(0.95, 3, loc=np.mean(x), scale=stats.sem(x))
    assert half_width(np.std(x, ddof=1), 4) == pytest.approx(high - np.mean(x), abs=1e-15)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_interval_covers_the_true_mean_in_95_percent_of_samples(n):
    samples_XS = np.random.default_rng(1).normal(0.3, 0.05, (4000, n))
    covered = np.abs(samples_XS.mean(1) - 0.3) <= half_width(samples_XS.std(1, ddof=1), n)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


def test_fewer_than_two_seeds_have_no_interval():
    assert np.isnan(half_width([0.1, math.nan], [1, 0])).all()


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
