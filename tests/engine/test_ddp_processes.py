"""Processes that share every batch of a run end with the numbers of one."""

from dataclasses import replace

import pytest

from adamcmp.engine.checkpoint import TrainingControl, TrainingStopped
from adamcmp.engine.loading import CPU
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.engine.train import train_shard
from adamcmp.errors import InputError
from adamcmp.plan.runs import group_runs

WORDS = ("train.steps=12", "train.evaluations=3", "train.precision=fp64", "optimizer=adamw", "optimizer.lr=1e-2,1e200",
         "train.batch_size=40", "train.accumulate=2", "train.clip_norm=1", "train.ema=0.9")  # fmt: skip


def trained(shard, data, control=None):
    return [outcome for (outcome,) in train_shard(shard, data, CPU, control or TrainingControl())]


@pytest.fixture(scope="module")
def work(planned):
    runs, datasets = planned(*WORDS)
    (run_group,) = group_runs(runs)
    return Shard.of(run_group, Strategy()), datasets[run_group.task.facts.fingerprint]


def test_two_have_the_losses_of_one(work):
    shard, data = work
    alone = trained(shard, data)
    shared = trained(replace(shard, strategy=Strategy(ranks=2)), data)
    assert [outcome.status for outcome in shared] == ["completed", "diverged"]
    for one, two in zip(alone, shared, strict=True):
        assert (one.status, one.diverged_step) == (two.status, two.diverged_step)
        for a, b in zip(one.evaluations, two.evaluations, strict=True):
            assert b[:-1] == pytest.approx(a[:-1], rel=1e-11)


@pytest.mark.slow
def test_they_go_on_from_a_checkpoint(work, tmp_path, monkeypatch):
    monkeypatch.setattr("adamcmp.engine.checkpoint.CHECK_SECONDS", 0.0)
    shard, data = work
    shard = replace(shard, runs=shard.runs[:1], strategy=Strategy(ranks=2))
    expected = trained(shard, data)
    looks = iter(range(1000))
    with pytest.raises(TrainingStopped):
        trained(
            shard, data, TrainingControl(shard=shard, checkpoint=tmp_path / "c.pt", stopping=lambda: next(looks) == 6)
        )
    found = trained(shard, data, TrainingControl(shard=shard, checkpoint=tmp_path / "c.pt"))
    assert [each[:-1] for each in found[0].evaluations] == [each[:-1] for each in expected[0].evaluations]


MASKS = '''
import torch
from torch import nn


class Noisy(nn.Module):
    """Writes down the first mask of each training pass."""

    def __init__(self):
        super().__init__()
        self.head, self.drop = nn.Linear(64, 10), nn.Dropout(0.5)

    def forward(self, x):
        dropped = self.drop(torch.ones_like(x.flatten(1)))
        if self.training:
            with open("masks.txt", "a") as file:
                file.write("".join("01"[int(each > 0)] for each in dropped[0].tolist()) + chr(10))
        return self.head(x.flatten(1) * dropped)
'''


def test_class_weights_and_unequal_shares_count_as_in_one_process(planned):
    words = ("train.steps=6", "train.evaluations=3", "train.precision=fp64", "train.batch_size=25",
             "train.loss.class_weights=[1,9,1,1,1,1,1,1,1,0.1]")  # fmt: skip
    runs, datasets = planned(*words)
    (run_group,) = group_runs(runs)
    shard, data = Shard.of(run_group, Strategy()), datasets[run_group.task.facts.fingerprint]
    (alone,) = trained(shard, data)
    (shared,) = trained(replace(shard, strategy=Strategy(ranks=2)), data)
    for a, b in zip(alone.evaluations, shared.evaluations, strict=True):
        assert b[:-1] == pytest.approx(a[:-1], rel=1e-11)


def test_each_process_draws_masks_of_its_own(planned, tmp_path, monkeypatch):
    (tmp_path / "noisy.py").write_text(MASKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    runs, datasets = planned("model._target_=noisy.Noisy", "train.steps=3", "train.evaluations=1")
    (run_group,) = group_runs(runs)
    (tmp_path / "masks.txt").unlink(missing_ok=True)
    trained(
        replace(Shard.of(run_group, Strategy()), strategy=Strategy(ranks=2)), datasets[run_group.task.facts.fingerprint]
    )
    masks = (tmp_path / "masks.txt").read_text().split()
    assert len(masks) == 6
    assert len(set(masks)) == 6


def test_the_number_of_processes_is_part_of_the_id_and_not_of_the_comparison(planned):
    ((one,), _), ((two,), _) = planned("train.steps=3"), planned("train.steps=3", "execute.ranks=2")
    assert one.id != two.id
    assert one.comparison == two.comparison
    with pytest.raises(InputError, match=r"execute\.ranks=200: shares a batch of 100 examples"):
        planned("execute.ranks=200")
