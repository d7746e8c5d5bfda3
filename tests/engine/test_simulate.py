"""Kernels on gradients that a formula gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adamcmp.config.builtin_rules import builtin_rule, builtin_rules
from adamcmp.engine.simulate import simulate

STEPS = 40
ETA = 0.5 + 0.5 * np.cos(np.pi * np.arange(STEPS) / STEPS)
CURVATURE = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)


def test_each_row_is_torchs_own_path():
    start = torch.tensor([[1.0, -2.0, 3.0]], dtype=torch.float64).expand(3, -1).contiguous()
    settings = [(0.01, 0.0), (0.05, 0.1), (0.1, 1.0)]
    rules = [builtin_rule("adamw", lr=lr, weight_decay=decay) for lr, decay in settings]
    found = simulate(rules, start, lambda weights, t: CURVATURE * weights, STEPS, eta=ETA)
    for row, (lr, decay) in enumerate(settings):
        weight = torch.nn.Parameter(start[row].clone())
        optimizer = torch.optim.AdamW([weight], lr=lr, weight_decay=decay)
        for eta in ETA:
            optimizer.param_groups[0]["lr"] = lr * eta
            weight.grad = CURVATURE * weight.detach()
            optimizer.step()
        torch.testing.assert_close(found[row], weight.detach(), rtol=1e-12, atol=1e-14)


def test_steps_are_told_from_one_and_the_start_is_left_alone():
    told, start = [], torch.ones(1, 2, dtype=torch.float64)
    simulate([builtin_rule("sgd", momentum=0.0)], start, lambda w, t: w, 3, callback=lambda t, w, s: told.append(t))
    assert told == [1, 2, 3]
    assert start.eq(1).all()


def test_rows_of_other_kernels_are_refused():
    rules = [builtin_rule("adam"), builtin_rule("adamw_cautious")]
    with pytest.raises(ValueError, match="2 kernels in one simulation: adam, adam cautious"):
        simulate(rules, torch.ones(2, 1), lambda w, t: w, 1)


def test_shipped_rules_are_those_of_the_files():
    assert builtin_rule("adam", lr=0.5).lr == 0.5
    assert {"adam", "lion", "muon"} <= builtin_rules().keys()
    assert "adam_traced" not in builtin_rules()
    with pytest.raises(ValueError, match="prodigy is no rule"):
        builtin_rule("prodigy")
