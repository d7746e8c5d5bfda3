"""Settings become the update that they name: the engine's step equals the kernel's, whichever of the two it takes."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from adamcmp.config.validate import validate_optimizer
from adamcmp.engine import optimizer_step
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.coefficients import (
    ParamKind,
    build_coefficient_table,
    first_period,
    lr_and_decay,
    param_kind,
    schedule_of,
)
from adamcmp.engine.loading import CPU
from adamcmp.engine.optimizer_step import make_optimizer_step
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.engine.train import train_shard
from adamcmp.errors import InputError
from adamcmp.optim.rules.adam import Adam
from adamcmp.plan.runs import group_runs

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "optimizer").glob("*.yaml"))
NAMES = [path.stem for path in CONFIGS if "rule:" in path.read_text()]
NAMES.remove("adam_fixed_norm")  # it has no λ
BY_TORCH = {"adam", "adamw", "rmsprop", "adagrad", "sgd", "nesterov"}


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 3)).double()


def gradients(model, x):
    model.zero_grad()
    model(x).square().mean().backward()


def by_kernel(rule, model, schedule, t, state):
    for name, p in model.named_parameters():
        kind = param_kind(rule, name, p, model)
        if name not in state:
            state[name] = rule.kernel.start(rule, p.detach()[None].clone(), kind.part)
        names, values = build_coefficient_table(rule, kind, schedule, t, t + 1)
        now = torch.from_numpy(values[0]).view(-1, *(1,) * (p.ndim + 1)).unbind(0)
        rule.kernel.update(p.data[None], p.grad[None], state[name], dict(zip(names, now, strict=True)), kind.part)


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_optimizer_steps_as_its_kernel(planned, name):
    """Some parameters of the model decay, the others do not."""
    overrides = [f"optimizer={name}", "optimizer.decayed=no_bias_norm", "optimizer.weight_decay=0.05", "train.steps=25"]
    ((run,), _) = planned(*overrides, "schedule=warm_restarts", "schedule.T_0=1", "schedule.warmup_steps=3")
    schedule = schedule_of(run)
    ours, theirs = net(), net()
    update, state = make_optimizer_step(run.optimizer, ours, schedule), {}
    start = [p.detach().clone() for p in theirs.parameters()]
    for t in range(run.task.steps):
        x = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(t))
        gradients(ours, x)
        update.step(t)
        gradients(theirs, x)
        with torch.no_grad():
            by_kernel(run.optimizer, theirs, schedule, t, state)
    for p, q, s in zip(ours.parameters(), theirs.parameters(), start, strict=True):
        torch.testing.assert_close(p - s, q - s, rtol=1e-10, atol=1e-12)
    assert isinstance(make_optimizer_step(run.optimizer, net(), schedule), optimizer_step._TorchStep) == (
        name in BY_TORCH
    )


@pytest.mark.parametrize("name", NAMES)
def test_biases_and_norms_are_spared_where_asked(planned, name):
    """With zero gradients only decay moves weights; under L2 the adaptive rules move them too."""
    decay = "optimizer.weight_decay=0.5"
    ((run,), _) = planned(f"optimizer={name}", "optimizer.decayed=no_bias_norm", decay, "train.steps=5")
    if name in {"adam_v_only", "adamw_cautious"}:
        return  # its decay enters the denominator alone; it decays where there is a step
    model = net()
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
            p.grad = torch.zeros_like(p)
    update = make_optimizer_step(run.optimizer, model, schedule_of(run))
    for t in range(5):
        update.step(t)
    assert all((p == 1.0).all() == (p.ndim < 2) for p in model.parameters())


def test_the_schedule_scales_the_learning_rate_of_an_own_optimizer(planned, tmp_path):
    ((run,), _) = planned("optimizer=adamw", "schedule=drop_step", "train.steps=10")
    own = optimizer_step.CustomOptimizer(
        name="own", label="own", target="torch.optim.SGD", source=None, lr=0.5, arguments={}
    )
    model = net()
    update = make_optimizer_step(own, model, schedule_of(run))
    for t in range(10):
        before = [p.detach().clone() for p in model.parameters()]
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        update.step(t)
        lr = 0.5 * 0.1 ** sum(t / 10 >= m for m in (0.3, 0.6, 0.8))
        for p, b in zip(model.parameters(), before, strict=True):
            torch.testing.assert_close(b - p, torch.full_like(p, lr), rtol=1e-9, atol=1e-12)


def test_restarts_count_in_epochs(planned):
    ((run,), _) = planned("schedule=warm_restarts", "schedule.T_0=2", "schedule.T_mult=2", "train.epochs=6")
    per_epoch = run.task.facts.train_examples // run.task.batch_size
    assert run.task.steps == 6 * per_epoch
    schedule = schedule_of(run)
    restarts = np.flatnonzero(np.diff(schedule.whole().eta_T) > 0) + 1
    assert restarts.tolist() == [2 * per_epoch]
    assert schedule.whole().period_T[[0, -1]].tolist() == [2 * per_epoch, 4 * per_epoch]
    assert first_period(run) == 2 * per_epoch


@pytest.mark.parametrize(
    ("target", "arguments", "says"),
    [
        ("torch.optim.SGD", {"momentun": 1}, "momentun"),
        ("torch.nn.Linear", {"in_features": 1}, "cannot be built"),
        ("unittest.mock.Mock", {}, "must be a torch.optim.Optimizer"),
        ("torch.optim.Nothing", {}, "has no 'Nothing'"),
    ],
)
def test_an_own_optimizer_that_does_not_work_is_one_line(planned, target, arguments, says):
    ((run,), _) = planned()
    own = optimizer_step.CustomOptimizer(name="o", label="o", target=target, source=None, lr=0.1, arguments=arguments)
    with pytest.raises(InputError, match=says) as caught:
        make_optimizer_step(own, net(), schedule_of(run))
    assert "\n" not in str(caught.value)


def test_adam_settings_reach_the_kernel(planned):
    ((run,), _) = planned("optimizer=adam", "optimizer.betas=[0.8,0.95]", "optimizer.eps=1e-3", "optimizer.lr=0.25")
    assert isinstance(run.optimizer, Adam)
    names, values = build_coefficient_table(run.optimizer, ParamKind(None, True), schedule_of(run), 0, 1)
    found = dict(zip(names, values[0], strict=True))
    assert [found[name] for name in ("beta1", "beta2", "eps")] == [0.8, 0.95, 1e-3]
    assert found["step_size"] == pytest.approx(0.25 / (1 - 0.8))


COUNTING = """
calls = []


def eta(step, steps):
    calls.append(step)
    return 1 - step / (2 * steps)
"""


@pytest.mark.parametrize("optimizer", ["nadam", "schedule_free", "adamw"])
@pytest.mark.parametrize("engine", ["sequential", "vectorised"])
def test_a_custom_schedule_is_called_once_per_step(planned, tmp_path, monkeypatch, optimizer, engine):
    """Sums over the past (NAdam, schedule-free) made the number of calls grow with the square of the steps."""
    (tmp_path / "counting.py").write_text(COUNTING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import counting

    words = ("schedule._target_=counting.eta", f"optimizer={optimizer}", "train.steps=300", "model.hidden=[2]")
    runs, datasets = planned(*words, "train.batch_size=20", "train.evaluations=1")
    (run_group,) = group_runs(runs)
    counting.calls.clear()
    shard = Shard.of(run_group, Strategy(engine=engine))
    assert [
        each
        for ended in train_shard(shard, datasets[run_group.task.facts.fingerprint], CPU, TrainingControl())
        for each in ended
    ]
    assert len(counting.calls) <= 2 * 300
    del sys.modules["counting"]


@pytest.mark.parametrize(
    "decay", ["l2", "lr_scaled", "schedule_only", "normalized", "lr_squared", "lr_free", "cautious"]
)
@pytest.mark.parametrize("name", ["adamw", "sgdw", "lion"])
def test_a_learning_rate_scale_of_zero_freezes_under_every_convention(planned, name, decay):
    groups = "optimizer.groups=[{params:'*.weight',lr_scale:0}]"
    words = (f"optimizer={name}", f"optimizer.decay={decay}", "optimizer.weight_decay=0.5", groups, "train.steps=9")
    ((run,), _) = planned(*words)
    model = net()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    update = make_optimizer_step(run.optimizer, model, schedule_of(run))
    for t in range(9):
        gradients(model, torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(t)))
        update.step(t)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if not name.endswith("weight")}


@pytest.mark.parametrize(("rule", "decay"), [("lamb", "trust_ratio"), ("adam", "l2_m_only"), ("adam", "l2_v_only")])
def test_decay_of_single_rules_is_scaled_by_width_as_that_of_all_others(rule, decay):
    """Decay that the learning rate multiplies has its width factor from there; no second one is due."""
    path = next(path for path in CONFIGS if yaml.safe_load(path.read_text()).get("decay") == decay)
    settings = validate_optimizer(yaml.safe_load(path.read_text()) | {"weight_decay": 0.1}, path.stem)
    lr, weight_decay = lr_and_decay(settings, ParamKind(None, True, "", 4.0))
    assert lr == pytest.approx(settings.lr / 4)
    assert weight_decay == pytest.approx(0.1 * 4**settings.width_decay)
