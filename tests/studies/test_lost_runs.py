"""Claims count held-out runs that diverged or failed: what survives is not a fair sample."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adamcmp.analysis import split_by_task
from adamcmp.claims import flipping_ranks
from adamcmp.report.report_input import ReportInput
from adamcmp.studies import figure3, horizon

spec = importlib.util.spec_from_file_location("made", Path(__file__).parents[1] / "analysis" / "synthetic.py")
synthetic = importlib.util.module_from_spec(spec)
spec.loader.exec_module(synthetic)

SEEDS, LOST = 8, 3
STATUSES = pytest.mark.parametrize("status", ["diverged", "failed"])


def study(worse: str, better: str, epochs: float = 10.0, gap: float = 0.05) -> pd.DataFrame:
    """Two optimizers with one trial each, so that their runs are held-out runs; the second is better by the gap."""
    records = synthetic.make_records({worse: "l2", better: "lr_scaled"}, lrs=[1e-3], lambdas=[0.01], seeds=range(SEEDS))
    draw, is_better = np.random.default_rng(int(epochs)), records["arm"] == better
    for name in ("final_train_loss", "final_test_error", "final_validation_error"):
        records[name] = 0.2 - gap * is_better + draw.normal(0, 0.005, len(records))
    return records.assign(
        stage="tune", epochs=epochs, baseline_test_error=0.9, baseline_validation_error=0.9, comparison=None
    )


def losing(records: pd.DataFrame, arm: str, status: str) -> pd.DataFrame:
    """The same, where an optimizer has lost its runs on three seeds."""
    lost = (records["arm"] == arm) & (records["seed"] % 1_000_000 < LOST)
    lost &= records["stage"] == records["stage"].iloc[-1]
    assert lost.sum() == LOST
    records = records.copy()
    records.loc[lost, "status"] = status
    records.loc[lost, [name for name in records if name.startswith(("final_", "best_"))]] = np.nan
    return records


@STATUSES
def test_a_training_loss_over_survivors_has_no_interval(status):
    records = study("Adam + L2", "AdamW")
    task = split_by_task(records)[0]
    (claim,) = figure3._fits_better(task, "AdamW", "Adam + L2")
    assert claim.verdict == "supported"
    (lost,) = figure3._fits_better(split_by_task(losing(records, "AdamW", status))[0], "AdamW", "Adam + L2")
    assert lost.verdict == "none"
    assert lost.measured.endswith(f"(AdamW {status} on {LOST} of {SEEDS} held-out seeds)")


@STATUSES
def test_a_gain_that_grows_among_survivors_only_is_not_supported(status):
    budgets = [(10.0, 0.02), (20.0, 0.05), (40.0, 0.08)]
    parts = [study(horizon.WITHOUT, horizon.WITH, epochs, gap) for epochs, gap in budgets]
    parts = [part.assign(task=f"t{index}") for index, part in enumerate(parts)]
    (claim,) = horizon.grows([split_by_task(part)[0] for part in parts], "mlp", "source")
    assert claim.verdict == "supported"
    parts[-1] = losing(parts[-1], horizon.WITH, status)
    (lost,) = horizon.grows([split_by_task(part)[0] for part in parts], "mlp", "source")
    assert lost.verdict != "supported"
    assert lost.estimate.value < 0  # at the largest budget decay loses three runs, each of which costs 0.7


@STATUSES
def test_ranks_that_flip_among_survivors_have_no_interval(status):
    tuned = study("Adam + L2", "AdamW").assign(study="claims_mlp")
    far = tuned.assign(lr=2e-3, final_validation_error=0.8, run_id="far " + tuned["run_id"])
    held_out = tuned.assign(stage="confirm", seed=tuned["seed"] + 1_000_000, run_id="held out " + tuned["run_id"])
    records = pd.concat([tuned, far, held_out], ignore_index=True)
    draw, rows = np.random.default_rng(1), []
    for run, arm in zip(records["run_id"], records["arm"], strict=True):
        ahead = np.where((np.arange(1, 11) <= 7) == (arm == "AdamW"), 0.3, 0.2)  # AdamW is ahead from step 8 on
        error = ahead + draw.normal(0, 0.005, 10)
        rows.append(pd.DataFrame({
            "run_id": run, "step": np.arange(1, 11) * 10, "epoch": np.arange(1, 11), "train_loss": error,
            "train_error": error, "validation_loss": error, "validation_error": error, "test_loss": error,
            "test_error": error,
        }))  # fmt: skip
    curves = pd.concat(rows, ignore_index=True)
    (claim,) = flipping_ranks.empirical_test({"claims_mlp": ReportInput(records, curves)}).claims
    assert claim.verdict == "supported"
    (lost,) = flipping_ranks.empirical_test(
        {"claims_mlp": ReportInput(losing(records, "AdamW", status), curves)}
    ).claims
    assert lost.verdict == "none"
    assert f"AdamW {status} on {LOST} of {SEEDS}" in lost.measured
