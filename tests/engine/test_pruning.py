"""A search by asha ends the worst rows of a program early, and leaves the others as they would have been."""

import itertools
from dataclasses import replace

import pytest

from adamcmp.config.schema import SearchSettings
from adamcmp.engine import vectorized
from adamcmp.engine.checkpoint import TrainingControl, TrainingStopped
from adamcmp.engine.strategy.types import Shard, Strategy, split_into_shards
from adamcmp.plan.runs import group_runs
from adamcmp.plan.search import pruning_steps

from .conftest import DEVICE

GRID = ("optimizer=adam,adamw", "optimizer.lr=geomspace(1e-5,3e-2,9)", "seed=0,1", "train.steps=90",
        "train.evaluations=9", "train.precision=fp64")  # fmt: skip
LOOKS = Strategy(engine="vectorised", rows=18, rungs=(10, 30), reduction=3)


@pytest.fixture(scope="module")
def work(planned):
    runs, datasets = planned(*GRID)
    (run_group,) = group_runs(runs)
    return run_group, datasets[run_group.task.facts.fingerprint]


def test_pieces_hold_one_arm_and_all_seeds_of_a_cell(work):
    shards = split_into_shards(work[0], LOOKS)
    assert [len(shard.runs) for shard in shards] == [18, 18]
    for shard in shards:
        assert len({run.arm for run in shard.runs}) == 1
        seeds = {}
        for run in shard.runs:
            seeds.setdefault(run.optimizer.lr, set()).add(run.seed)
        assert set(map(frozenset, seeds.values())) == {frozenset({0, 1})}


def test_one_in_three_goes_on_from_each_rung(work):
    run_group, data = work
    whole = {
        o.run.id: o
        for o in vectorized.train_shard(
            Shard.of(run_group, Strategy(engine="vectorised")), data, DEVICE, TrainingControl()
        )
    }
    for shard in split_into_shards(run_group, LOOKS):
        found = list(vectorized.train_shard(shard, data, DEVICE, TrainingControl()))
        status = [outcome.status for outcome in found]
        assert (status.count("completed"), status.count("pruned")) == (2, 16)
        last = [outcome.evaluations[-1].step for outcome in found]
        assert (last.count(10), last.count(30), last.count(90)) == (12, 4, 2)
        for outcome in found:
            alone = whole[outcome.run.id]
            for seen, expected in zip(outcome.evaluations, alone.evaluations, strict=False):
                assert seen[:-1] == pytest.approx(expected[:-1], rel=1e-9)
        at = {o.run.id: whole[o.run.id].evaluations[0].validation_error for o in found}
        gone = [at[o.run.id] for o in found if o.evaluations[-1].step == 10]
        kept = [at[o.run.id] for o in found if o.evaluations[-1].step > 10]
        assert sum(kept) / len(kept) < sum(gone) / len(gone)


def test_what_was_pruned_stays_so_after_an_interruption(work, tmp_path, monkeypatch):
    monkeypatch.setattr("adamcmp.engine.checkpoint.CHECK_SECONDS", 0.0)
    run_group, data = work
    shard = split_into_shards(run_group, LOOKS)[0]
    expected = {
        o.run.id: (o.status, o.evaluations) for o in vectorized.train_shard(shard, data, DEVICE, TrainingControl())
    }
    for _ in range(20):
        looks = itertools.count(1)
        control = TrainingControl(
            shard=shard, checkpoint=tmp_path / "c.pt", stopping=lambda looks=looks: next(looks) == 17
        )
        try:
            found = {o.run.id: (o.status, o.evaluations) for o in vectorized.train_shard(shard, data, DEVICE, control)}
            break
        except TrainingStopped:
            continue
    assert found == expected


def test_rungs_are_evaluations(planned):
    (run, *_), _ = planned("train.steps=900", "train.evaluations=30")
    settings = SearchSettings(method="asha", rungs=3, reduction=3)
    assert pruning_steps(run.task, settings) == (60, 120, 300)
    assert pruning_steps(run.task, SearchSettings(method="random")) == ()
    short = replace(run.task, train=run.task.train.model_copy(update={"evaluations": 1}))
    assert pruning_steps(short, settings) == ()
