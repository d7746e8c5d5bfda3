"""What each test example says of a confirming run: the same from both engines, and its mean is the error on record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adamcmp.engine import batched_program, evaluation, sequential, vectorized
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.objective import Objective
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.execute.run_writer import Provenance, RunWriter
from adamcmp.plan.runs import group_runs
from adamcmp.storage.merging import merge_parts, remove_runs
from adamcmp.storage.records import read_outcomes

from .conftest import DEVICE

SHORT = ("train.steps=12", "train.evaluations=1", "train.precision=fp64", "optimizer.lr=1e-3,3e-2")


def trained(planned, *overrides, config="digits", engines=(sequential, vectorized)):
    runs, datasets = planned(*SHORT, *overrides, config=config)
    (run_group,) = group_runs([replace(run, stage="confirm") for run in runs])
    (dataset,) = datasets.values()
    return [
        list(each.train_shard(Shard.of(run_group, Strategy()), dataset, DEVICE, TrainingControl())) for each in engines
    ]


def values(outcomes):
    kind, length, raw = outcomes
    if kind == "bits":
        return np.unpackbits(np.frombuffer(raw, np.uint8), count=length).astype(float)
    return np.frombuffer(raw, "<f4").astype(float)


on_cuda = pytest.mark.skipif(DEVICE.type == "cuda", reason="its fused dropout of one model draws other masks")


@pytest.mark.parametrize(
    ("config", "overrides", "kind", "root"),
    [
        pytest.param("digits", ["train.ema=0.9", "model.dropout=0.2", "seed=3"], "bits", False, marks=on_cuda),
        ("regression", ["train.error=mae"], "floats", False),
        ("regression", [], "floats", True),
        ("multilabel", ["train.error=hamming_loss"], "floats", False),
        ("multilabel", [], "floats", False),
        ("regression", ["train.error=r2"], "floats", False),
    ],
)
def test_their_mean_is_the_error_and_both_engines_agree(planned, config, overrides, kind, root):
    alone, together = trained(planned, *overrides, config=config)
    for one, row in zip(alone, together, strict=True):
        assert one.outcomes.kind == row.outcomes.kind == kind
        np.testing.assert_allclose(values(one.outcomes), values(row.outcomes), rtol=1e-6)
        mean = values(one.outcomes).mean()
        assert (mean**0.5 if root else mean) == pytest.approx(one.evaluations[-1].test_error, rel=1e-6)


@pytest.mark.parametrize("engine", [sequential, vectorized])
def test_one_forward_pass_gives_errors_per_example_errors_and_metrics(planned, engine, monkeypatch):
    """Neither the test split nor a split that a metric needs is evaluated a second time."""
    seen, measured = [], Objective.statistics

    def statistics(self, given, y):
        seen.append(len(y))
        return measured(self, given, y)

    monkeypatch.setattr(Objective, "statistics", statistics)
    monkeypatch.setattr(batched_program, "_programs", {})
    runs, datasets = planned(*SHORT, "train.metrics=[calibration_error,top5_error]", "optimizer.lr=1e-3")
    (run_group,) = group_runs([replace(run, stage="confirm") for run in runs])
    (dataset,) = datasets.values()
    (result,) = engine.train_shard(
        Shard.of(run_group, Strategy(engine="vectorised")), dataset, DEVICE, TrainingControl()
    )
    assert result.outcomes is not None
    assert {"test_calibration_error", "validation_top5_error"} <= result.metrics.keys()
    examples = sum(len(split.y) for split in (dataset.train, dataset.validation, dataset.test))
    assert examples <= sum(seen) < examples + len(dataset.test.y)  # chunks of one size may repeat a few examples


@pytest.mark.parametrize("engine", [sequential, vectorized])
def test_tuning_runs_have_none_but_those_of_only_trials(planned, engine):
    for words, stored in ((SHORT, False), ((*SHORT[:-1], "optimizer=adam,sgd", "optimizer.lr=1e-2"), True)):
        runs, datasets = planned(*words)
        (dataset,) = datasets.values()
        assert {run.is_only_trial for run in runs} == {stored}
        for run_group in group_runs(runs):
            ended = list(engine.train_shard(Shard.of(run_group, Strategy()), dataset, DEVICE, TrainingControl()))
            assert all((each.outcomes is not None) == stored for each in ended)


def test_many_examples_are_blocks_and_text_has_shares(planned, monkeypatch):
    monkeypatch.setattr(evaluation, "MAX_STORED_VALUES", 10)
    (alone,) = trained(planned, config="regression", engines=[sequential])
    assert alone[0].outcomes.length == 10
    assert len(values(alone[0].outcomes)) == 10
    (bits,) = trained(planned, engines=[sequential])
    assert bits[0].outcomes.length == 359  # a bit each, however many


def test_they_are_stored_merged_and_removed_with_their_runs(planned, tmp_path):
    (outcomes,) = trained(planned, engines=[sequential])
    pending = RunWriter(tmp_path, Provenance.here("s"))
    for outcome in outcomes:
        pending.add([outcome])
        pending.store()
    merge_parts(tmp_path, more_than=1)
    assert len(list((tmp_path / "outcomes").glob("*.parquet"))) == 1
    found = read_outcomes([tmp_path])
    for outcome in outcomes:
        assert np.array_equal(found[outcome.run.id], values(outcome.outcomes))
    remove_runs(tmp_path, [outcomes[0].run.id])
    assert set(read_outcomes([tmp_path])) == {outcomes[1].run.id}
