"""Finished runs on their way to disk, and what earlier commands have begun.

Finished runs are stored at least every two seconds, or after every run where runs take longer; a checkpoint goes once
the runs it holds are stored. So a kill at any instant loses at most the runs of the last two seconds, and what the
unfinished ones did since their last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adamcmp.engine.checkpoint import load_checkpoint, unsaved_attributes, version_mismatch
from adamcmp.engine.run_result import RunResult
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.errors import one_line
from adamcmp.execute.folders import unsent
from adamcmp.execute.recording import Provenance, curve, record
from adamcmp.plan.runs import Run, group_runs
from adamcmp.storage.backend import GoneError, retry_while_away
from adamcmp.storage.merging import merge_parts
from adamcmp.storage.part_files import append_runs

STORE_EVERY = 2.0
"""Seconds between two parts on disk."""


@dataclass
class Pending:
    """Finished runs on their way to disk."""

    study_dir: Path
    provenance: Provenance
    release: Callable[[Collection[str]], object] = lambda _: None
    """Told which runs are stored."""
    outcomes: list[RunResult] = field(default_factory=list)
    stored_at: float = field(default_factory=time.monotonic)
    done: list[Path] = field(default_factory=list)
    """Checkpoints whose runs are among ``outcomes``."""
    merges: bool = True
    """Whether it puts many parts together: where a cluster stores them, its driver alone does."""
    _merged_at: float = field(default_factory=time.monotonic)

    def add(self, outcomes: Sequence[RunResult], checkpoint: Path | None = None) -> None:
        """Take what ended together; store all when it is time to, and then remove the ``checkpoint`` of those runs."""
        self.outcomes.extend(outcomes)
        if checkpoint is not None:
            self.done.append(checkpoint)
        if time.monotonic() - self.stored_at >= STORE_EVERY:
            self.store()

    def store(self) -> None:
        """Write what is here as one part."""
        if self.outcomes:
            rows = [record(outcome, self.provenance) for outcome in self.outcomes]
            kept = [outcome for outcome in self.outcomes if outcome.status != "failed"]  # it will be trained again
            curves = [row for outcome in kept for row in curve(outcome)]
            told = [
                {"run_id": outcome.run.id, **outcome.outcomes._asdict()}
                for outcome in self.outcomes
                if outcome.outcomes is not None
            ]
            self._append(rows, curves, told)
            stored = [outcome.run.id for outcome in self.outcomes]
            self.outcomes.clear()
            self.release(stored)
            self.merge()
        while self.done:
            self.done.pop().unlink(missing_ok=True)
        self.stored_at = time.monotonic()

    def _append(self, *tables: Sequence[Mapping[str, Any]]) -> None:
        """Store rows; where the store is away for long, keep them on this machine for the next command.

        Raises:
            GoneError: the store is away; its text says where the runs are.
        """
        try:
            retry_while_away(lambda: append_runs(self.study_dir, *tables), self.study_dir)
        except GoneError as error:
            kept = unsent(self.study_dir)
            append_runs(kept, *tables)
            raise GoneError(
                f"{error}; {len(tables[0]):,} finished run{'' if len(tables[0]) == 1 else 's'} that it lacks "
                f"{'is' if len(tables[0]) == 1 else 'are'} kept in {kept}, and the same command stores them there and "
                "resumes"
            ) from error

    def merge(self) -> None:
        """Put parts together where there are many, whoever wrote them."""
        if self.merges and time.monotonic() - self._merged_at >= STORE_EVERY:
            merge_parts(self.study_dir)
            self._merged_at = time.monotonic()


@dataclass(frozen=True)
class Unfinished:
    """What earlier commands began: a piece and its checkpoint; or what is left of a larger one, and where to start."""

    piece: Shard
    checkpoint: Path
    start: Path | None = None
    """The larger one's checkpoint."""


def checkpoint_of(study_dir: Path, piece: Shard) -> Path:
    """Where a piece's checkpoint goes."""
    return study_dir / "checkpoints" / f"{piece.key}.pt"


def unfinished(study_dir: Path, todo: Sequence[Run], say: Callable[[str], None]) -> list[Unfinished]:
    """What checkpoints hold of the runs that are to be trained now: of each run the smallest piece's, as the latest.

    Checkpoints stay until all of their runs are stored; those that cannot be read, or that other versions wrote, are
    set aside, with a line.
    """
    runs = {run.id: run for run in todo}
    kernels = {run.id: group.kernel for group in group_runs(todo) for run in group.runs}
    states: list[tuple[list[str], Strategy, Path]] = []
    for path in sorted((study_dir / "checkpoints").glob("*.pt")):
        try:
            state = load_checkpoint(path)
            if state is None:
                raise ValueError("damaged, or written by another version of adamcmp")
            other = version_mismatch(state)
            if other is not None:
                raise ValueError(f"written by {other}")
            if names := unsaved_attributes(state):
                changed = ", ".join(name.lstrip(".") for name in names)
                raise ValueError(f"training changes {changed}, whose type a checkpoint cannot hold")
            states.append((state["runs"], Strategy(**state["strategy"]), path))
        except (ValueError, TypeError, KeyError) as error:
            aside = path.replace(path.with_suffix(".unusable"))
            say(f"{aside}: this checkpoint is set aside ({one_line(error)}); its runs start again")
    found: list[Unfinished] = []
    for ids, strategy, path in sorted(states, key=lambda each: len(each[0])):
        members = tuple(runs.pop(each) for each in ids if each in runs)
        if not members:
            continue
        piece = Shard(members[0].task, kernels[members[0].id], members, strategy)
        whole = len(members) == len(ids)
        found.append(Unfinished(piece, path) if whole else Unfinished(piece, checkpoint_of(study_dir, piece), path))
    return found
