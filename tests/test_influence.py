"""Per-example values against numerical derivatives of the errors, and against the variance over test sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, r2_score

from adamcmp.metrics import functions
from adamcmp.metrics.influence import per_example

N = 60


def outputs_of(name, rng, count=N):
    if name in ("f1", "average_precision", "hamming_loss"):
        y = (rng.random((count, 3)) < 0.4).astype(float)
        return rng.normal(0, 1, (count, 3)).round(1) + y, y  # rounded: with equal scores
    y = rng.normal(0, 1, (count, 2))
    return y + rng.normal(0, 0.6, (count, 2)), y


def error(name, outputs, y):
    return functions.METRIC_FUNCTIONS[name](torch.from_numpy(outputs), torch.from_numpy(y))


def values_of(name, outputs, y):
    statistics = functions.METRIC_FUNCTIONS[name].statistics(torch.from_numpy(outputs), torch.from_numpy(y))
    return per_example(name, statistics.double().numpy(), y, y[0].size if name == "hamming_loss" else 1)


def weighted(name, outputs, y, weights):
    """The error with weights on the examples, by other people's code."""
    match name:
        case "f1":
            return f1_score(y, outputs > 0, average="macro", sample_weight=weights, zero_division=0)
        case "average_precision":
            return average_precision_score(y, outputs, average="macro", sample_weight=weights)
        case "r2":
            return r2_score(y, outputs, sample_weight=weights)
        case "rmse":
            return np.sqrt(np.average((outputs - y) ** 2, axis=0, weights=weights)).mean()
        case "mae":
            return np.average(np.abs(outputs - y), axis=0, weights=weights).mean()
        case _:
            return np.average((outputs > 0) != (y > 0.5), axis=0, weights=weights).mean()


@pytest.mark.parametrize("name", ["f1", "average_precision", "r2", "rmse", "mae", "hamming_loss"])
def test_values_are_the_error_and_its_derivative_by_the_weight_of_each_example(name):
    for seed in range(5):
        outputs, y = outputs_of(name, np.random.default_rng(seed))
        values = values_of(name, outputs, y)
        whole = error(name, outputs, y)
        mean = np.sqrt(values.mean()) if name == "rmse" else values.mean()
        assert mean == pytest.approx(whole, abs=1e-9)
        influence = (values - values.mean()) / (2 * whole) if name == "rmse" else values - values.mean()
        for i in range(0, N, 7):
            ends = []
            for step in (1e-5, -1e-5):
                weights = np.ones(N)
                weights[i] += step
                ends.append(weighted(name, outputs, y, weights))
            assert influence[i] == pytest.approx(N * (ends[0] - ends[1]) / 2e-5, abs=2e-4), (name, i)


@pytest.mark.parametrize("name", ["f1", "average_precision", "r2", "rmse"])
def test_their_variance_is_that_of_the_error_over_test_sets(name):
    rng = np.random.default_rng(0)
    errors = [error(name, *outputs_of(name, rng, 400)) for _ in range(300)]
    estimated = []
    for _ in range(40):
        outputs, y = outputs_of(name, rng, 400)
        values = values_of(name, outputs, y)
        values = values / (2 * error(name, outputs, y)) if name == "rmse" else values
        estimated.append(values.var(ddof=1) / 400)
    assert np.mean(estimated) == pytest.approx(np.var(errors), rel=0.25)


def test_degenerate_targets_have_values():
    zeros = np.zeros((5, 2))
    assert per_example("average_precision", np.ones((5, 2)), zeros) == pytest.approx(np.zeros(5))
    assert per_example("f1", np.zeros((5, 6)), zeros) == pytest.approx(np.zeros(5))
    assert per_example("r2", zeros, np.ones((5, 2))) == pytest.approx(np.ones(5))
    assert per_example("r2", np.ones((5, 1)), np.ones(5)) == pytest.approx(np.zeros(5))
    assert per_example("rmse", zeros, zeros) == pytest.approx(np.zeros(5))
    assert per_example("error_rate", np.array([[3.0], [1.0]]), np.zeros(2), 4) == pytest.approx([0.75, 0.25])
