"""A driver killed at any moment loses no finished run, and the same command goes on from there."""

from __future__ import annotations

import json
import random
import signal
from datetime import UTC, datetime

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from adamcmp.storage.records import Results, read, read_records

from .conftest import STORE_EVERY_RUN, error_lines, wait_until

CIRCUMSTANCES = ["seconds", "finished_at", "command", "git_commit"]
"""What may differ between two trainings of one run."""

GRID = ("optimizer=adamw,sgd,adagrad", "optimizer.lr=geomspace(1e-3,1e-1,8)", "study.seeds=3")
SWEEP = ("sweep", "digits", *GRID, "train.steps=10", "train.evaluations=2", "study.name=killed")
RUNS = 3 * 8 * 3


def numbers(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    records = results.records.drop(columns=CIRCUMSTANCES).sort_values("run_id").reset_index(drop=True)
    return records, results.curves


def kill_after(driver, study_dir, count):
    """Start the sweep, kill it once so many more parts are stored, and return the records; none of before is lost."""
    before = read_records(study_dir)
    goal = len(before) + count
    process = driver.start(*SWEEP, before=STORE_EVERY_RUN)
    wait_until(lambda: len(list((study_dir / "records").glob("*.parquet"))) >= goal, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    stored = read_records(study_dir)
    assert len(before) < len(stored) < RUNS, "the kill came too early or too late to show anything"
    still_there = stored[stored["run_id"].isin(before["run_id"])]
    pd.testing.assert_series_equal(still_there["finished_at"], before["finished_at"], check_index=False)
    return stored


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_sweeps_end_with_the_bits_of_an_uninterrupted_one(driver, cli, tmp_path, kills):
    """Real processes: one is killed, then a second one and this one share what is left."""
    study_dir, rng = tmp_path / "results" / "killed", random.Random(0)
    for _ in range(kills):
        stored = kill_after(driver, study_dir, rng.randrange(1, 20))

    resumed_at = datetime.now(UTC)
    other = driver.start(*SWEEP, before=STORE_EVERY_RUN)
    wait_until(lambda: len(read_records(study_dir)) > len(stored), other)
    ended = cli(*SWEEP)
    assert ended.code == 0, ended.err
    _, err = other.communicate(timeout=60)
    assert other.returncode == 0, err
    assert f"{len(stored)} stored, {RUNS - len(stored)} trained" in err
    parts = pd.concat([pd.read_parquet(path) for path in (study_dir / "records").glob("*.parquet")])
    assert len(parts) == RUNS
    assert parts["run_id"].is_unique
    assert not json.loads((study_dir / "leases.json").read_text())
    results = read(study_dir)
    trained_now = results.records[results.records["finished_at"] > resumed_at]
    assert set(trained_now["run_id"]) == set(results.records["run_id"]) - set(stored["run_id"])

    whole = cli(*SWEEP, "--results-dir", "elsewhere")
    assert whole.code == 0, whole.err
    uninterrupted = read(tmp_path / "elsewhere" / "killed")
    for resumed, expected in zip(numbers(results), numbers(uninterrupted), strict=True):
        assert_frame_equal(resumed, expected, check_exact=True)


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGINT", marks=pytest.mark.slow)])
def test_a_signal_stores_what_has_finished_and_says_so(driver, tmp_path, my_optimizers, name):
    overrides = ("optimizer=slow", "optimizer.lr=geomspace(1e-3,1,40)", "train.steps=5", "train.evaluations=1")
    # so that only the signal makes it store
    forever = "from adamcmp.execute import run_writer; run_writer.STORE_SECONDS = 1e9; "
    process = driver.start("sweep", "own.yaml", *overrides, before=forever)
    begun = tmp_path / "begun"

    def trainings() -> int:
        """Runs that have begun; the check builds optimizers too, before the lock is taken."""
        return len(begun.read_text()) if begun.exists() else 0

    wait_until(lambda: trainings() >= 20, process)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert error_lines(err) == ["adamcmp: interrupted; finished runs are stored, and the same command resumes"]
    assert "Traceback" not in out + err
    stored = read_records(tmp_path / "results" / "own")
    assert trainings() - 12 <= len(stored) < trainings()
    assert (stored["status"] == "completed").all()


@pytest.mark.slow
def test_what_a_killed_driver_had_claimed_is_taken_over(driver, tmp_path):
    study_dir = tmp_path / "results" / "killed"
    long = (*SWEEP, "train.steps=5000", "execute.engine=sequential", "execute.processes=1", "study.seeds=1")
    first, second = driver.start(*long), None
    claims = study_dir / "leases.json"
    wait_until(lambda: claims.exists() and len(claims.read_text()) > 2, first)
    held = {each for ids in json.loads(claims.read_text()).values() for each in ids}
    assert held
    second = driver.start(*long)
    wait_until(lambda: len(json.loads(claims.read_text())) == 2, second)
    both = json.loads(claims.read_text())
    assert not set.intersection(*map(set, both.values()))
    first.kill()
    first.communicate()
    _, err = second.communicate(timeout=240)
    assert second.returncode == 0, err
    stored = read_records(study_dir)
    assert held <= set(stored["run_id"])
    assert (stored["status"] == "completed").sum() == len(stored) == 24
