"""``log=…``: export of stored runs to trackers every few seconds, whichever process has stored them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from adamcmp.extras import EXTRAS, check_installed
from adamcmp.storage.backend import is_local
from adamcmp.storage.part_files import part_files, stored_since
from adamcmp.storage.records import Results, read
from adamcmp.trackers import export

if TYPE_CHECKING:
    from adamcmp.engine.run_result import Evaluation, RunResult
    from adamcmp.execute.job_queue import Listener
    from adamcmp.plan.runs import Run

EXPORT_SECONDS = 5.0
"""Least seconds between two updates of the trackers."""
PAUSE_RATIO = 20.0
"""Times the duration of an update, after which the next one may follow: each reads the whole study, so reading takes at
most a twentieth of a sweep, however large it grows."""


class TrackerListener:
    """A listener that hands all on to another one, and tells trackers of runs that are stored.

    Raises:
        InputError: the package of a tracker is not installed; it says so before anything is trained.
    """

    def __init__(self, listener: Listener, study_dir: Path, trackers: Sequence[str]) -> None:
        for name in trackers:
            if name in EXTRAS:
                check_installed(f"log={name}", name)
        self._listener, self._study_dir, self._trackers = listener, study_dir, trackers
        self._known = part_files(study_dir)
        self._next = time.monotonic() + EXPORT_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tell()

    def stepped(self, steps: int, evaluation: Evaluation | None) -> None:
        """Pass steps on, and export if it is time."""
        self._listener.stepped(steps, evaluation)
        if time.monotonic() >= self._next:
            self._tell()

    def ended(self, outcome: RunResult) -> None:
        """Pass a result on."""
        self._listener.ended(outcome)

    def elsewhere(self, runs: Sequence[Run]) -> None:
        """Pass on runs that other drivers have stored."""
        self._listener.elsewhere(runs)

    def say(self, text: str) -> None:
        """Pass a message on."""
        self._listener.say(text)

    def _tell(self) -> None:
        began = time.monotonic()
        ids, self._known = stored_since(self._study_dir, self._known)
        if ids:
            stored = read(self._study_dir)
            new = Results(*(frame[frame["run_id"].isin(ids)] for frame in stored))
            folder = self._study_dir if is_local(self._study_dir) else Path(self._study_dir.name)
            for name in self._trackers:
                export(new, name, folder / name)
        ended = time.monotonic()
        self._next = ended + max(EXPORT_SECONDS, PAUSE_RATIO * (ended - began))
