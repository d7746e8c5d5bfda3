"""Train what a plan still misses, in this process, and store each finished run.

One driver at a time holds a study's lock. Finished runs are stored at least every two seconds, or after every run
where runs take longer; so a kill at any instant loses at most the runs of the last two seconds.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from filelock import FileLock, Timeout

from adamcmp.data.dataset import Dataset
from adamcmp.engine import sequential
from adamcmp.engine.outcome import Evaluation, Outcome
from adamcmp.errors import InputError
from adamcmp.execute.rows import Provenance, curve, record
from adamcmp.plan.runs import Cohort, Run, cohorts
from adamcmp.records import append, finished, merge_parts, remove_leftovers, write_file, writing

STORE_EVERY = 2.0
"""Seconds between two parts on disk."""


class Listener(Protocol):
    """Told how a sweep goes on."""

    def stepped(self, steps: int, evaluation: Evaluation | None) -> None:
        """The current run has taken so many more steps."""

    def ended(self, outcome: Outcome) -> None:
        """A run has ended."""


@dataclass
class Pending:
    """Finished runs on their way to disk."""

    study_dir: Path
    provenance: Provenance
    outcomes: list[Outcome] = field(default_factory=list)
    stored_at: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        """Take one more; store all when it is time to."""
        self.outcomes.append(outcome)
        if time.monotonic() - self.stored_at >= STORE_EVERY:
            self.store()

    def store(self) -> None:
        """Write what is here as one part."""
        if self.outcomes:
            rows = [record(outcome, self.provenance) for outcome in self.outcomes]
            append(self.study_dir, rows, [row for outcome in self.outcomes for row in curve(outcome)])
            self.outcomes.clear()
        self.stored_at = time.monotonic()


@contextmanager
def driving(study_dir: Path) -> Iterator[None]:
    """Hold the study's lock.

    Raises:
        InputError: another process holds it, or the folder cannot be written.
    """
    with writing(study_dir):
        study_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(study_dir / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:  # an OSError, which writing() would take for a full disk
            raise InputError(
                f"{study_dir}: another adamcmp is training this study; wait for it, or choose another --results-dir"
            ) from error
    try:
        remove_leftovers(study_dir)
        yield
    finally:
        lock.release()


def describe(study_dir: Path, resolved: str) -> None:
    """Write the study's resolved configuration to ``study.yaml``, whole or not at all."""
    write_file(study_dir / "study.yaml", resolved.encode())


def missing(runs: Sequence[Run], study_dir: Path) -> list[Run]:
    """The runs that are not stored yet, or have failed."""
    done = finished(study_dir)
    return [run for run in runs if run.id not in done]


def estimates(groups: Sequence[Cohort], datasets: Mapping[str, Dataset], device: torch.device) -> list[float]:
    """Seconds that each cohort will take, measured on a few steps of a run of each of its optimizers."""
    found = []
    for group in groups:
        counts = Counter(run.optimizer.name for run in group.runs)
        samples = {run.optimizer.name: run for run in group.runs}
        dataset = datasets[group.task.facts.fingerprint]
        found.append(sum(n * sequential.estimate(samples[name], dataset, device) for name, n in counts.items()))
    return found


def train(
    runs: Sequence[Run],
    datasets: Mapping[str, Dataset],
    study_dir: Path,
    provenance: Provenance,
    device: torch.device,
    listener: Listener,
) -> None:
    """Train runs and store them; on any error or interrupt, what has finished is stored first.

    Raises:
        InputError: nothing more can be written.
    """
    groups = cohorts(runs)
    pending = Pending(study_dir, provenance)
    try:
        for group in groups:
            dataset = datasets[group.task.facts.fingerprint]
            for outcome in sequential.train(group, dataset, device, listener.stepped):
                pending.add(outcome)
                listener.ended(outcome)
    finally:
        pending.store()
        merge_parts(study_dir)
