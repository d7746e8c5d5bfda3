"""Metrics on request: the same from both engines, stored with the run, and refused before anything is trained."""

import json

import pytest
import torch

from adamcmp.engine import sequential, vectorized
from adamcmp.engine.check_before_training import check_before_training
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.errors import InputError
from adamcmp.execute.run_writer import Provenance, record_row
from adamcmp.plan.runs import group_runs

from .conftest import DEVICE

BUDGET = ("train.steps=20", "train.evaluations=2", "train.precision=fp64")
OURS = "train.metrics=[top5_error,calibration_error,weight_norms,updates,hessian_eigenvalue]"


def train(engine, planned, *overrides):
    runs, datasets = planned(*BUDGET, *overrides)
    (run_group,) = group_runs(runs)
    shard = Shard.of(run_group, Strategy(engine=engine.__name__.rpartition(".")[2]))
    return list(engine.train_shard(shard, datasets[run_group.task.facts.fingerprint], DEVICE, TrainingControl()))


def test_both_engines_measure_the_same(planned):
    alone, together = (
        train(engine, planned, OURS, "optimizer=adam,adamw", "optimizer.lr=1e-2,1e200")
        for engine in (sequential, vectorized)
    )
    for one, row in zip(alone, together, strict=True):
        assert one.run == row.run
        assert len(row.evaluations) == len(one.evaluations)
        for ours, theirs in zip(row.evaluations, one.evaluations, strict=True):
            assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-8, abs=1e-10)
        assert bool(one.metrics) == (one.status == "completed")
    first, last = (alone[0].evaluations[i].metrics for i in (0, -1))
    assert first["updates_layers.0.weight_angle"] > 3 * last["updates_layers.0.weight_angle"]  # the cosine's end
    assert set(alone[0].metrics) >= {
        "validation_top5_error", "test_calibration_error", "weight_norms_layers.0.weight_share",
        "updates_layers.2.weight_angle", "hessian_eigenvalue",
    }  # fmt: skip


def test_rows_that_end_late_do_not_shift_the_others(planned):
    grid = ("train.metrics=[updates]", "train.evaluations=1", "optimizer=adamw", "optimizer.lr=1e200,1e201,1e-2")
    alone, together = (train(engine, planned, *grid) for engine in (sequential, vectorized))
    assert [bool(one.metrics) for one in alone] == [False, False, True]
    for one, row in zip(alone, together, strict=True):
        assert row.metrics == pytest.approx(one.metrics, rel=1e-8)


def test_they_are_stored_and_enter_the_id_but_change_no_training(planned):
    (plain,), (measured,) = train(sequential, planned), train(sequential, planned, OURS)
    assert plain.run.id != measured.run.id
    assert plain.evaluations == tuple(each._replace(metrics={}) for each in measured.evaluations)
    row = record_row(measured, Provenance.here("s"))
    assert json.loads(row["metrics"]) == measured.metrics
    assert record_row(plain, Provenance.here("s"))["metrics"] is None


def test_own_metrics_are_paths(planned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_metrics_here.py").write_text(
        "def confidence(logits):\n    return logits.softmax(-1).amax(-1).mean()\n"
        "def broken(logits):\n    raise KeyError('x')\n"
        "def text(model):\n    return 'much'\n"
    )
    (outcome,) = train(sequential, planned, "train.metrics=[own_metrics_here.confidence]")
    assert 0.1 < outcome.metrics["test_confidence"] < 1
    for metric, message in (
        ("own_metrics_here.broken", r"train\.metrics: own_metrics_here\.broken failed: KeyError: 'x'"),
        ("own_metrics_here.text", r"own_metrics_here\.text gives a str for text; must give numbers"),
        ("own_metrics_here.lost", r"own_metrics_here has no 'lost'"),
        ("calibraton_error", r"train\.metrics: no metric 'calibraton_error'; did you mean calibration_error"),
    ):
        runs, datasets = planned(*BUDGET, f"train.metrics=[{metric}]")
        with pytest.raises(InputError, match=message):
            check_before_training(group_runs(runs), datasets, DEVICE)


def test_the_check_leaves_random_numbers_alone(planned):
    runs, datasets = planned(*BUDGET, OURS)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    check_before_training(group_runs(runs), datasets, DEVICE)
    assert torch.rand(1) == expected
