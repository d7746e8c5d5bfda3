"""The dashboard of ``adamcmp watch``: it reads the folders of running sweeps and nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from adamcmp.analysis import split_by_task, task_metrics, tuning_runs
from adamcmp.cli.progress import format_duration
from adamcmp.errors import InputError
from adamcmp.execute.leases import DRIVERS
from adamcmp.execute.progress_file import SweepProgress
from adamcmp.figures.axis_labels import format_tick
from adamcmp.storage.records import read_records
from adamcmp.text_safety import escape_rich, to_one_line

RATE_WINDOW_SECONDS = 30.0
"""Seconds over which the rate of steps is measured."""
MAX_LISTED_ERRORS = 3
"""Texts of failures that are shown of a study."""


def find_monitors(path: Path) -> list[Path]:
    """Return the folders at a path in which runs are stored or trained: itself, or those right below it.

    Raises:
        InputError: there is none.
    """
    folders = [path, *sorted(path.iterdir())] if path.is_dir() else []
    watched = [folder for folder in folders if (folder / "records").is_dir() or (folder / DRIVERS).is_dir()]
    if not watched:
        raise InputError(f"{path}: no study is stored or trained here; give results/<study>, or the folder above it")
    return watched


@dataclass
class StudyMonitor:
    """One study, looked at again and again."""

    folder: Path
    _parts: tuple[str, ...] = ()
    _records: pd.DataFrame = field(default_factory=pd.DataFrame)
    _seen: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since 1970 and steps taken, of the last ``RATE_WINDOW_SECONDS`` seconds."""
    progress: SweepProgress | None = None

    def refresh(self) -> None:
        """Read new files."""
        self.progress = SweepProgress.read(self.folder)
        parts = tuple(sorted(path.name for path in (self.folder / "records").glob("*.parquet")))
        if parts != self._parts:
            self._records, self._parts = read_records(self.folder), parts
        if self.progress is not None:
            sample = (self.progress.updated_at, self.progress.taken)
            if self._seen and sample[1] < self._seen[-1][1]:
                self._seen.clear()  # the next stage has begun
            if not self._seen or sample[0] > self._seen[-1][0]:
                self._seen.append(sample)
            while len(self._seen) > 2 and self._seen[-1][0] - self._seen[0][0] > RATE_WINDOW_SECONDS:
                self._seen.pop(0)

    @property
    def is_alive(self) -> bool:
        """Whether a driver is at work on it, or between two stages of it."""
        return self.progress is not None and self.progress.is_alive

    @property
    def rate(self) -> float:
        """Steps a second, of late, or since it began where only one moment is known; 0 before the first."""
        if self.progress is None:
            return 0.0
        first = self._seen[0] if len(self._seen) > 1 else (self.progress.started, 0)
        seconds = self.progress.updated_at - first[0]
        return (self.progress.taken - first[1]) / seconds if seconds > 0 else 0.0

    def render(self) -> RenderableType:
        """Return the study's board."""
        return Group(*self._head(), *(self._arms() if len(self._records) else ()), *self._failures())

    def _head(self) -> list[RenderableType]:
        progress = self.progress
        title = Text(to_one_line(progress.study if progress else self.folder.name), "bold")
        if progress is None:
            return [title.append(f": {len(self._records):,} runs stored; nothing is trained", "default")]
        more = "; the same command resumes" if progress.state == "stopped" else ""
        title.append(f": {progress.what}{progress.state}{more}", "not bold")
        left = (progress.steps - progress.taken) / self.rate if self.rate > 0 else progress.estimate
        counts = [f"{progress.planned - progress.todo + progress.ended:,} of {progress.planned:,} runs"]
        counts += [f"{progress.diverged:,} diverged"] if progress.diverged else []
        counts += [f"{progress.failed:,} failed"] if progress.failed else []
        bar = Table.grid(padding=(0, 1))
        share = 1.0 if progress.state == "done" or not progress.steps else min(progress.taken / progress.steps, 1.0)
        times = (
            f"about {format_duration(left)} left"
            if progress.is_running
            else f"after {format_duration(progress.updated_at - progress.started)}"
        )
        drawn = ProgressBar(total=1.0, completed=share, width=24)
        bar.add_row(drawn, f"{share:.0%}", ", ".join(counts), times)
        if not progress.is_running:
            return [title, bar]
        runs = 60 * progress.ended / max(progress.updated_at - progress.started, 1e-9)
        speed = f"{self.rate:,.0f} steps/s, {runs:,.3g} runs/min" if progress.taken else "no step yet"
        where = (
            f"{progress.busy} of {progress.processes} processes at work"
            if progress.taken
            else f"{progress.processes} processes"
        )
        whose = (
            f"{to_one_line(progress.host)}, process {progress.pid}"
            if progress.drivers == 1
            else f"{progress.drivers} drivers"
        )
        newest = [Text(f"newest: {to_one_line(progress.newest)}", "dim")] if progress.newest else []
        return [title, bar, *newest, Text(f"{speed}; {where} on {progress.device}; {whose}", "dim")]

    def _arms(self) -> list[RenderableType]:
        boards: list[RenderableType] = []
        for task in split_by_task(self._records):
            error = task_metrics(task.records).error
            table = Table(box=SIMPLE_HEAD, padding=(0, 1), title_justify="left", title_style="dim")
            table.title = escape_rich(to_one_line(task.label))
            for name in ("optimizer", "runs", "diverged", "failed", f"best validation {error.label} so far", "lr", "λ"):
                table.add_column(name, justify="left" if name == "optimizer" else "right")
            for arm, runs in task.records.groupby("arm"):
                done = tuning_runs(runs)
                done = done[done["status"] == "completed"]
                count = [f"{(runs['status'] == status).sum():,}" for status in ("diverged", "failed")]
                best = ("–", "–", "–")
                if len(done):
                    row = done.sort_values("final_validation_error", ascending=not error.higher_is_better).iloc[0]
                    value = error.text(float(row["final_validation_error"]))
                    best = (value, format_tick(float(row["lr"]), 3), format_tick(float(row["weight_decay"]), 3))
                table.add_row(escape_rich(to_one_line(arm)), f"{len(runs):,}", *count, *best)
            boards.append(table)
        return boards

    def _failures(self) -> list[RenderableType]:
        failed = self._records[self._records["status"] == "failed"] if len(self._records) else self._records
        if failed.empty:
            return []
        texts = failed["error"].fillna("no error text").astype(str).str.strip().str.partition("\n")[0].value_counts()
        lines = [
            Text(f"failed, {n:,}: {to_one_line(text)}", "red") for text, n in list(texts.items())[:MAX_LISTED_ERRORS]
        ]
        return (
            [*lines, Text(f"{len(texts) - MAX_LISTED_ERRORS:,} other errors", "red")]
            if len(texts) > MAX_LISTED_ERRORS
            else [*lines]
        )


def render_dashboard(monitors: Sequence[StudyMonitor]) -> RenderableType:
    """Return all studies, those at work first."""
    ordered = sorted(monitors, key=lambda monitor: not monitor.is_alive)
    now = Text(time.strftime("%H:%M:%S"), "dim")
    return Group(*(part for monitor in ordered for part in (monitor.render(), Text(""))), now)
