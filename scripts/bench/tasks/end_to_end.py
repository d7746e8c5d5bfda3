"""A whole study from an empty folder to its report, through the command line: seconds and memory.

The study is ``configs/study/end_to_end.yaml``: 2,420 runs of 500 steps. It is made with cold caches (torch.compile's,
and everything under XDG_CACHE_HOME, both in a new folder), again with these caches warm, and once more with all of its
runs stored already.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from tasks.sweeps import command, environment
from tasks.works import CONFIGS

STUDY = "end_to_end"
RUNS = 2420
POLL = 1.0
"""Seconds between two looks at memory: a look costs the kernel some ten milliseconds a process."""
QUICK = ("optimizer.lr=0.001,0.01", "optimizer.weight_decay=0,0.001", "study.seeds=1", "train.steps=20")


@dataclass(frozen=True)
class Stage:
    """One ``adamcmp sweep --report``; the last one, with nothing to train, without the report."""

    name: str
    seconds: float
    peak_bytes: int
    """The most that all processes held at one time; a page that several share is counted once."""


def stages(quick: bool) -> Iterator[Stage]:
    """Cold, warm, and nothing to train; ``quick`` takes 16 short runs in place of the study's."""
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(XDG_CACHE_HOME=f"{folder}/cache", TORCHINDUCTOR_CACHE_DIR=f"{folder}/inductor")
        for name, results, report in (
            ("cold", "first", ["--report"]),
            ("warm", "second", ["--report"]),
            ("nothing to train", "second", []),
        ):
            options = ["--config-dir", str(CONFIGS), "--results-dir", f"{folder}/{results}", *report]
            yield Stage(name, *watched(command("sweep", STUDY, *(QUICK if quick else ()), *options), variables))


def watched(call: Sequence[str], variables: dict[str, str]) -> tuple[float, int]:
    """Wall seconds of a command, and the most memory in bytes that it and all below it held."""
    peak = 0
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(call, env=variables, stdout=said, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, sum(held(process.pid)))
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
        seconds = time.perf_counter() - started
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(call)} ended with {process.returncode}:\n{said.read().decode()}")
    return seconds, peak


def held(pid: int) -> Iterator[int]:
    """Bytes of a process and of each below it, shared pages in proportion; those that end meanwhile are left out."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for each in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                memory = each.memory_full_info()
                yield getattr(memory, "pss", memory.uss)


def goals_met(measured: Sequence[Stage]) -> list[str]:
    """Yield one line per stage: its duration and its goal."""
    cold, warm, nothing = measured
    peak = max(stage.peak_bytes for stage in measured) / 1e9
    return [
        _line("cold caches, tables and figures included", cold.seconds, 25, "s"),
        _line("warm caches, tables and figures included", warm.seconds, 15, "s"),
        _line("nothing to train", nothing.seconds, 2, "s"),
        _line("peak memory, all processes", peak, 4, "GB"),
    ]


def _line(what: str, value: float, goal: float, unit: str) -> str:
    return f"- {what}: {value:.1f} {unit} (goal ≤ {goal} {unit}: {'met' if value <= goal else 'not met'})"
