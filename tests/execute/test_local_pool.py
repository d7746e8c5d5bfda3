"""Sweeps in real training processes, which are killed, run out of memory and are interrupted.

The driver is this process wherever it is not to die: one fork server then serves all tests.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from adamcmp.storage.records import read, read_records

from .conftest import processes_in, wait_until

GRID = ("optimizer=adam,adamw", "optimizer.lr=geomspace(1e-3,1e-1,4)", "study.seeds=2")
ROWS = ("execute.engine=vectorised", "execute.compile=false", "execute.rows=4", "execute.matmul=default")
TWO = (*ROWS, "execute.processes=2")
RUNS = 16
CIRCUMSTANCES = ["seconds", "finished_at", "command", "git_commit", "engine_settings"]

MODELS = """
import os
import signal
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.layer = kind, nn.Linear(64, 10)

    def forward(self, x):
        training = self.training and x.shape[0] > 4
        if training and self.kind == "killed":  # when tried, when timed in both processes, and later
            for i in range(4):
                with suppress(FileExistsError):
                    Path(f"killed{i}").touch(exist_ok=False)
                    os.kill(os.getpid(), signal.SIGKILL)
        if training and self.kind == "later" and any(Path("results").glob("*/checkpoints/*.pt")):
            with suppress(FileExistsError):
                Path("killed").touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        if training and self.kind == "later" and Path("killed").exists():
            with Path("passes").open("a") as file:
                file.write("x")
        if training and self.kind == "once" and any(Path("results").glob("*/checkpoints/*.pt")):
            os.kill(os.getpid(), signal.SIGKILL)
        if training and self.kind == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        several = (torch._C._functorch.maybe_current_level() or 0) > 1
        if training and self.kind == "hungry" and several:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")
        if training and self.kind == "odd" and several:
            raise ArithmeticError("not with others")
        return self.layer(x.flatten(1))
"""


@pytest.fixture
def models(tmp_path: Path) -> None:
    (tmp_path / "my_models.py").write_text(MODELS)
    (tmp_path / "own.yaml").write_text("defaults: [digits, _self_]\n")
    (tmp_path / "model").mkdir()
    for kind in ("killed", "later", "once", "deadly", "hungry", "odd"):
        (tmp_path / "model" / f"{kind}.yaml").write_text(f"_target_: my_models.Net\nkind: {kind}\n")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def sweep(cli, config, *overrides, steps=20):
    return cli("sweep", config, *GRID, *overrides, f"train.steps={steps}", "train.evaluations=2")


def how(records: pd.DataFrame) -> list[int]:
    return sorted({json.loads(text)["rows"] for text in records["engine_settings"]})


def test_processes_train_what_one_would(cli, tmp_path):
    ended = sweep(cli, "digits", *TWO)
    assert ended.code == 0, ended.err
    records = read_records(tmp_path / "results" / "digits")
    assert len(records) == RUNS
    assert set(records["engine"]) == {"vectorised"}
    assert how(records) == [4]
    alone = sweep(cli, "digits", "execute.engine=sequential", "study.name=alone")
    assert alone.code == 0, alone.err
    expected = read_records(tmp_path / "results" / "alone")
    merged = records.merge(expected, on="run_id", suffixes=("", "_alone"))
    assert len(merged) == RUNS
    pd.testing.assert_series_equal(
        merged["final_train_loss"], merged["final_train_loss_alone"], check_names=False, rtol=1e-3
    )


def test_a_killed_process_costs_a_retry_with_fewer_rows(cli, tmp_path, models):
    ended = sweep(cli, "own.yaml", *TWO, "model=killed")
    assert ended.code == 0, ended.err
    assert len(list(tmp_path.glob("killed*"))) == 4
    records = read_records(tmp_path / "results" / "own")
    assert len(records) == RUNS
    assert (records["status"] == "completed").all()
    assert how(records) == [2, 4]


@pytest.mark.parametrize(
    ("engine", "parts", "steps"),
    [
        ("execute.engine=sequential", 1, 2000),
        pytest.param("execute.engine=vectorised", 2, 600, marks=pytest.mark.slow),
    ],
    ids=["alone", "as rows"],
)
def test_what_was_killed_goes_on_from_its_checkpoint(cli, tmp_path, models, engine, parts, steps):
    """A run alone is tried again; a piece in halves, each with its rows of the checkpoint."""
    grid = ("optimizer.lr=1e-2",) if parts == 1 else ("optimizer.lr=1e-3,1e-2,3e-2,1e-1",)
    command = (
        "sweep",
        "own.yaml",
        *grid,
        engine,
        f"train.steps={steps}",
        "train.evaluations=3",
        "train.precision=fp64",
    )
    options = ("execute.rows=4", "execute.compile=false", "execute.processes=1", "execute.checkpoint_seconds=0.05")
    ended = cli(*command, *options, "model=later")
    assert ended.code == 0, ended.err
    assert len((tmp_path / "passes").read_text()) < parts * steps  # from nothing it would be all of them
    records, curves = read(tmp_path / "results" / "own")
    assert (records["status"] == "completed").all()
    assert how(records) == [max(parts, 1)] if parts > 1 else [1]
    whole = cli(*command, *options, "model=later", "--results-dir", "elsewhere")  # it has been killed, and lives on
    assert whole.code == 0, whole.err
    expected = read(tmp_path / "elsewhere" / "own")
    key = ["run_id", "step"]
    assert_frame_equal(curves.sort_values(key, ignore_index=True), expected.curves.sort_values(key, ignore_index=True))
    assert not (tmp_path / "results" / "own" / "checkpoints").exists()


def test_a_run_that_comes_no_further_has_failed_and_leaves_its_checkpoint_to_the_next_command(cli, tmp_path, models):
    command = ("sweep", "own.yaml", "optimizer.lr=1e-2", "execute.engine=sequential", "execute.processes=1")
    length = ("train.steps=2000", "train.evaluations=1", "execute.checkpoint_seconds=0.05")
    ended = cli(*command, *length, "model=once")
    assert ended.code == 1, ended.err
    (record,) = read_records(tmp_path / "results" / "own").to_dict("records")
    assert "signal 9" in record["error"]
    assert len(list((tmp_path / "results" / "own" / "checkpoints").glob("*.pt"))) == 1


def test_memory_that_ends_costs_retries_down_to_one_row(cli, tmp_path, models):
    ended = sweep(cli, "own.yaml", *TWO, "model=hungry")
    assert ended.code == 0, ended.err
    records = read_records(tmp_path / "results" / "own")
    assert len(records) == RUNS
    assert (records["status"] == "completed").all()
    assert how(records) == [1]


def test_another_error_is_met_run_by_run(cli, tmp_path, models):
    ended = sweep(cli, "own.yaml", *TWO, "model=odd")
    assert ended.code == 0, ended.err
    records = read_records(tmp_path / "results" / "own")
    assert (records["status"] == "completed").all()
    assert set(records["engine"]) == {"sequential"}
    assert set(records["engine_reason"]) == {"ArithmeticError: not with others"}


def test_a_run_that_always_kills_its_process_has_failed(cli, tmp_path, models):
    ended = cli("sweep", "own.yaml", *TWO, "model=deadly", "optimizer.lr=1e-3,1e-2,1e-1", "train.steps=5")
    assert ended.code == 1, ended.err
    records = read_records(tmp_path / "results" / "own")
    assert (records["status"] == "failed").all()
    assert len(records) == 3
    assert records["error"].str.contains("signal 9").all()


@pytest.mark.slow
def test_many_runs_that_kill_their_processes_are_many_failures_and_no_defect(cli, tmp_path, models):
    """Sixteen rows die as one, as halves, … and alone twice each, without a single answer in between."""
    rows = ("execute.engine=vectorised", "execute.compile=false", "execute.rows=8", "execute.processes=2")
    ended = sweep(cli, "own.yaml", *rows, "model=deadly", steps=5)
    assert ended.code == 1, ended.err
    records = read_records(tmp_path / "results" / "own")
    assert (records["status"] == "failed").all()
    assert len(records) == RUNS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "engine"), [("SIGINT", TWO), ("SIGTERM", ("execute.engine=sequential", "execute.processes=2"))]
)
def test_an_interrupted_sweep_is_resumed_bit_for_bit(driver, cli, tmp_path, name, engine):
    command = ("sweep", "digits", *GRID, *engine, "train.steps=500", "train.evaluations=3", "model.dropout=0.2")
    process = driver.start(*command, "execute.checkpoint_seconds=0.1")
    checkpoints = tmp_path / "results" / "digits" / "checkpoints"
    wait_until(lambda: checkpoints.is_dir() and len(list(checkpoints.glob("*.pt"))) >= 2, process)
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert list(checkpoints.glob("*.pt"))
    assert len(read_records(tmp_path / "results" / "digits")) < RUNS
    again = cli(*command)
    assert again.code == 0, again.err
    assert not checkpoints.exists()
    whole = cli(*command, "--results-dir", "elsewhere")
    assert whole.code == 0, whole.err
    found, expected = (read(tmp_path / each / "digits") for each in ("results", "elsewhere"))
    assert_frame_equal(found.curves, expected.curves, check_exact=True)
    keep = found.records.columns.difference(CIRCUMSTANCES)
    ordered = [each.records.sort_values("run_id").reset_index(drop=True)[keep] for each in (found, expected)]
    assert_frame_equal(*ordered, check_exact=True)


@pytest.mark.slow
def test_a_killed_driver_leaves_no_process_and_no_lock(driver, cli, tmp_path):
    command = ("sweep", "digits", *GRID, *TWO, "train.evaluations=2")
    process = driver.start(*command, "train.steps=100000", "execute.checkpoint_seconds=0.2")
    checkpoints = tmp_path / "results" / "digits" / "checkpoints"
    wait_until(lambda: checkpoints.is_dir() and any(checkpoints.glob("*.pt")), process)
    process.kill()
    process.communicate(timeout=30)  # workers hold its pipes until they end
    end = time.monotonic() + 20
    while mine := processes_in(tmp_path):
        assert time.monotonic() < end, mine
        time.sleep(0.1)
    assert cli(*command, "train.steps=5").code == 0
