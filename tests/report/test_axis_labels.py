from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from adamcmp.analysis import intervals
from adamcmp.figures import axis_labels as drawn
from adamcmp.metrics import spec
from adamcmp.metrics.spec import CLASSIFICATION, METRIC_SPECS, TaskMetrics
from adamcmp.report import formatting


@pytest.mark.parametrize("module", [spec, formatting, drawn, intervals])
def test_docstring_examples_hold(module):
    tried = doctest.testmod(module)
    assert tried.attempted > 0
    assert tried.failed == 0


@pytest.mark.parametrize(
    ("mean", "half", "metric", "text"),
    [
        (0.02314, 0.00198, "final_test_error", "2.31 ± 0.20 %"),
        (0.313, 0.0132, "final_test_error", "31.3 ± 1.3 %"),
        (0.5, 0.24, "final_test_error", "50 ± 24 %"),
        (0.02, 0.0, "final_test_error", "2.00 ± 0.00 %"),
        (0.0213, math.nan, "final_test_error", "2.13 %"),
        (math.nan, math.nan, "final_test_error", "–"),
        (0.1234, 0.0056, "final_train_loss", "0.1234 ± 0.0056 nat"),
        (0.0123, math.nan, "final_train_loss", "0.0123 nat"),
        (math.inf, math.nan, "final_train_loss", "inf nat"),
        (-0.01, 0.002, "final_gap", "−1.00 ± 0.20 pp"),
    ],
)
def test_quantities_have_the_digits_that_their_interval_carries(mean, half, metric, text):
    assert formatting.format_mean_ci(mean, half, metric, CLASSIFICATION) == text


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (3.26e-9, 9.2e-10, "3.26e-9 ± 0.92e-9"),
        (2.72812816578e11, 1.16318767230e11, "2.7e11 ± 1.2e11"),
        (-4.2e-7, 3.3e-6, "−0.4e-6 ± 3.3e-6"),
        (15755.2, 111.0, "15,755 ± 111"),
        (0.0123, 0.00045, "0.01230 ± 0.00045"),
        (5.0, 0.0, "5.0000 ± 0.0000"),
    ],
)
def test_quantities_of_any_size_are_short(mean, half, text):
    assert (
        formatting.format_mean_ci(mean, half, "final_test_error", TaskMetrics("squared", METRIC_SPECS["quantities"][0]))
        == text
    )


def test_tick_labels_are_powers_of_two_or_short_and_always_different():
    assert drawn.tick_labels([0.0, *(2.0**k for k in range(-6, 0))]) == ["0", "2⁻⁶", "2⁻⁵", "2⁻⁴", "2⁻³", "2⁻²", "2⁻¹"]
    assert drawn.tick_labels([0.1 * 2.0**k for k in (-10, -9, 0)]) == ["9.8e-5", "2e-4", "1e-1"]
    for values in (np.geomspace(1e-5, 1, 200), np.linspace(0, 1, 50), [1e-3, 1e-3 * (1 + 1e-12)]):
        found = drawn.tick_labels(list(values))
        assert len(set(found)) == len(values)


def test_short_numbers_say_the_value_to_their_digits():
    for x in 10.0 ** np.random.default_rng(0).uniform(-7, 5, 500):
        assert float(drawn.format_tick(x)) == pytest.approx(x, rel=0.051)
        assert len(drawn.format_tick(x)) <= 6


def test_the_footer_names_what_it_was_made_from(synthetic):
    records = synthetic.make_records(seeds=(0, 1, 2, 7))
    records = synthetic.end(records, records["seed"] == 7, "diverged")
    text = formatting.figure_footer(records)
    assert "study synthetic" in text
    assert "672 runs (168 diverged, 0 failed)" in text
    assert "seeds 0–2, 7" in text
    assert "adamcmp 0.1.0, torch 2.9.0" in text
    assert formatting.runs_hash(records) in text
    assert (
        formatting.runs_hash(records.iloc[::-1])
        == formatting.runs_hash(records)
        != formatting.runs_hash(records.iloc[1:])
    )
