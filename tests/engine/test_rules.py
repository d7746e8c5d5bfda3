"""Every rule in both engines, one from outside the package among them: row r is run r, whatever befalls the others."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from adamcmp.engine import sequential
from adamcmp.engine.check_before_training import check_before_training
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.errors import InputError
from adamcmp.optim.rule import builtin_rule_names
from adamcmp.plan.runs import group_runs

from .conftest import DEVICE

ROOT = Path(__file__).parents[2]
OURS = {}
for path in sorted((ROOT / "configs" / "optimizer").glob("*.yaml")):
    OURS.setdefault(yaml.safe_load(path.read_text()).get("rule"), path.stem)
FP64 = "train.precision=fp64"
SHORT = ("train.steps=16", "train.evaluations=4", "schedule=cosine", "schedule.warmup_steps=2")
ODD = '''
import torch
from torch import nn



class Odd(nn.Module):
    """A single number that is trained, and parameters that no loss reaches."""

    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.unused = nn.Linear(3, 2)
        self.layers = nn.Linear(input_shape[-1] * input_shape[-2], num_classes)
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        return self.scale * self.layers(x.flatten(1))
'''


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A folder from which own modules are imported."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "odd.py").write_text(ODD)
    shutil.copy(ROOT / "examples" / "own_rule.py", folder)
    sys.path.append(str(folder))
    yield folder
    sys.path.remove(str(folder))


def chosen(name):
    if name != "own_rule":
        return [f"optimizer={OURS[name]}"]
    return ["optimizer._target_=own_rule.Lion", "optimizer.lr=0.01", "optimizer.betas=[0.9,0.99]"]


ALL = [*builtin_rule_names(), "own_rule"]


def overrides_of(name, *more):
    decay = [] if OURS.get(name, "").endswith("fixed_norm") else ["optimizer.weight_decay=0,0.1"]
    return [*SHORT, *chosen(name), *decay, *more]


@pytest.mark.parametrize("name", ALL)
def test_rows_are_runs(outside, engines, name):
    lrs = "optimizer.lr=1e-3,3e-2,1e200"
    alone, together = engines.both(*overrides_of(name, FP64, lrs, "seed=0,1"))
    engines.assert_same(alone, together)
    assert {o.status for o in together} >= {"completed"}


@pytest.mark.parametrize("name", ALL)
def test_single_numbers_and_parameters_without_gradient(outside, engines, name):
    engines.same(*overrides_of(name, FP64, "model._target_=odd.Odd", "optimizer.lr=1e-2"))


@pytest.mark.parametrize("name", ALL)
def test_averages_and_spared_parameters(outside, engines, name):
    engines.same(*overrides_of(name, FP64, "optimizer.lr=1e-2", "train.ema=0.9", "optimizer.decayed=no_bias_norm"))


@pytest.mark.parametrize("name", ALL)
def test_bf16(outside, engines, name):
    """Products are rounded to bf16: losses agree to about a hundredth, and weights and state stay float32."""
    alone, together = engines.both(*overrides_of(name, "train.precision=bf16", "optimizer.lr=1e-3"))
    engines.assert_same(
        [replace(o, evaluations=tuple(_loss(e) for e in o.evaluations)) for o in alone],
        [replace(o, evaluations=tuple(_loss(e) for e in o.evaluations)) for o in together],
        0.05,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_compiled_programs(outside, engines, name):
    """A minute a rule where nothing is cached: the compiler takes whatever a rule is made of."""
    strategy = Strategy(engine="vectorised", compiled=True)
    alone, together = engines.both(*overrides_of(name, FP64, "optimizer.lr=1e-3,1e-2"), strategy=strategy)
    engines.assert_same(alone, together, 1e-9)


def _loss(evaluation):
    return evaluation._replace(train_error=0.0, validation_error=0.0, test_error=0.0)


def test_an_optimizer_that_averages_is_evaluated_at_its_average(engines, planned):
    """pytorch_optimizer's schedule-free AdamW, switched around evaluations, is the rule of that name."""
    shared = [*SHORT, FP64, "optimizer.lr=1e-2", "optimizer.weight_decay=0.1"]
    ours, _ = engines.both(*shared, "optimizer=schedule_free")
    runs, datasets = planned(*shared, "optimizer._target_=pytorch_optimizer.ScheduleFreeAdamW")
    (theirs,) = sequential.train_shard(
        Shard.of(group_runs(runs)[0], Strategy()), datasets[runs[0].task.facts.fingerprint], DEVICE, TrainingControl()
    )
    for expected, found in zip(ours[0].evaluations, theirs.evaluations, strict=True):
        assert found[:-1] == pytest.approx(expected[:-1], rel=1e-7)


BROKEN = """
from adamcmp.optim.rule import Rule


class Shape(Rule):
    @classmethod
    def step(cls, param, grad, s, c):
        return c.lr * grad @ grad


class Taken(Rule):
    def coefficients(self, steps):
        return {"lr": steps.lr, "decay": 0.5}
"""


@pytest.mark.parametrize(("name", "says"), [("Shape", "cannot take a step"), ("Taken", "are named decay")])
def test_a_rule_that_does_not_work_is_one_line(outside, planned, name, says):
    (outside / "broken.py").write_text(BROKEN)
    runs, datasets = planned(f"optimizer._target_=broken.{name}")
    with pytest.raises(InputError, match=says) as caught:
        check_before_training(group_runs(runs), datasets, DEVICE)
    assert "\n" not in str(caught.value)
