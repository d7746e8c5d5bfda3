"""Jobs that share a study: through submitit's executor of this machine, and through a real Slurm where there is one."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from adamcmp.execute.leases import DriverRegistry
from adamcmp.execute.slurm_jobs import PLAN_FILE, SlurmJob
from adamcmp.storage.records import read_records

from .conftest import error_lines

SWEEP = ("sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2,1e-1", "study.seeds=2", "train.steps=20",
         "study.confirm.seeds=3", "execute=slurm", "execute.slurm.jobs=2", "execute.slurm.cpus=1")  # fmt: skip
TUNED = 2 * 3 * 2
ROOT = Path(__file__).parents[2]


def ends(study_dir: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in (study_dir / "records").glob("*.parquet")])


def wait_for(happened, seconds=90):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit leaves its processes alone
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_jobs_train_confirm_and_are_collected(cli):
    study_dir = cli.folder / "results" / "digits"
    submitted = cli.as_given(*SWEEP, "execute.slurm.cluster=local")
    assert submitted.code == 0, submitted.err
    assert "12 runs, 12 to train, by 2 jobs" in submitted.out

    def held_out():
        records = read_records(study_dir)
        return records[records["stage"] == "confirm"]

    wait_for(lambda: len(read_records(study_dir)) >= TUNED and held_out()["arm"].nunique() == 2)
    wait_for(lambda: not DriverRegistry(study_dir).alive())
    assert (held_out().groupby(["arm", "lr"]).size() == 3).all()
    collected = cli.as_given(*SWEEP, "--collect")
    assert collected.code == 0, collected.err
    assert "still to be trained" not in collected.err
    assert "3 held-out seeds" in collected.out
    assert ends(study_dir)["run_id"].is_unique
    assert set(ends(study_dir)["command"].str.contains("execute=slurm")) == {True}, "what was typed, not what a job ran"


def test_the_script_is_shown_and_nothing_is_handed_in(cli):
    ended = cli.as_given(*SWEEP, "execute.slurm.partition=fast", "execute.slurm.more={account: mine}", "--dry-run")
    assert ended.code == 0
    for line in ("--array=0-1%2", "--partition=fast", "--account=mine", "--requeue", "--signal=USR2@90", "--time=60"):
        assert f"#SBATCH {line}\n" in ended.out
    assert not (cli.folder / "results").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "digits", "execute=slurm"), "jobs train what `adamcmp sweep` plans"),
        (("work", "results/nothing"), "no plan that this adamcmp can read"),
        ((*SWEEP, "execute.slurm.jobs=0"), "execute.slurm.jobs"),
    ],
)
def test_what_cannot_be_is_one_clear_line(cli, words, told):
    ended = cli.as_given(*words)
    assert ended.code == 2
    assert told in error_lines(ended.err)[0]


def test_collecting_before_the_end_tells_what_is_lacking(cli):
    local = [word for word in SWEEP if "slurm" not in word]
    cli.as_given(*local, "--limit", "5")
    ended = cli.as_given(*SWEEP, "--collect")
    assert ended.code == 0
    assert "7 of 12 runs are still to be trained" in ended.err


@pytest.mark.slow
def test_a_job_that_is_to_end_has_checkpoints_written_and_comes_back(tmp_path, cli, monkeypatch):
    long = ("digits", "train.steps=200000", "execute.processes=1", "execute.checkpoint_seconds=1000")
    plans = []
    monkeypatch.setattr("adamcmp.execute.slurm_jobs.check_slurm", lambda _: None)
    monkeypatch.setattr("adamcmp.execute.slurm_jobs.submit_jobs", lambda *given: (plans.append(given[-1]), ["1"])[1])
    assert cli.as_given("sweep", *long, "execute=slurm").code == 0
    study_dir = cli.folder / "results" / "digits"
    assert (study_dir / PLAN_FILE).exists()
    job = SlurmJob(str(study_dir), str(cli.folder), *plans)
    codes = []
    thread = threading.Thread(target=lambda: codes.append(job()))
    thread.start()
    wait_for(lambda: any('"taken": ' in path.read_text() and '"taken": 0' not in path.read_text()
                         for path in (study_dir / "drivers").glob("*.json")))  # fmt: skip
    again = job.checkpoint()
    thread.join(30)
    assert codes == [130]
    assert list((study_dir / "checkpoints").glob("*.pt"))
    assert again.function._study_dir == str(study_dir)


@pytest.mark.slow
@pytest.mark.needs("slurm")
def test_a_real_slurm_trains_an_array(tmp_path):
    slurm(tmp_path, f"adamcmp {quoted(SWEEP)} && {UNTIL_EMPTY}")
    stored = ends(tmp_path / "results" / "digits")
    assert (stored["stage"] == "tune").sum() == TUNED
    assert (stored[stored["stage"] == "confirm"].groupby(["arm", "lr"]).size() == 3).all()
    assert stored["run_id"].is_unique


@pytest.mark.slow
@pytest.mark.needs("slurm")
def test_a_preempted_job_goes_on_from_its_checkpoint(tmp_path):
    long = [*(word for word in SWEEP if "train.steps" not in word), "train.steps=100000", "execute.engine=sequential",
            "execute.checkpoint_seconds=1000", "study.confirm.seeds=0", "execute.slurm.jobs=1",
            f"execute.slurm.cpus={os.cpu_count()}", "optimizer.lr=1e-3", "study.seeds=1"]  # fmt: skip
    begun = "until grep -q '\"taken\": [1-9]' results/digits/drivers/*.json; do sleep 0.2; done"
    urgent = f"sbatch --wait --partition=urgent --cpus-per-task={os.cpu_count()} --wrap 'ls results/digits/checkpoints'"
    at_once = "scontrol update jobid=1 StartTime=now"
    text = slurm(tmp_path, f"adamcmp {quoted(long)} && {begun} 2>/dev/null; {urgent}; {at_once}; {UNTIL_EMPTY}")
    (listed,) = tmp_path.glob("slurm-*.out")
    assert ".pt" in listed.read_text(), text
    stored = ends(tmp_path / "results" / "digits")
    assert len(stored) == 2
    assert set(stored["status"]) == {"completed"}
    logs = "".join(path.read_text() for path in (tmp_path / "results" / "digits" / "slurm").glob("*_log.err"))
    assert "interrupted; finished runs are stored" in logs


UNTIL_EMPTY = 'for i in $(seq 150); do [ -z "$(squeue -h)" ] && break; sleep 1; done'


def quoted(words) -> str:
    return " ".join(f"'{word}'" for word in words)


def slurm(folder: Path, command: str) -> str:
    ended = subprocess.run(
        [str(ROOT / "scripts" / "slurm"), "bash", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_without_slurm_nothing_is_submitted_and_a_dry_run_shows_the_script(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    refused = cli.as_given(*SWEEP)
    assert refused.code == 2
    (line,) = error_lines(refused.err)
    assert "execute=slurm: sbatch and srun not found on PATH" in line
    assert "--dry-run" in line
    assert "execute.slurm.cluster=local" in line
    assert not list(cli.folder.rglob("*.parquet"))
    assert "#SBATCH --array=0-1%2\n" in cli.as_given(*SWEEP, "--dry-run").out
