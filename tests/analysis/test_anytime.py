"""The confidence sequence holds at every look, and an interval of fixed size does not."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from adamcmp.analysis import best_cells, cells, judged
from adamcmp.analysis.anytime import confidence_sequence, first_look, is_stuck, log_evidence, scale, settled
from adamcmp.analysis.verdicts import differences
from adamcmp.criteria import CLASSIFICATION
from adamcmp.report.judging import settled_sentence

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


@pytest.mark.parametrize("draw", [
    lambda rng: rng.standard_t(2, 60),
    *(pytest.param(each, marks=pytest.mark.slow)
      for each in (lambda rng: rng.normal(0, 1, 60), lambda rng: rng.integers(-3, 4, 60) / 3)),
])  # fmt: skip
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


def settling(synthetic, arms=2, count=40, gap=0.02):
    """Confirmed arms, and seeds of stage ``settle`` at their best cells."""
    names = dict.fromkeys("ABCD"[:arms], "lr_scaled")
    records = synthetic.confirmed(synthetic.make_records(names, lrs=[0.1], lambdas=[0.001, 0.01], seeds=range(4)))
    fresh = records[records["stage"] == "confirm"].groupby("arm").head(1)
    fresh = fresh.loc[fresh.index.repeat(count)].assign(stage="settle")
    fresh["seed"] = 2_000_000 + fresh.groupby("arm").cumcount()
    fresh["run_id"] = "settle " + fresh["arm"] + fresh["seed"].astype(str)
    fresh["final_test_error"] = (
        0.1 + gap * (fresh["arm"] == "B") + 0.003 * np.random.default_rng(4).standard_normal(len(fresh))
    )
    return pd.concat([records, fresh], ignore_index=True)


@pytest.mark.parametrize(("arms", "pairs"), [(2, 1), (4, 6)])
def test_each_pair_of_a_task_has_its_share_of_the_level(synthetic, arms, pairs):
    records = settling(synthetic, arms)
    best = best_cells(cells(records))
    found = settled(records, best, ("A", "B"))
    confirming, rows = judged(records, best), records[records["stage"] == "settle"]
    sd = differences(confirming, "A", "B").std(ddof=1)
    d = differences(rows, "A", "B")
    assert (found.low, found.high) == confidence_sequence(d, scale(sd, 0.05 / pairs), 0.05 / pairs)
    assert (found.n, found.kind) == (40, "apart")
    assert first_look(0.05 / pairs) == (8 if pairs == 1 else 11)


def test_test_examples_widen_what_is_settled(synthetic):
    records = settling(synthetic)
    best, hard = best_cells(cells(records)), np.random.default_rng(0).random(60)

    def outcomes(count):
        of = np.arange(count) % 60
        return {
            run: (hard[of] < error * 5).astype(float)
            for run, error in zip(records["run_id"], records["final_test_error"], strict=True)
        }

    known = outcomes(600)
    found, alone = (settled(records, best, ("A", "B"), outcomes=each) for each in (known, None))
    rows = records[records["stage"].isin(["confirm", "settle"])]
    means = {arm: np.mean([known[run] for run in part["run_id"]], axis=0) for arm, part in rows.groupby("arm")}
    half = stats.norm.ppf(0.975) * (means["A"] - means["B"]).std() / math.sqrt(600)
    assert found.high_examples - found.mean == pytest.approx(math.hypot(alone.high - alone.mean, half), rel=0.03)
    assert "with test examples" in settled_sentence(found, CLASSIFICATION.error)
    few = settled(records, best, ("A", "B"), outcomes=outcomes(60))
    assert few.kind == "open"
    assert is_stuck(few)
    assert "test on more" in settled_sentence(few, CLASSIFICATION.error)
