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
POLL = 0.1
"""Seconds between two looks at memory."""
QUICK = ("optimizer.lr=0.001,0.01", "optimizer.weight_decay=0,0.001", "study.seeds=1", "train.steps=20")


@dataclass(frozen=True)
class Stage:
    """One sweep and its report."""

    name: str
    sweep_seconds: float
    report_seconds: float
    peak_bytes: int
    """Each process' own peak of resident memory, summed over all of them, shared pages counted every time."""

    @property
    def seconds(self) -> float:
        """Of both."""
        return self.sweep_seconds + self.report_seconds


def stages(quick: bool) -> Iterator[Stage]:
    """Cold, warm, and nothing to train; ``quick`` takes 16 short runs in place of the study's."""
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(XDG_CACHE_HOME=f"{folder}/cache", TORCHINDUCTOR_CACHE_DIR=f"{folder}/inductor")
        for name, results in (("cold", "first"), ("warm", "second"), ("nothing to train", "second")):
            options = ["--config-dir", str(CONFIGS), "--results-dir", f"{folder}/{results}"]
            sweep, sweep_peak = watched(command("sweep", STUDY, *(QUICK if quick else ()), *options), variables)
            report, report_peak = watched(command("report", f"{folder}/{results}/{STUDY}"), variables)
            yield Stage(name, sweep, report, max(sweep_peak, report_peak))


def watched(call: Sequence[str], variables: dict[str, str]) -> tuple[float, int]:
    """Wall seconds of a command, and the sum of its processes' peaks of resident memory in bytes."""
    peaks: dict[int, int] = {}
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(call, env=variables, stdout=said, stderr=subprocess.STDOUT)
        while process.poll() is None:
            for pid, size in resident(process.pid):
                peaks[pid] = max(size, peaks.get(pid, 0))
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
        seconds = time.perf_counter() - started
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(call)} ended with {process.returncode}:\n{said.read().decode()}")
    return seconds, sum(peaks.values())


def resident(pid: int) -> Iterator[tuple[int, int]]:
    """Process id and resident bytes of a process and all below it; those that end meanwhile are left out."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for each in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                yield each.pid, each.memory_info().rss


def goals_met(measured: Sequence[Stage]) -> list[str]:
    """A line for each stage: what it took, beside its goal."""
    cold, warm, nothing = measured
    peak = max(stage.peak_bytes for stage in measured) / 1e9
    return [
        _line("cold caches, sweep and report", cold.seconds, 30, "s"),
        _line("warm caches, sweep and report", warm.seconds, 20, "s"),
        _line("nothing to train, sweep alone", nothing.sweep_seconds, 3, "s"),
        _line("peak memory, sum over processes", peak, 4, "GB"),
    ]


def _line(what: str, value: float, goal: float, unit: str) -> str:
    return f"- {what}: {value:.1f} {unit} (goal ≤ {goal} {unit}: {'met' if value <= goal else 'not met'})"
