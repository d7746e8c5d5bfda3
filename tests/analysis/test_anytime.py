"""The confidence sequence holds at every look, and an interval of fixed size does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from adamcmp.analysis.anytime import confidence_sequence, log_evidence, scale

LOOKS = range(2, 61, 2)


@pytest.mark.parametrize("rho", [0.1, 1.0, 5.0])
def test_the_evidence_is_the_mixture_over_normal_weights(rho):
    d = np.random.default_rng(0).normal(0.3, 1, 7)
    for mean in (-0.5, 0.0, 0.4):
        total, squares = (d - mean).sum(), ((d - mean) ** 2).sum()

        def weighted(x, total=total, squares=squares):
            return math.exp(x * total - x**2 * squares / 2) * stats.norm.pdf(x, scale=rho)

        expected, _ = integrate.quad(weighted, -40 * rho, 40 * rho, points=[0], limit=500)
        assert log_evidence(d, mean, rho) == pytest.approx(math.log(expected), abs=1e-6)


def test_its_ends_are_where_the_evidence_is_large_enough():
    d = np.random.default_rng(1).normal(0.3, 1, 25)
    low, high = confidence_sequence(d, scale(1.0))
    assert low < d.mean() < high
    for end in (low, high):
        assert log_evidence(d, end, scale(1.0)) == pytest.approx(-math.log(0.05 - 2 / 2**8), abs=1e-9)
    assert confidence_sequence(d[:7], scale(1.0)) == (-math.inf, math.inf)
    low, high = confidence_sequence(d[:8], scale(1.0))
    assert d[:8].min() <= low < high <= d[:8].max()


@pytest.mark.parametrize("draw", [lambda rng: rng.normal(0, 1, 60), lambda rng: rng.standard_t(2, 60),
                                  lambda rng: rng.integers(-3, 4, 60) / 3])  # fmt: skip
def test_looking_often_does_not_raise_its_error_rate(draw):
    rng = np.random.default_rng(2)
    wrong = naive = 0
    trials = 300
    for _ in range(trials):
        d = draw(rng)
        looks = [d[:n] for n in LOOKS if np.ptp(d[:n]) > 0]
        ends = [confidence_sequence(each, scale(1.0)) for each in looks]
        wrong += any(low > 0 or high < 0 for low, high in ends)
        naive += any(stats.ttest_1samp(each, 0).pvalue < 0.05 for each in looks)
    assert wrong <= 0.05 * trials + 3 * math.sqrt(0.05 * 0.95 * trials)
    assert naive > 0.12 * trials


def test_it_finds_a_difference_and_narrows():
    d = np.random.default_rng(3).normal(0.5, 1.0, 200)
    widths = [np.diff(confidence_sequence(d[:n], scale(1.0)))[0] for n in (10, 40, 200)]
    assert widths == sorted(widths, reverse=True)
    low, _ = confidence_sequence(d, scale(1.0))
    assert low > 0
    fixed = 2 * stats.t.ppf(0.975, 199) * d.std(ddof=1) / math.sqrt(200)
    assert fixed < widths[-1] < 2.2 * fixed  # the price of looking often
