"""What was interrupted goes on as if nothing had been."""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from adamcmp.engine.checkpoint import (
    TrainingControl,
    TrainingStopped,
    load_checkpoint,
    unsaved_attributes,
    version_mismatch,
)
from adamcmp.engine.random_streams import batch_indices
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.engine.train import train_shard
from adamcmp.plan.runs import group_runs

from .conftest import DEVICE

LENGTH = ("train.steps=60", "train.evaluations=6", "model.dropout=0.3")
FULL = ("train.ema=0.9", "train.save=best", "train.batch_size=25", "train.accumulate=2", "train.clip_norm=1")
RULES = ["adamw", "adamw_paper", "rmsprop", "sgd", "sgdw_paper", "adagrad", "adam_fixed_norm", "adamw_cautious",
         "amsgrad", "nadam", "radam", "adamax", "lion", "adopt", "adan", "schedule_free", "lamb", "muon",
         "adafactor"]  # fmt: skip
OWN = ["optimizer._target_=own_rule.Lion", "optimizer.betas=[0.9,0.99]"]
"""The rule of examples/own_rule.py, from outside the package."""


def shards(planned, engine, *overrides):
    custom = any(each.startswith("model._target_") for each in overrides)  # takes no dropout
    runs, datasets = planned(*LENGTH[: 2 if custom else 3], *overrides)
    (run_group,) = group_runs(runs)
    return Shard.of(run_group, Strategy(engine=engine)), datasets[run_group.task.facts.fingerprint]


def interrupted(shard, data, path, looks, monkeypatch, **more):
    """Train, stopping at every ``looks``-th step, until it ends; all outcomes."""
    monkeypatch.setattr("adamcmp.engine.checkpoint.CHECK_SECONDS", 0.0)
    outcomes, stops = {}, 0
    for _ in range(100):
        counter = itertools.count(1)
        control = TrainingControl(
            shard=shard, checkpoint=path, stopping=lambda counter=counter: next(counter) == looks, **more
        )
        try:
            for outcome in itertools.chain.from_iterable(train_shard(shard, data, DEVICE, control)):
                outcomes[outcome.run.id] = outcome
            return outcomes, stops
        except TrainingStopped:
            stops += 1
            assert not list(path.parent.glob(".*"))
    raise AssertionError("it never ends")


@pytest.mark.parametrize("rule", [*RULES, "own"])
@pytest.mark.parametrize("engine", ["sequential", "vectorised"])
def test_a_stopped_training_ends_with_the_same_bits(planned, tmp_path, monkeypatch, engine, rule):
    overrides = ["optimizer.lr=1e-2" if engine == "sequential" else "optimizer.lr=1e-2,1e-3,1e30"]
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    chosen = OWN if rule == "own" else [f"optimizer={rule}"]
    shard, data = shards(planned, engine, *chosen, *overrides, "train.steps=30")
    whole = {o.run.id: o for ended in train_shard(shard, data, DEVICE, TrainingControl()) for o in ended}
    stopped, stops = interrupted(shard, data, tmp_path / "c.pt", 9, monkeypatch)
    assert stops == 3
    assert stopped.keys() == whole.keys()
    for key, outcome in stopped.items():
        assert outcome.evaluations == whole[key].evaluations
        assert (outcome.status, outcome.diverged_step) == (whole[key].status, whole[key].diverged_step)


@pytest.mark.parametrize("engine", ["sequential", "vectorised"])
def test_averages_and_kept_weights_go_on_too(planned, tmp_path, monkeypatch, engine):
    overrides = [*FULL, "optimizer.lr=1e-2" if engine == "sequential" else "optimizer.lr=3e-2,1e-3,1e30"]
    shard, data = shards(planned, engine, *overrides)
    whole = {
        o.run.id: o
        for ended in train_shard(shard, data, DEVICE, TrainingControl(weights=tmp_path / "whole"))
        for o in ended
    }
    stopped, stops = interrupted(shard, data, tmp_path / "c.pt", 17, monkeypatch, weights=tmp_path / "stopped")
    assert stops == 3
    for key, outcome in stopped.items():
        assert outcome.evaluations == whole[key].evaluations
        if outcome.status == "completed":
            one, other = (load_file(tmp_path / name / f"{key}-best.safetensors") for name in ("whole", "stopped"))
            assert all(torch.equal(each, other[name]) for name, each in one.items())


def test_a_checkpoint_without_the_best_weights_is_not_gone_on_from(planned, tmp_path, monkeypatch):
    monkeypatch.setattr("adamcmp.engine.checkpoint.CHECK_SECONDS", 0.0)
    for engine in ("sequential", "vectorised"):
        shard, data = shards(planned, engine, "optimizer.lr=1e-2")
        path, counter = tmp_path / f"{engine}.pt", itertools.count(1)
        with pytest.raises(TrainingStopped):
            list(
                train_shard(
                    shard,
                    data,
                    DEVICE,
                    TrainingControl(shard=shard, checkpoint=path, stopping=lambda c=counter: next(c) == 30),
                )
            )
        again, _ = shards(planned, engine, "optimizer.lr=1e-2", "train.save=best")
        assert [run.id for run in again.runs] == [run.id for run in shard.runs]
        taken = []
        control = TrainingControl(
            lambda steps, _, taken=taken: taken.append(steps), shard=again, checkpoint=path, weights=tmp_path / engine
        )
        list(train_shard(again, data, DEVICE, control))
        assert len(list((tmp_path / engine).glob("*.safetensors"))) == 1
        assert taken[0] == 10  # from the first step to the first evaluation


def test_progress_counts_resumed_steps_once(planned, tmp_path, monkeypatch):
    shard, data = shards(planned, "vectorised", "optimizer.lr=1e-2,1e-3")
    monkeypatch.setattr("adamcmp.engine.checkpoint.CHECK_SECONDS", 0.0)
    counter = itertools.count(1)
    with pytest.raises(TrainingStopped):
        list(
            train_shard(
                shard,
                data,
                DEVICE,
                TrainingControl(shard=shard, checkpoint=tmp_path / "c.pt", stopping=lambda: next(counter) == 31),
            )
        )
    told = []
    list(
        train_shard(
            shard, data, DEVICE, TrainingControl(lambda steps, _: told.append(steps), checkpoint=tmp_path / "c.pt")
        )
    )
    assert sum(told) == shard.steps


def stopped_at(step, shard, data, path, monkeypatch):
    monkeypatch.setattr("adamcmp.engine.checkpoint.CHECK_SECONDS", 0.0)
    counter = itertools.count()
    with pytest.raises(TrainingStopped):
        list(
            train_shard(
                shard,
                data,
                DEVICE,
                TrainingControl(shard=shard, checkpoint=path, stopping=lambda: next(counter) == step),
            )
        )


@pytest.mark.parametrize("which", [slice(0, 2), slice(1, 4), slice(2, 3)])
@pytest.mark.parametrize("seeds", ["seed=0", "seed=0,1"])
def test_a_part_of_a_piece_goes_on_from_the_whole_ones_checkpoint(planned, tmp_path, monkeypatch, which, seeds):
    grid = ("optimizer.lr=1e-2,1e-3,1e30,3e-2", "train.precision=fp64", "model.dropout=0", seeds)
    shard, data = shards(planned, "vectorised", *grid)
    (whole,) = train_shard(shard, data, DEVICE, TrainingControl())
    stopped_at(40, shard, data, tmp_path / "whole.pt", monkeypatch)
    part = replace(shard, runs=shard.runs[which])
    told = []
    control = TrainingControl(
        lambda steps, _: told.append(steps), shard=part, checkpoint=tmp_path / "p.pt", start=tmp_path / "whole.pt"
    )
    (ended,) = train_shard(part, data, DEVICE, control)
    assert told[0] == 40 * len(part.runs)  # these are not taken again
    assert sum(told) == part.steps
    for found, expected in zip(ended, whole[which], strict=True):
        assert (found.run, found.status, found.diverged_step) == (expected.run, expected.status, expected.diverged_step)
        assert len(found.evaluations) == len(expected.evaluations)
        for one, other in zip(found.evaluations, expected.evaluations, strict=True):
            assert one[:-1] == pytest.approx(other[:-1], rel=1e-10)


def test_a_part_of_which_all_runs_have_diverged_needs_no_row(planned, tmp_path, monkeypatch):
    shard, data = shards(planned, "vectorised", "optimizer.lr=1e30,2e30,3e30,1e-2")
    stopped_at(40, shard, data, tmp_path / "whole.pt", monkeypatch)
    part = replace(shard, runs=shard.runs[:2])
    (ended,) = train_shard(part, data, DEVICE, TrainingControl(shard=part, start=tmp_path / "whole.pt"))
    assert [outcome.status for outcome in ended] == ["diverged"] * 2


def test_runs_of_a_program_end_as_one(planned):
    """So they are stored together, and a checkpoint's runs are all stored or all to be trained."""
    shard, data = shards(planned, "vectorised", "optimizer.lr=1e-2,1e-3,1e30")
    assert [len(ended) for ended in train_shard(shard, data, DEVICE, TrainingControl())] == [3]


@pytest.mark.parametrize("name", ["schema", "adamcmp", "torch", None])
def test_a_checkpoint_of_other_versions_is_not_gone_on_from(planned, tmp_path, monkeypatch, name):
    shard, data = shards(planned, "sequential", "optimizer.lr=1e-2")
    stopped_at(30, shard, data, tmp_path / "c.pt", monkeypatch)
    state = load_checkpoint(tmp_path / "c.pt")
    assert version_mismatch(state) is None
    if name is None:
        del state["versions"]
    else:
        state["versions"] = {**state["versions"], name: "0.0.1"}
    torch.save(state, tmp_path / "c.pt")
    told = version_mismatch(state)
    assert told.startswith(f"{name} 0.0.1, not " if name else "an adamcmp version that did not record its dependencies")
    assert TrainingControl(shard=shard, checkpoint=tmp_path / "c.pt").resumed() is None


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_a_damaged_checkpoint_is_as_good_as_none(planned, tmp_path, content):
    path = tmp_path / "c.pt"
    if content is None:
        torch.save({"runs": ["x"]}, path)
        content = path.read_bytes()[:100]
    path.write_bytes(content)
    assert load_checkpoint(path) is None
    shard, data = shards(planned, "sequential")
    ((outcome,),) = train_shard(shard, data, DEVICE, TrainingControl(checkpoint=path))
    assert outcome.status == "completed"


@pytest.mark.parametrize("start", [0, 1, 7, 10, 23])
@pytest.mark.parametrize("batch", [10, 50])
def test_batches_can_start_anywhere(start, batch):
    every = itertools.islice(batch_indices((3,), 100, batch, DEVICE), start, start + 15)
    later = itertools.islice(batch_indices((3,), 100, batch, DEVICE, start), 15)
    for expected, found in zip(every, later, strict=True):
        assert torch.equal(expected, found)


MEMORY = '''
from collections import deque

import torch
from torch import nn


class Counts(nn.Module):
    """Changes a number, a list, a tensor and a buffer that no state_dict holds, and draws from every generator."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.passes, self.trace, self.mean = 0, [], torch.zeros(64)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x):
        import random

        import numpy as np

        x = x.flatten(1)
        if self.training:
            self.passes += 1
            self.trace.append(float(self.passes))
            self.mean = 0.9 * self.mean.to(x) + 0.1 * x.detach().mean(0)
            self.seen = self.seen + 1
        noise = random.gauss(0, 1) + np.random.normal()
        return self.head(x - self.mean.to(x)) * (1 + 1 / (1 + self.passes + self.seen + sum(self.trace))) + 0.1 * noise


class Queue(Counts):
    """Keeps what no checkpoint can hold."""

    def __init__(self):
        super().__init__()
        self.queue = deque([0.0], maxlen=3)

    def forward(self, x):
        self.queue.append(self.queue[-1] + 1)
        return super().forward(x) * self.queue[-1]


class Ring(deque):
    pass


class SubQueue(Queue):
    """Keeps a container of a class of its own."""

    def __init__(self):
        super().__init__()
        self.queue = Ring([0.0], maxlen=3)


class Generates(Counts):
    """Keeps a generator, whose place nobody sees."""

    def __init__(self):
        super().__init__()
        self.queue = iter(range(10**9))

    def forward(self, x):
        return super().forward(x) * (1 + 1 / (1 + next(self.queue)))


class ByData(Counts):
    """Writes past the version counter of a tensor, and keeps a list of its parameters."""

    def __init__(self):
        super().__init__()
        self.count, self.mine = torch.zeros(()), list(self.head.parameters())

    def forward(self, x):
        if self.training:
            self.count.data.add_(1)
        return super().forward(x) * (1 + 5 / (1 + self.count.to(x))) + 0 * self.mine[0].sum() + self.mine[1]


class Loss(nn.Module):
    """A loss with a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, outputs, y):
        if torch.is_grad_enabled():
            self.calls += 1
        return nn.functional.cross_entropy(outputs, y, reduction="none") * (1 + 5 / (1 + self.calls))


class Lists(torch.optim.Optimizer):
    """Steps on a list of parameters of its own."""

    def __init__(self, params, lr):
        self.mine = list(params)
        super().__init__(self.mine, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.mine:
            p.sub_(self.param_groups[0]["lr"] * p.grad)


class Warm(torch.optim.SGD):
    """An optimizer with a counter of its own."""

    calls = 0

    def step(self, closure=None):
        self.calls += 1
        for group in self.param_groups:
            group["lr"] = 0.01 * self.calls
        super().step(closure)
'''


@pytest.fixture
def memory(tmp_path, monkeypatch):
    (tmp_path / "memory.py").write_text(MEMORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("memory", None)


@pytest.mark.parametrize(
    "word",
    [
        "model._target_=memory.Counts", "model._target_=memory.ByData", "optimizer._target_=memory.Warm",
        "optimizer._target_=memory.Lists", "train.loss._target_=memory.Loss",
    ],
)  # fmt: skip
def test_all_that_changes_during_training_goes_on_too(planned, tmp_path, monkeypatch, memory, word):
    shard, data = shards(planned, "sequential", word)
    whole = {o.run.id: o for ended in train_shard(shard, data, DEVICE, TrainingControl()) for o in ended}
    stopped, stops = interrupted(shard, data, tmp_path / "c.pt", 17, monkeypatch)
    assert stops == 3
    for key, outcome in stopped.items():
        assert outcome.status == "completed", outcome.error
        assert outcome.evaluations == whole[key].evaluations


@pytest.mark.parametrize("name", ["Queue", "SubQueue", "Generates"])
def test_what_a_checkpoint_cannot_hold_starts_anew_and_is_named(planned, tmp_path, monkeypatch, memory, name):
    shard, data = shards(planned, "sequential", f"model._target_=memory.{name}")
    whole = [o for ended in train_shard(shard, data, DEVICE, TrainingControl()) for o in ended]
    path = tmp_path / "c.pt"
    stopped_at(30, shard, data, path, monkeypatch)
    assert unsaved_attributes(load_checkpoint(path)) == [".queue"]
    again = [
        o for ended in train_shard(shard, data, DEVICE, TrainingControl(shard=shard, checkpoint=path)) for o in ended
    ]
    assert again[0].evaluations == whole[0].evaluations


def test_a_flipped_bit_anywhere_makes_a_checkpoint_unusable(planned, tmp_path, monkeypatch):
    shard, data = shards(planned, "sequential", "optimizer.lr=1e-2", "model.hidden=[4]")
    path = tmp_path / "c.pt"
    stopped_at(30, shard, data, path, monkeypatch)
    content = path.read_bytes()
    assert load_checkpoint(path) is not None
    for place in range(0, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        assert load_checkpoint(path) is None, place
    path.write_bytes(content[:-1])
    assert load_checkpoint(path) is None
