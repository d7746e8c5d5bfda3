"""The leading run axis: a row is the same training whether it stands alone or among others."""

from __future__ import annotations

import numpy as np
import pytest

STEPS = 60
TOLERANCE = {"rtol": 0.0, "atol": 1e-14}

ADAPTIVE = [
    {"lr": 3e-3, "convention": "l2", "weight_decay": 0.1},
    {"lr": 3e-3, "convention": "lr_scaled", "weight_decay": 0.1},
    {"lr": 1e-2, "convention": "schedule_only", "weight_decay": 1e-3, "beta1": 0.8, "beta2": 0.95},
    {"lr": 1e-2, "convention": "normalized", "weight_decay": 0.05},
    {"lr": 3e-3, "convention": "l2_m_only", "weight_decay": 0.1, "eps": 1e-3, "eps_before": True},
    {"lr": 3e-3, "convention": "l2_v_only", "weight_decay": 0.1, "bias_correction": False},
    {"lr": 2e-3, "beta1": 0.0, "beta2": 0.9, "bias_correction": False},  # RMSProp
    {"lr": 5e-2, "beta1": 0.0, "sums": True, "eps": 1e-10},  # Adagrad
    {"lr": 5e-2, "beta1": 0.0, "sums": True, "convention": "lr_scaled", "weight_decay": 0.2},
]
MOMENTUM = [
    {"lr": 1e-2, "momentum": 0.0},
    {"lr": 1e-2, "convention": "l2", "weight_decay": 0.1},
    {"lr": 1e-2, "convention": "l2", "weight_decay": 0.1, "nesterov": True},
    {"lr": 2e-2, "convention": "schedule_only", "weight_decay": 1e-2, "lr_in_buffer": True},
    {"lr": 2e-2, "convention": "lr_scaled", "weight_decay": 0.5, "nesterov": True, "lr_in_buffer": True},
    {"lr": 1e-2, "convention": "normalized", "weight_decay": 0.05, "momentum": 0.5},
]
SHAPES = [(7,), (3, 5), ()]  # of one run's parameter; R leads


def gradient(t, theta):
    """Different in every step and element, the same function for every run; not linear in θ."""
    noise = np.random.default_rng(t).normal(size=theta.shape[1:])
    return np.tanh(theta) + noise


class StackedRows:
    """Settings, start points and schedules of the runs in ``table``, and the paths of any choice of them."""

    def __init__(self, table, row, stack, walk, shape):
        rng = np.random.default_rng(5)
        self.rows = [row(**settings) for settings in table]
        self.start = rng.normal(size=(len(table), *shape))
        self.eta_TR = rng.uniform(0.1, 1.0, (STEPS, len(table)))
        self.period_TR = rng.integers(10, 60, (STEPS, len(table))).astype(np.float64)
        self._stack, self._walk = stack, walk

    def paths(self, chosen, gradient=gradient):
        chosen = list(chosen)
        hyper = self._stack([self.rows[r] for r in chosen])
        return self._walk(hyper, self.start[chosen], gradient, self.eta_TR[:, chosen], self.period_TR[:, chosen])


@pytest.fixture(
    params=[(family, shape) for family in ("adaptive", "momentum") for shape in SHAPES],
    ids=lambda p: f"{p[0]}-{len(p[1])}d",
)
def run_group(request, adaptive_row, momentum_row, stack, walk):
    family, shape = request.param
    table, row = {"adaptive": (ADAPTIVE, adaptive_row), "momentum": (MOMENTUM, momentum_row)}[family]
    return StackedRows(table, row, stack, walk, shape)


def test_each_row_is_the_run_alone(run_group):
    runs = range(len(run_group.rows))
    together = run_group.paths(runs)
    for r in runs:
        np.testing.assert_allclose(together[:, r], run_group.paths([r])[:, 0], **TOLERANCE)


def test_rows_are_different_trainings(run_group):
    """Else the test above could not see one row's settings used for another."""
    run_group.start[:] = run_group.start[:1]
    run_group.eta_TR[:] = run_group.eta_TR[:, :1]
    run_group.period_TR[:] = run_group.period_TR[:, :1]
    ends = run_group.paths(range(len(run_group.rows)))[-1].reshape(len(run_group.rows), -1)
    for r in range(len(ends)):
        others = np.delete(ends, r, axis=0)
        assert np.min(np.max(np.abs(others - ends[r]), axis=1)) > 1e-6


def test_permuting_runs_permutes_rows(run_group):
    order = np.random.default_rng(6).permutation(len(run_group.rows))
    permuted = run_group.paths(order)
    np.testing.assert_allclose(permuted, run_group.paths(range(len(order)))[:, order], **TOLERANCE)


def test_adding_a_run_changes_no_other(run_group):
    runs = len(run_group.rows)
    np.testing.assert_allclose(run_group.paths(range(runs - 1)), run_group.paths(range(runs))[:, :-1], **TOLERANCE)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_diverged_run_changes_no_other(run_group, poison):
    def poisoned(t, theta):
        grad = gradient(t, theta)
        if t >= 20:
            grad[0] = poison
        return grad

    runs = range(len(run_group.rows))
    healthy, sick = run_group.paths(runs), run_group.paths(runs, poisoned)
    assert np.all(np.isfinite(sick[:20, 0]))
    assert not np.any(np.isfinite(sick[-1, 0]))
    np.testing.assert_allclose(sick[:, 1:], healthy[:, 1:], **TOLERANCE)
