"""What a study's folder needs while it is trained: the lock, finished runs on their way to disk, checkpoints.

One driver at a time holds a study's lock. Finished runs are stored at least every two seconds, or after every run
where runs take longer; a checkpoint goes once the runs it holds are stored. So a kill at any instant loses at most the
runs of the last two seconds, and what the unfinished ones did since their last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from adamcmp.engine.outcome import Outcome
from adamcmp.engine.strategy import Piece, Strategy
from adamcmp.engine.watch import load_checkpoint
from adamcmp.errors import InputError, one_line
from adamcmp.execute.folders import remove_abandoned
from adamcmp.execute.rows import Provenance, curve, record
from adamcmp.plan.runs import Run, cohorts
from adamcmp.records import append, finished, read_records, remove_leftovers, write_file, writing

STORE_EVERY = 2.0
"""Seconds between two parts on disk."""


@dataclass
class Pending:
    """Finished runs on their way to disk."""

    study_dir: Path
    provenance: Provenance
    outcomes: list[Outcome] = field(default_factory=list)
    stored_at: float = field(default_factory=time.monotonic)
    done: list[Path] = field(default_factory=list)
    """Checkpoints whose runs are among ``outcomes``."""

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
        while self.done:
            self.done.pop().unlink(missing_ok=True)
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
        tidy(study_dir)
        remove_abandoned()
    finally:
        lock.release()


def tidy(study_dir: Path) -> None:
    """Remove checkpoints of which all runs are stored, and what killed processes left half written."""
    remove_leftovers(study_dir)
    folder = study_dir / "checkpoints"
    paths = list(folder.glob("*.pt"))
    done = finished(study_dir) if paths else set()
    for path in paths:
        state = load_checkpoint(path)
        if state is not None and done.issuperset(state.get("runs", ())):
            path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def describe(study_dir: Path, resolved: str) -> None:
    """Write the study's resolved configuration to ``study.yaml``, whole or not at all."""
    write_file(study_dir / "study.yaml", resolved.encode())


def missing(runs: Sequence[Run], study_dir: Path, *, only_failed: bool = False) -> list[Run]:
    """The runs that are not stored yet, or have failed; or the latter alone."""
    records = read_records(study_dir)
    has_failed = records["status"] == "failed"
    done, failed = set(records.loc[~has_failed, "run_id"]), set(records.loc[has_failed, "run_id"])
    return [run for run in runs if (run.id in failed if only_failed else run.id not in done)]


@dataclass(frozen=True)
class Unfinished:
    """A piece that an earlier command began, and its checkpoint."""

    piece: Piece
    checkpoint: Path


def unfinished(study_dir: Path, todo: Sequence[Run], say: Callable[[str], None]) -> list[Unfinished]:
    """Checkpoints of which all runs are to be trained now.

    Others stay for the commands that will want them; those that cannot be read, or hold what another version of
    adamcmp wrote, are set aside, with a line.
    """
    runs = {run.id: run for run in todo}
    kernels = {run.id: group.kernel for group in cohorts(todo) for run in group.runs}
    found: list[Unfinished] = []
    for path in sorted((study_dir / "checkpoints").glob("*.pt")):
        try:
            state = load_checkpoint(path)
            if state is None:
                raise ValueError("cannot be read")
            ids, strategy = state["runs"], Strategy(**state["strategy"])
        except (ValueError, TypeError, KeyError) as error:
            aside = path.replace(path.with_suffix(".unusable"))
            say(f"{aside}: this checkpoint is set aside ({one_line(error)}); its runs start anew")
            continue
        if all(each in runs for each in ids):
            members = tuple(runs.pop(each) for each in ids)
            found.append(Unfinished(Piece(members[0].task, kernels[members[0].id], members, strategy), path))
    return found
