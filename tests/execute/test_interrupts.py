"""Signals at any moment: one line, exit code 130, no traceback, no process left, and nothing left behind later."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adamcmp.storage.records import read_records

from .conftest import error_lines, hear_signals, processes_in, wait_until

POOL = (
    "sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=geomspace(1e-3,1e-1,8)", "study.seeds=4",
    "execute.processes=2", "execute.engine=vectorised", "execute.rows=16", "execute.matmul=default",
)  # fmt: skip
LONG = (*POOL, "study.confirm.seeds=0", "train.steps=20000", "execute.checkpoint_seconds=0.5")
SHORT = (*POOL, "study.confirm.seeds=2", "train.steps=20", "execute.compile=false")
INTERRUPTED = "adamcmp: interrupted; finished runs are stored, and the same command resumes"


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start the command as a shell does: in a process group of its own, with its own caches and temporary folder."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "work").mkdir()
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}

    def begin(*args):
        return subprocess.Popen(
            [sys.executable, "-m", "adamcmp", *args],
            cwd=tmp_path / "work",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
            preexec_fn=hear_signals,
        )

    return begin


def wait_for_python(process):
    """Until adamcmp's first line has run: signals before that meet the interpreter alone."""
    end = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < end:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next((line for line in status.splitlines() if line.startswith("SigCgt")), "SigCgt: 0")
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.001)


def interrupt(process, number, whole_group, twice):
    for _ in range(1 + twice):
        if process.poll() is None:
            os.killpg(process.pid, number) if whole_group else process.send_signal(number)
        time.sleep(0.15)


def assert_left_well(process, number, folder):
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in out + err, err
    assert process.returncode in (130, -number, 0), err
    if process.returncode == 130:
        assert error_lines(err) == [INTERRUPTED]
    end = time.monotonic() + 2
    while (left := processes_in(folder)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left


def assert_nothing_is_left_behind(start, folder):
    ended = start(*SHORT)
    _, err = ended.communicate(timeout=120)
    assert ended.returncode == 0, err
    assert not list((folder / "tmp").glob("adamcmp-*"))
    assert not list(folder.rglob("*.tmp"))


CASES = [(0.0, "SIGINT", True, False), (1.2, "SIGHUP", False, False), (5.0, "SIGTERM", True, True)]
DELAYS = (0.0, 0.1, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10)
WAYS = list(itertools.product(("SIGINT", "SIGTERM", "SIGHUP"), (True, False), (True, False)))
MANY = [(delay, *way) for i, delay in enumerate(DELAYS) for way in WAYS[i % 3 :: 3]]
"""A third of the ways at each moment, each way at every third."""
ENDS = [(i / 12, name, whole) for i in range(12) for name, whole, twice in WAYS[i % 3 :: 3] if not twice]


@pytest.mark.parametrize(
    ("delay", "name", "whole_group", "twice"),
    [*CASES, *(pytest.param(*each, marks=pytest.mark.slow) for each in MANY)],
)
def test_a_signal_at_any_moment(start, tmp_path, delay, name, whole_group, twice):
    process = start(*LONG)
    wait_for_python(process)
    time.sleep(delay)
    interrupt(process, getattr(signal, name), whole_group, twice)
    assert_left_well(process, getattr(signal, name), tmp_path / "work")


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "name", "whole_group"), ENDS)
def test_a_signal_at_any_moment_of_a_sweep_that_ends_with_its_report(start, tmp_path, moment, whole_group, name):
    """Storing and drawing come last: the moment is a share of what the whole takes."""
    command = (*SHORT, "--report")
    began = time.monotonic()
    whole = start(*command)
    _, err = whole.communicate(timeout=120)
    assert whole.returncode == 0, err
    seconds = time.monotonic() - began
    (tmp_path / "work" / "results").rename(tmp_path / "whole")
    process = start(*command)
    wait_for_python(process)
    time.sleep(moment * seconds)
    interrupt(process, getattr(signal, name), whole_group, twice=False)
    assert_left_well(process, getattr(signal, name), tmp_path / "work")
    assert_nothing_is_left_behind(start, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_training_writes_checkpoints_and_nothing_stays_when_it_is_done(start, tmp_path, name):
    process = start(*LONG, "execute.compile=false")
    checkpoints = tmp_path / "work" / "results" / "digits" / "checkpoints"
    wait_until(lambda: any(checkpoints.glob("*.pt")), process, seconds=60)
    interrupt(process, getattr(signal, name), whole_group=True, twice=False)
    assert_left_well(process, getattr(signal, name), tmp_path / "work")
    assert process.returncode == 130
    assert len(list(checkpoints.glob("*.pt"))) >= 1
    assert_nothing_is_left_behind(start, tmp_path)
    assert list(checkpoints.glob("*.pt")), "the long runs can still go on"


@pytest.mark.slow
def test_what_a_killed_driver_leaves_goes_with_the_next_command_that_completes(start, tmp_path):
    command = (
        *POOL,
        "study.confirm.seeds=0",
        "train.steps=300",
        "execute.checkpoint_seconds=0.2",
        "execute.compile=false",
    )
    process = start(*command)
    checkpoints = tmp_path / "work" / "results" / "digits" / "checkpoints"
    wait_until(lambda: any(checkpoints.glob("*.pt")), process, seconds=60)
    process.kill()
    process.communicate()
    (checkpoints / ".half.pt.1234.tmp").write_bytes(b"half")
    assert list((tmp_path / "tmp").glob("adamcmp-*"))
    again = start(*command)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert not checkpoints.exists()
    assert not list((tmp_path / "tmp").glob("adamcmp-*"))
    assert len(read_records(tmp_path / "work" / "results" / "digits")) == 64
