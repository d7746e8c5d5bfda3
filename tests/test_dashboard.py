"""What ``adamcmp monitor`` tells of sweeps, from their folders alone."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from adamcmp.cli import app
from adamcmp.cli.dashboard import StudyMonitor, find_monitors
from adamcmp.errors import InputError
from adamcmp.execute.leases import DRIVERS
from adamcmp.execute.progress_file import SweepProgress

SWEEP = ("sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=geomspace(1e-3,1e-1,6)", "study.seeds=20",
         "train.steps=4000", "execute.engine=sequential", "execute.processes=1")  # fmt: skip


@pytest.fixture(scope="module")
def synthetic():
    path = Path(__file__).parent / "analysis" / "synthetic.py"
    spec = importlib.util.spec_from_file_location("synthetic_records", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def progress(**given):
    now = time.time()
    counts = {"planned": 100, "todo": 80, "steps": 8000, "ended": 20, "diverged": 3, "failed": 1, "taken": 2000}
    where = {"processes": 2, "busy": 2, "device": "cpu", "host": socket.gethostname(), "pid": os.getpid()}
    told = {"study": "digits", "what": "", "estimate": 40.0, "started": now - 10, "updated_at": now, **counts, **where}
    return SweepProgress(**told | given)


def put(folder, told, name="one"):
    (folder / DRIVERS).mkdir(parents=True, exist_ok=True)
    (folder / DRIVERS / f"{name}.json").write_text(json.dumps({"progress": asdict(told), "told": told.updated_at}))


def shown(folder, looks=1):
    monitor = StudyMonitor(folder)
    for _ in range(looks):
        monitor.refresh()
    console = Console(width=120, file=io.StringIO())
    console.print(monitor.render())
    return console.file.getvalue()


def test_progress_time_left_throughput_and_workers_are_told(tmp_path):
    put(tmp_path, progress())
    text = shown(tmp_path)
    assert "digits: training" in text
    assert "25%" in text
    assert "40 of 100 runs, 3 diverged, 1 failed" in text
    assert re.search(r"about (29|30|31) s left", text)  # 6,000 steps at 200 a second
    assert re.search(r"(199|200) steps/s", text)
    assert "2 of 2 processes at work on cpu" in text


def test_the_rate_is_that_of_late(tmp_path):
    monitor, now = StudyMonitor(tmp_path), time.time()
    for second, taken in ((-4, 1000), (-2, 1100), (0, 1200)):
        put(tmp_path, progress(updated_at=now + second, taken=taken))
        monitor.refresh()
    assert monitor.rate == pytest.approx(50)
    put(tmp_path, progress(updated_at=now + 1, started=now + 0.5, taken=30))  # the next stage
    monitor.refresh()
    assert monitor.rate == pytest.approx(60)


def test_several_drivers_are_told_as_one(tmp_path):
    put(tmp_path, progress(), "one")
    put(tmp_path, progress(todo=60, ended=10, taken=1000, diverged=0, failed=0), "two")
    put(tmp_path, progress(over=True, ended=80), "gone")
    text = shown(tmp_path)
    assert "50 of 100 runs, 3 diverged, 1 failed" in text
    assert "4 of 4 processes at work on cpu; 2 drivers" in text


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({"over": True, "ended": 80}, "done"),
        ({"over": True, "ended": 20}, "stopped; the same command resumes"),
        ({"pid": 2**22 + 1}, "stopped; the same command resumes"),
        ({"host": "another", "updated_at": 0.0}, "stopped; the same command resumes"),
        ({"host": "another"}, "training"),
        ({"what": "the best cells on fresh seeds, "}, "the best cells on fresh seeds, training"),
    ],
)
def test_its_state_is_told(tmp_path, given, state):
    put(tmp_path, progress(**given))
    assert f"digits: {state}" in shown(tmp_path)


def test_best_so_far_of_each_arm_and_first_lines_of_errors(synthetic, tmp_path):
    arms = {r"Adam \x1b[31m+ L2": "l2", "AdamW": "lr_scaled"}
    records = synthetic.make_records(arms=arms, lrs=[1e-3, 1e-2], lambdas=[0.0, 1e-3])
    first = records["seed"] == 0
    records = synthetic.end(records, first & (records["lr"] == 1e-3), "failed", "out of \\x1b[1mmemory\nline two")
    records = synthetic.end(records, first & (records["lr"] == 1e-2), "diverged")
    synthetic.store(tmp_path, records)
    text = shown(tmp_path, looks=2)
    assert "nothing is trained" in text
    done = records[(records["arm"] == "AdamW") & (records["status"] == "completed")]
    best = done.loc[done["final_validation_error"].idxmin()]
    assert re.search(
        rf"AdamW +12 +2 +2 +{best['final_validation_error']:.2%} +{best['lr']:g}", text.replace("1e-3", "0.001")
    )
    assert "failed, 4: out of \\x1b[1mmemory\n" in text
    assert "Adam \\x1b[31m+ L2" in text
    assert "\x1b" not in text
    assert "line two" not in text


def test_a_folder_without_studies_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match="no study is stored or trained here"):
        find_monitors(tmp_path)
    (tmp_path / "digits" / DRIVERS).mkdir(parents=True)
    (tmp_path / "digits" / DRIVERS / "one.json").write_text("{")
    assert find_monitors(tmp_path) == [tmp_path / "digits"]
    assert SweepProgress.read(tmp_path / "digits") is None


@pytest.mark.slow
def test_a_real_sweep_is_watched_from_another_process_until_it_is_killed(tmp_path, capsys):
    sweep = subprocess.Popen(
        [sys.executable, "-m", "adamcmp", *SWEEP, "--results-dir", str(tmp_path)], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        text = ""
        while "steps/s" not in text:
            assert time.monotonic() < deadline
            assert sweep.poll() is None
            time.sleep(0.3)
            if list((tmp_path / "digits" / DRIVERS).glob("*.json")):
                app(["watch", str(tmp_path), "--once"], standalone_mode=False)
                text = capsys.readouterr().out
        assert "digits: training" in text
        assert "of 240 runs" in text
        assert "1 of 1 processes at work on cpu" in text
    finally:
        sweep.send_signal(signal.SIGKILL)
        sweep.wait()
    app(["watch", str(tmp_path)], standalone_mode=False)  # no terminal: it looks once
    assert "digits: stopped; the same command resumes" in capsys.readouterr().out
