"""Adam with a record: it moves as Adam does, and tells exactly what decay took."""

from __future__ import annotations

import pytest
import torch

from adamcmp.config.builtin_rules import builtin_rule
from adamcmp.engine.simulate import simulate
from adamcmp.optim.traced import Traced

STEPS = 30
SETTINGS = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3}


def traced(decay, weight_decay):
    own = builtin_rule("adamw", weight_decay=weight_decay, **SETTINGS).model_dump()
    return Traced.model_validate({**own, "decay": decay, "rule": "traced"})


def noise(t, shape=(1, 5)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(t), dtype=torch.float64)


@pytest.mark.parametrize("decay", ["l2", "l2_m_only", "l2_v_only", "lr_scaled", "lr_squared", "lr_free"])
def test_it_moves_as_adam_does_to_the_last_bit(decay):
    start = noise(99)
    own = builtin_rule("adamw", weight_decay=0.1, **SETTINGS)
    plain = type(own).model_validate({**own.model_dump(), "decay": decay})
    paths = [simulate([each], start, lambda w, t: noise(t), STEPS) for each in (plain, traced(decay, 0.1))]
    assert torch.equal(*paths)


@pytest.mark.parametrize("decay", ["l2", "l2_m_only", "l2_v_only", "lr_scaled"])
def test_what_decay_took_is_what_a_step_without_it_leaves(decay):
    """The same moments of the gradients alone in the numerator, and the same denominator: the rest is decay."""
    beta1, lr = SETTINGS["betas"][0], SETTINGS["lr"]
    before, m, seen = noise(99), torch.zeros(1, 5, dtype=torch.float64), []

    def callback(t, weights, state):
        nonlocal m
        m = beta1 * m + (1 - beta1) * noise(t - 1)
        without = before - lr * m / (1 - beta1**t) / state["scale"]
        seen.append((without - weights - state["taken"]).abs().max().item())
        assert torch.equal(state["grad"], noise(t - 1))
        before.copy_(weights)

    simulate([traced(decay, 0.1)], before.clone(), lambda w, t: noise(t), STEPS, callback=callback)
    assert max(seen) < 1e-15


def test_cautious_decay_cannot_be_told_so():
    with pytest.raises(ValueError, match="cautious"):
        traced("cautious", 0.1)
