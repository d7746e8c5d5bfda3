import pytest
import torch
from torch import nn

from adamcmp.engine import profile as module
from adamcmp.engine.inputs import CPU
from adamcmp.engine.profile import LONGEST_REASON, profile
from adamcmp.plan.runs import Cohort, cohorts


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        out = self.layer(x.flatten(1))
        return out if out.sum() > 0 else 2 * out


class Counts(Branches):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(64, momentum=None)

    def forward(self, x):
        return self.layer(self.norm(x.flatten(1)))


class Square(torch.autograd.Function):
    """Without the rules that torch.func asks for."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x * grad


class OwnGradient(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return Square.apply(self.layer(x.flatten(1)))


def look(planned, *overrides, config="digits"):
    runs, datasets = planned(*overrides, config=config)
    cohort = cohorts(runs)[0]
    return profile(cohort, datasets[cohort.task.facts.fingerprint], CPU)


@pytest.mark.parametrize("overrides", [[], ["model.dropout=0.5"], ["model=cnn"], ["model=cnn", "model.norm=batch"]])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
def test_shipped_models_can_be_vectorised(planned, overrides, precision):
    found = look(planned, *overrides, f"train.precision={precision}")
    if precision == "bf16" and "model.norm=batch" in overrides:  # torch.func's batch norm takes no mixed precision
        assert "BFloat16" in found.refusal
        return
    assert found.refusal is None
    assert found.draws == ("model.dropout=0.5" in overrides)
    assert found.state_bytes > 0
    assert found.activation_bytes > 0


def test_costs_are_counted(planned):
    found = look(planned)
    assert found.flops == 3 * 2 * 100 * (64 * 32 + 32 * 10)
    assert found.state_bytes == 4 * 4 * 2410


@pytest.mark.parametrize("model", [Branches, Counts, OwnGradient])
def test_what_torch_func_cannot_do_is_the_reason(planned, monkeypatch, model):
    build = module.build_model

    def instead(task, seed, device):
        build(task, seed, device)
        return model()

    for where in ("adamcmp.engine.profile", "adamcmp.engine.program", "adamcmp.engine.vectorised"):
        monkeypatch.setattr(f"{where}.build_model", instead)
    monkeypatch.setattr("adamcmp.engine.program._kept", {})
    assert 10 < len(look(planned, "seed=77").refusal) <= LONGEST_REASON


def test_an_own_optimizer_is_a_reason(planned):
    runs, datasets = planned()
    cohort = Cohort(runs[0].task, "my.Optimizer", runs)
    assert "own optimizer" in profile(cohort, datasets[cohort.task.facts.fingerprint], CPU).refusal


def test_looking_leaves_the_random_state_alone(planned):
    before = torch.get_rng_state()
    look(planned, "model.dropout=0.5")
    assert torch.equal(torch.get_rng_state(), before)
