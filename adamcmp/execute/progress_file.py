"""Progress of a study's sweep, from the files of its drivers. No torch.

Each driver writes its progress to a file in ``drivers/`` (see ``leases``), at most once per second, and leaves
the file when it ends; after a kill, the file has the last progress. Several drivers are read as one.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from adamcmp.execute.leases import DEAD_AFTER_SECONDS, DRIVERS, Leases
from adamcmp.untrusted import load_json

if TYPE_CHECKING:
    from adamcmp.engine.run_result import Evaluation, RunResult
    from adamcmp.execute.execution_plan import ExecutionPlan
    from adamcmp.execute.job_queue import Listener
    from adamcmp.plan.runs import Run


@dataclass
class SweepProgress:
    """Progress of one stage, as a driver writes it."""

    study: str
    what: str
    """Prefix for the stage: empty, or a text that ends with a comma and a space."""
    planned: int
    """Runs of this stage, stored ones included."""
    todo: int
    """Runs that were missing when it began."""
    steps: int
    """Steps of all of these runs."""
    processes: int
    device: str
    estimate: float
    """Estimated seconds of the plan."""
    host: str
    pid: int
    started: float
    """Seconds since 1970; the time of the last update has the same unit."""
    updated_at: float
    ended: int = 0
    """Runs that have ended."""
    diverged: int = 0
    failed: int = 0
    taken: int = 0
    """Steps that are done."""
    busy: int = 0
    """Processes that train."""
    over: bool = False
    """Whether the stage has ended."""
    drivers: int = 1
    """Number of drivers."""
    newest: str = ""
    """Newest evaluation of a run in training: step and validation metric."""

    @classmethod
    def read(cls, study_dir: Path) -> Self | None:
        """Return the progress of a study's running drivers, or else of the last one; None without any."""
        every = [progress for path in (study_dir / DRIVERS).glob("*.json") if (progress := cls._of(path)) is not None]
        running = [progress for progress in every if progress.is_running]
        if len(running) > 1:
            return cls._together(running)
        return max(running or every, key=lambda progress: progress.updated_at, default=None)

    @classmethod
    def _of(cls, path: Path) -> Self | None:
        try:
            loaded: Mapping[str, Any] = load_json(path.read_bytes())
            fields = {name: value for name, value in loaded["progress"].items() if name != "told"}  # its former name
            return cls(**{**fields, "updated_at": loaded["told"]})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @classmethod
    def _together(cls, every: Sequence[Self]) -> Self:
        """Return the joint progress of several drivers, each of which started with the runs that were missing then."""
        latest = max(every, key=lambda progress: progress.todo)
        sums = ("ended", "diverged", "failed", "taken", "busy", "processes")
        return replace(
            latest,
            **{name: sum(getattr(progress, name) for progress in every) for name in sums},
            started=min(progress.started for progress in every),
            updated_at=max(progress.updated_at for progress in every),
            drivers=len(every),
        )

    @property
    def is_running(self) -> bool:
        """Whether the driver is at this stage; one on another machine is believed for ``DEAD_AFTER_SECONDS``
        seconds.
        """
        return self.is_alive and not self.over

    @property
    def state(self) -> str:
        """``training``, ``done``, or ``stopped`` before its end."""
        return "training" if self.is_running else "done" if self.over and self.ended >= self.todo else "stopped"

    @property
    def is_alive(self) -> bool:
        """Whether the driver is there: between two stages it plans, and after the last one it writes a report."""
        if self.host == socket.gethostname():
            return psutil.pid_exists(self.pid)
        return not self.over and time.time() - self.updated_at < DEAD_AFTER_SECONDS


class ProgressWriter:
    """A listener that passes everything to another one, and writes the progress for ``adamcmp watch``."""

    def __init__(
        self, listener: Listener, leases: Leases, plan: ExecutionPlan, planned: int, what: str, study: str
    ) -> None:
        self._listener, self._leases, self._plan = listener, leases, plan
        todo = [run for run_group, _ in plan.pairs for run in run_group.runs]
        now = time.time()
        self._progress = SweepProgress(
            study=study,
            what=what,
            planned=planned,
            todo=len(todo),
            steps=sum(run.task.steps for run in todo),
            processes=len(plan.executor.slots) if plan.executor else 1,
            device=str(plan.device),
            estimate=plan.estimate.seconds,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=now,
            updated_at=now,
        )
        self._next = 0.0
        self._error = todo[0].task.criteria.error if todo else None

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.over = True
        self._write()

    def stepped(self, steps: int, evaluation: Evaluation | None) -> None:
        """Count steps of the runs in training, all together."""
        self._progress.taken += steps
        if evaluation is not None and self._error is not None:
            value = self._error.text(evaluation.validation_error)
            self._progress.newest = f"validation {self._error.label} {value} at step {evaluation.step:,}"
        self._listener.stepped(steps, evaluation)
        self._tell()

    def ended(self, outcome: RunResult) -> None:
        """Count a run that has ended."""
        self._progress.ended += 1
        self._progress.diverged += outcome.status == "diverged"
        self._progress.failed += outcome.status == "failed"
        self._listener.ended(outcome)
        self._tell()

    def elsewhere(self, runs: Sequence[Run]) -> None:
        """Count runs that other drivers have stored."""
        self._listener.elsewhere(runs)

    def say(self, text: str) -> None:
        """Pass a message on."""
        self._listener.say(text)

    def _tell(self) -> None:
        if time.monotonic() >= self._next:
            self._write()

    def _write(self) -> None:
        self._next = time.monotonic() + self._leases.every
        slots: Sequence[object] = self._plan.executor.slots if self._plan.executor else ()
        self._progress.busy = sum(getattr(slot, "busy", None) is not None for slot in slots) if slots else 1
        self._leases.tell({"progress": asdict(self._progress)})
