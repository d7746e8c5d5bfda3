"""Processes that share every batch of a run end with the numbers of one."""

from dataclasses import replace

import pytest

from adamcmp.engine.inputs import CPU
from adamcmp.engine.strategy import Piece, Strategy
from adamcmp.engine.train import train
from adamcmp.engine.watch import Stopped, Watch
from adamcmp.plan.runs import cohorts

WORDS = ("train.steps=12", "train.evaluations=3", "train.precision=fp64", "optimizer=adamw", "optimizer.lr=1e-2,1e200",
         "train.batch_size=40", "train.accumulate=2", "train.clip_norm=1", "train.ema=0.9")  # fmt: skip


def trained(piece, data, watch=None):
    return [outcome for (outcome,) in train(piece, data, CPU, watch or Watch())]


@pytest.fixture(scope="module")
def work(planned):
    runs, datasets = planned(*WORDS)
    (cohort,) = cohorts(runs)
    return Piece.of(cohort, Strategy()), datasets[cohort.task.facts.fingerprint]


def test_two_have_the_losses_of_one(work):
    piece, data = work
    alone = trained(piece, data)
    shared = trained(replace(piece, strategy=Strategy(ranks=2)), data)
    assert [outcome.status for outcome in shared] == ["completed", "diverged"]
    for one, two in zip(alone, shared, strict=True):
        assert (one.status, one.diverged_step) == (two.status, two.diverged_step)
        for a, b in zip(one.evaluations, two.evaluations, strict=True):
            assert b[:-1] == pytest.approx(a[:-1], rel=1e-11)


@pytest.mark.slow
def test_they_go_on_from_a_checkpoint(work, tmp_path, monkeypatch):
    monkeypatch.setattr("adamcmp.engine.watch.LOOK_EVERY", 0.0)
    piece, data = work
    piece = replace(piece, runs=piece.runs[:1], strategy=Strategy(ranks=2))
    expected = trained(piece, data)
    looks = iter(range(1000))
    with pytest.raises(Stopped):
        trained(piece, data, Watch(piece=piece, checkpoint=tmp_path / "c.pt", stopping=lambda: next(looks) == 6))
    found = trained(piece, data, Watch(piece=piece, checkpoint=tmp_path / "c.pt"))
    assert [each[:-1] for each in found[0].evaluations] == [each[:-1] for each in expected[0].evaluations]
