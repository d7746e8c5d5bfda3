"""What an outcome becomes on disk."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from adamcmp.config.lookup import find_config
from adamcmp.engine.run_result import Evaluation, RunResult, best_evaluation
from adamcmp.engine.strategy.types import Strategy
from adamcmp.execute.run_writer import Provenance, curve_rows, record_row
from adamcmp.plan.expand import plan_study
from adamcmp.plan.runs import DatasetMetadata
from adamcmp.storage.schema import CURVE, METRICS, RECORD

HERE = Provenance("study", "adamcmp", None, "0", "0", "0")
CURVES = (
    Evaluation(100, 0.5, 0.30, 0.6, 0.20, 0.7, 0.01, 3.0),
    Evaluation(200, 0.4, 0.20, 0.5, 0.10, 0.6, 0.15, 4.0),
    Evaluation(300, 0.3, 0.10, 0.4, 0.10, 0.5, 0.16, 5.0),
    Evaluation(400, 0.2, 0.05, 0.4, 0.10, 0.9, 0.02, 6.0),
    Evaluation(500, 0.1, 0.00, 0.3, 0.11, 0.4, 0.03, 7.0),
)


def outcome(*overrides, **changes):
    facts = DatasetMetadata("f" * 16, 1079, 10, (1, 8, 8), 100, 100)
    (run,) = plan_study(find_config("digits"), list(overrides), lambda *_: facts).runs
    ended = RunResult(
        run=run, status="completed", evaluations=CURVES, parameters=1, strategy=Strategy(), device="cpu", seconds=1.0,
        finished_at=datetime.now(UTC),
    )  # fmt: skip
    return replace(ended, **changes)


def test_the_best_evaluation_goes_by_validation_error_then_loss_then_step_and_never_by_test():
    assert best_evaluation(CURVES).step == 300
    assert (
        best_evaluation(tuple(e._replace(test_error=0.5 - e.test_error, test_loss=-e.test_loss) for e in CURVES)).step
        == 300
    )


def test_a_record_holds_final_and_best_and_the_gap():
    row = record_row(outcome(), HERE)
    assert set(row) <= {column.name for column in RECORD}
    assert (row["final_test_error"], row["best_test_error"], row["best_step"]) == (0.03, 0.16, 300)
    assert row["final_gap"] == pytest.approx(0.03)
    assert row["best_gap"] == pytest.approx(0.06)
    assert row["best_epoch"] == 30
    assert [set(each) for each in curve_rows(outcome())] == [{column.name for column in CURVE}] * 5


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_run_that_did_not_complete_has_a_curve_and_no_metrics(status):
    ended = outcome(status=status)
    assert len(curve_rows(ended)) == 5
    row = record_row(ended, HERE)
    assert not any(f"{when}_{name}" in row for when in ("final", "best") for name, _, _ in METRICS)
    assert "final_weight_norm" not in row


@pytest.mark.parametrize(
    ("overrides", "schedule_only", "lr_scaled", "normalized"),
    [
        (("optimizer=adamw", "optimizer.lr=0.1", "optimizer.weight_decay=0.5"), 0.05, 0.5, 0.05 * 500**0.5),
        (("optimizer=adamw_paper", "optimizer.lr=0.1", "optimizer.weight_decay=0.05"), 0.05, 0.5, 0.05 * 500**0.5),
        (("optimizer=sgdw_normalized", "optimizer.lr=0.1", "optimizer.weight_decay=0.05", "train.steps=100"),
         0.005, 0.05, 0.05),
        (("optimizer=adamw_normalized", "optimizer.lr=0.1", "optimizer.weight_decay=0.05", "schedule=warm_restarts",
          "schedule.T_0=2.5", "schedule.warmup_steps=7"), 0.01, 0.1, 0.05),
    ],
)  # fmt: skip
def test_decoupled_decay_is_recorded_in_every_convention(overrides, schedule_only, lr_scaled, normalized):
    row = record_row(outcome(*overrides), HERE)
    assert row["decay_per_step"] == row["weight_decay_schedule_only"] == pytest.approx(schedule_only)
    assert row["weight_decay_lr_scaled"] == pytest.approx(lr_scaled)
    assert row["weight_decay_normalized"] == pytest.approx(normalized)


def test_l2_has_no_decoupled_equivalent():
    row = record_row(outcome("optimizer=adam"), HERE)
    assert row["decay"] == "l2"
    assert "decay_per_step" not in row
