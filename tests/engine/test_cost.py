import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from adamcmp.config.schema import CustomOptimizer
from adamcmp.engine import loading, sequential, vectorized
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.loading import CPU
from adamcmp.engine.strategy import vectorizable
from adamcmp.engine.strategy.cost import profile_group
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.engine.strategy.vectorizable import MAX_REASON_CHARS, why_not_vectorizable
from adamcmp.plan.runs import RunGroup, group_runs


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


def run_group_of(planned, *overrides, config="digits"):
    runs, datasets = planned(*overrides, config=config)
    run_group = group_runs(runs)[0]
    return run_group, datasets[run_group.task.facts.fingerprint], CPU


def look(planned, *overrides):
    return profile_group(*run_group_of(planned, *overrides))


@pytest.mark.parametrize("overrides", [[], ["model.dropout=0.5"], ["model=cnn"], ["model=cnn", "model.norm=batch"]])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
def test_shipped_models_can_be_vectorised(planned, overrides, precision):
    asked = run_group_of(planned, *overrides, f"train.precision={precision}", "seed=0,1")
    found = profile_group(*asked)
    if precision == "bf16" and "model.norm=batch" in overrides:  # torch.func's batch norm takes no mixed precision
        assert "BFloat16" in why_not_vectorizable(*asked)
        return
    assert why_not_vectorizable(*asked) is None
    assert found.draws == ("model.dropout=0.5" in overrides)
    assert found.state_bytes > 0
    assert found.activation_bytes > 0


def test_costs_are_counted(planned):
    found = look(planned)
    assert found.flops == 3 * 2 * 100 * (64 * 32 + 32 * 10)
    assert found.state_bytes == 4 * 4 * 2410


class RunningMean(nn.Module):
    """Binds a buffer anew, as most people write a running mean."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.register_buffer("mean", torch.zeros(64))

    def forward(self, x):
        x = x.flatten(1)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0).detach()
        return self.layer(x - 3 * self.mean)


class Attribute(RunningMean):
    """The same in an attribute that is no buffer."""

    def __init__(self):
        super().__init__()
        del self.mean
        self.mean = torch.zeros(64)


class Steps(Branches):
    """Counts its own passes."""

    def __init__(self):
        super().__init__()
        self.seen = [0]

    def forward(self, x):
        self.seen[0] += self.training
        return self.layer(x.flatten(1)) / (1 + self.seen[0])


class WritesWhenAsked(RunningMean):
    """Changes a buffer in evaluations."""

    def forward(self, x):
        x = x.flatten(1)
        if not self.training:
            self.mean.add_(x.mean(0))
        return self.layer(x - self.mean)


class Caches(Branches):
    """What only the first pass makes is no change."""

    def __init__(self):
        super().__init__()
        self.scale = None

    def forward(self, x):
        if self.scale is None:
            self.scale = 2.0
        return self.scale * self.layer(x.flatten(1))


@pytest.fixture
def instead(monkeypatch):
    """Put a model in the place of every one that is built."""

    def put(model):
        def build(task, seed, device):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return model().to(device, loading.DTYPES[task.train.precision])

        for where in ("strategy.cost", "batched_program", "vectorized", "sequential", "strategy.vectorizable"):
            monkeypatch.setattr(f"adamcmp.engine.{where}.build_model", build)
        monkeypatch.setattr("adamcmp.engine.batched_program._programs", {})

    return put


@pytest.mark.parametrize("model", [Branches, Counts, OwnGradient])
def test_what_torch_func_cannot_do_is_the_reason(planned, instead, model):
    instead(model)
    assert 10 < len(why_not_vectorizable(*run_group_of(planned, "seed=77,78"))) <= MAX_REASON_CHARS


@pytest.mark.parametrize(
    ("model", "names"), [(Attribute, "mean"), (Steps, "seen"), (WritesWhenAsked, "mean"), (Caches, None)]
)
def test_what_a_pass_changes_and_no_program_can_carry_is_the_reason(planned, instead, model, names):
    instead(model)
    found = why_not_vectorizable(*run_group_of(planned, "seed=77,78"))
    assert found is None if names is None else f"changes {names}" in found


class Alias(nn.Module):
    """Holds another module's weights as a plain attribute."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(64, 16), nn.Linear(16, 10)
        self.alias = self.a.weight.data

    def forward(self, x):
        return self.b(torch.tanh(x.flatten(1) @ self.alias.T + self.a(x.flatten(1))))


class SharedData(nn.Module):
    """Two parameters in one memory."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.b.weight.data = self.a.weight.data

    def forward(self, x):
        return self.head(self.b(torch.tanh(self.a(x.flatten(1)))))


class LayerDrop(nn.Module):
    """Leaves a layer out at random; a layer that is left out has no gradient, and does not decay."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        x = x.flatten(1)
        return self.head(x if self.training and torch.rand([]) < 0.5 else self.first(x))


class DropsByPython(LayerDrop):
    def forward(self, x):
        x = x.flatten(1)
        return self.head(x if random.random() < 0.5 else self.first(x))


class NoiseByNumpy(LayerDrop):
    def forward(self, x):
        x = x.flatten(1)
        return self.head(self.first(x) + float(np.random.normal()))


class Fourier(nn.Module):
    """A complex buffer, as rotary embeddings have."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.register_buffer("turn", torch.polar(torch.ones(32), torch.arange(32.0)))

    def forward(self, x):
        turned = torch.view_as_complex(x.flatten(1).view(-1, 32, 2).float()) * self.turn.to(torch.complex64)
        return self.head(torch.view_as_real(turned).flatten(1).to(x.dtype))


class Tied(nn.Module):
    """One parameter in two modules is one parameter, which a program may have."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.head(self.b(torch.tanh(self.a(x.flatten(1)))))


@pytest.mark.parametrize(
    ("model", "says"),
    [(Alias, "alias shares memory"), (SharedData, "b.weight shares memory"), (LayerDrop, "reads the value of a tensor"),
     (DropsByPython, "Python's or NumPy's generator"), (NoiseByNumpy, "Python's or NumPy's generator"),
     (Fourier, "complex"), (Tied, None)],
)  # fmt: skip
def test_what_losses_of_a_few_steps_need_not_show_is_looked_for(planned, instead, model, says):
    instead(model)
    found = why_not_vectorizable(*run_group_of(planned, "seed=77,78"))
    assert found is None if says is None else says in found


class MixesSeeds(nn.Module):
    """Right with one seed in a program, and wrong where vmap is nested."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.register_buffer("mean", torch.zeros(64))

    def forward(self, x):
        return self.head(x.flatten(1)) + 0.1 * x.flatten(1).sum() * self.head.weight.sum()


def test_two_seeds_with_two_rows_each_are_compared_in_float64(planned, instead, monkeypatch):
    instead(MixesSeeds)
    seen = []
    honest = vectorizable.vectorized.train_shard

    def train(shard, *given):
        seen.append(([(run.seed, run.optimizer.lr) for run in shard.runs], shard.task.train.precision))
        return honest(shard, *given)

    monkeypatch.setattr(vectorizable.vectorized, "train_shard", train)
    assert why_not_vectorizable(*run_group_of(planned, "seed=77", "optimizer.lr=1e-5")) is None
    assert seen == [([(0, 1e-3), (0, 2e-3), (1, 1e-3), (1, 2e-3)], "fp64")]


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_a_buffer_bound_anew_is_carried_as_the_sequential_engine_does(planned, instead, precision):
    instead(RunningMean)
    run_group, data, device = run_group_of(
        planned, "seed=77,78", "train.steps=20", f"train.precision={precision}", "optimizer.lr=1e-3,1e-2"
    )
    assert why_not_vectorizable(run_group, data, device) is None
    alone = list(sequential.train_shard(Shard.of(run_group, Strategy()), data, device, TrainingControl()))
    rows = list(
        vectorized.train_shard(Shard.of(run_group, Strategy(engine="vectorised")), data, device, TrainingControl())
    )
    for one, other in zip(alone, rows, strict=True):
        expected, found = one.evaluations[-1].validation_loss, other.evaluations[-1].validation_loss
        assert found == pytest.approx(expected, rel=1e-10 if precision == "fp64" else 1e-4)


def test_losses_that_differ_are_the_reason(planned, monkeypatch):
    honest = vectorizable.vectorized.train_shard

    def train(*given):
        for outcome in honest(*given):
            *others, last = outcome.evaluations
            yield replace(outcome, evaluations=(*others, last._replace(test_loss=1.01 * last.test_loss)))

    monkeypatch.setattr(vectorizable.vectorized, "train_shard", train)
    assert "the model has test loss" in why_not_vectorizable(*run_group_of(planned, "seed=77,78"))


def test_an_own_optimizer_is_a_reason(planned):
    run_group, data, device = run_group_of(planned)
    own = CustomOptimizer(name="o", label="o", target="my.Optimizer", source=None, lr=0.1, arguments={})
    runs = tuple(replace(run, optimizer=own) for run in run_group.runs)
    assert "custom optimizer" in why_not_vectorizable(RunGroup(run_group.task, "my.Optimizer", runs), data, device)


def test_looking_leaves_the_random_state_alone(planned):
    before = torch.get_rng_state()
    look(planned, "model.dropout=0.5")
    assert torch.equal(torch.get_rng_state(), before)
