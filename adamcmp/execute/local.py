"""Finished runs on their way to disk, and what earlier commands have begun.

Finished runs are stored at least every two seconds, or after every run where runs take longer; a checkpoint goes once
the runs it holds are stored. So a kill at any instant loses at most the runs of the last two seconds, and what the
unfinished ones did since their last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adamcmp.engine.outcome import Outcome
from adamcmp.engine.strategy import Piece, Strategy
from adamcmp.engine.watch import load_checkpoint
from adamcmp.errors import one_line
from adamcmp.execute.rows import Provenance, curve, record
from adamcmp.plan.runs import Run, cohorts
from adamcmp.records import append

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
