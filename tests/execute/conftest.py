"""The command line, called in this process where that is enough, and as a real process to be killed and waited for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from adamcmp.cli import main
from adamcmp.config.source_hash import source_hash

QUICK = ("train.steps=5", "train.evaluations=1")
STORE_EVERY_RUN = "from adamcmp.execute import run_writer; run_writer.STORE_SECONDS = 0.0; "
"""Kills are worth little where parts come every two seconds and the whole sweep takes one."""

MY_OPTIMIZERS = '''
from pathlib import Path

import torch


class Slow(torch.optim.SGD):
    """Counts the trainings that have begun, by their first steps, and takes its time."""

    has_begun = False

    def step(self, closure=None):
        import time

        if not self.has_begun:
            self.has_begun = True
            with Path("begun").open("a") as file:
                file.write("x")
        time.sleep(0.01)
        super().step(closure)


class Fragile(torch.optim.SGD):
    """Raises after some steps, for one learning rate, as long as a file is there."""

    steps = 0

    def step(self, closure=None):
        self.steps += 1
        if Path("broken").exists() and self.steps > 2 and self.param_groups[0]["initial"] == 0.5:
            raise ArithmeticError("no step\\nfrom here")
        super().step(closure)

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.param_groups[0]["initial"] = lr
'''


def hear_signals() -> None:
    """In a child before it starts: a shell's background job ignores SIGINT, nohup SIGHUP, and children inherit that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Driver:
    """Starts ``adamcmp`` in one folder."""

    folder: Path

    def start(self, *args: str, before: str = "") -> subprocess.Popen[str]:
        """Start it; sweeps end with tuning."""
        if args and args[0] in ("sweep", "reproduce"):
            args = (*args, "study.confirm.seeds=0")
        return subprocess.Popen(
            [sys.executable, "-c", f"{before}from adamcmp.__main__ import main; main()", *args],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "120"},
            preexec_fn=hear_signals,
        )


class Ended(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


STORED: dict[tuple[str, ...], tuple[Path, Ended]] = {}
"""Commands that this worker has run, with the folder that each has left and what it printed."""


@dataclass
class CommandLine:
    """Calls ``adamcmp`` in this process, in a folder of its own: most tests need no other, and it starts at once."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *args: str) -> Ended:
        """Call it; sweeps end with tuning, which is what most tests are about, unless they say otherwise."""
        if args and args[0] in ("sweep", "reproduce") and not any("study.confirm" in each for each in args):
            args = (*args, "study.confirm.seeds=0")
        return self.as_given(*args)

    def stored(self, *args: str) -> Ended:
        """Have what a command stores, from an empty folder; each worker trains it once, and copies it afterwards."""
        folder = self.folder.parent / "stored" / str(len(STORED))
        if args not in STORED:
            folder.mkdir(parents=True)
            STORED[args] = folder, CommandLine(folder, self.monkeypatch, self.capsys)(*args)
        folder, ended = STORED[args]
        shutil.copytree(folder, self.folder, dirs_exist_ok=True)
        return ended

    def as_given(self, *args: str) -> Ended:
        """Call it with these words and no others."""
        modules, terminated = set(sys.modules), signal.getsignal(signal.SIGTERM)
        with self.monkeypatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["adamcmp", *args])
            patch.setattr(sys, "path", list(sys.path))
            patch.setenv("COLUMNS", "120")
            patch.delenv("ADAMCMP_RESULTS_DIR", raising=False)
            self.capsys.readouterr()
            try:
                main()
                code = 0
            except SystemExit as exit_:
                code = int(exit_.code or 0)
            finally:
                signal.signal(signal.SIGTERM, terminated)
                source_hash.cache_clear()
                for name in set(sys.modules) - modules:  # own modules of the next test may have the same name
                    if str(self.folder) in str(getattr(sys.modules[name], "__file__", "")):
                        del sys.modules[name]
        return Ended(code, *self.capsys.readouterr())


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(tmp_path)


@pytest.fixture
def my_optimizers(tmp_path: Path) -> None:
    """``optimizer=slow`` and ``optimizer=fragile`` beside a study in the working folder."""
    (tmp_path / "my_optimizers.py").write_text(MY_OPTIMIZERS)
    (tmp_path / "own.yaml").write_text("defaults: [digits, _self_]\n")
    (tmp_path / "optimizer").mkdir()
    for name in ("Slow", "Fragile"):
        (tmp_path / "optimizer" / f"{name.lower()}.yaml").write_text(f"_target_: my_optimizers.{name}\nlr: 0.1\n")


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 30) -> None:
    """Wait for a condition; a process that has ended will not bring it about any more."""
    end = time.monotonic() + seconds
    while not happened():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"waited in vain; exit code {process.returncode}\n{out}\n{err}")
        time.sleep(0.002)


def error_lines(stderr: str) -> Sequence[str]:
    """What adamcmp itself says on stderr, beside plan and progress."""
    return [line for line in stderr.splitlines() if line.startswith("adamcmp: ")]


def processes_in(folder: Path) -> list[str]:
    """Command lines of the processes whose working folder this is, Python's own resource tracker left out."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(each / "cwd") == str(folder):  # noqa: PTH115  # a process may be gone at any time
                command = (each / "cmdline").read_text().replace("\0", " ")
                if command and "resource_tracker" not in command:
                    found.append(command)
        except OSError:
            continue
    return found
