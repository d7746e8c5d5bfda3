"""Control of a training: progress, checkpoints and stopping.

A checkpoint holds everything that the rest of a training depends on, so that an interrupted training resumes with the
same results: random numbers are not part of it, since streams are seeded again at every step. It is written to a
temporary name, synced and renamed; a file that cannot be read, or that other versions wrote, is not used.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from adamcmp.engine.run_result import StepsCallback
from adamcmp.engine.strategy.types import Shard
from adamcmp.errors import InputError
from adamcmp.storage.backend import atomic_write
from adamcmp.storage.schema import SCHEMA_VERSION

CHECK_SECONDS = 0.05
"""Seconds between two checks of the clock: a step of a small program takes a hundredth of that."""


CHECKPOINT_VERSION = 3
"""Version of the checkpoint format."""
VERSIONS = {
    "schema": SCHEMA_VERSION,
    "form": CHECKPOINT_VERSION,
    "adamcmp": version("adamcmp"),
    "torch": str(torch.__version__),
}
"""Versions that must have written a checkpoint for it to be read."""


class TrainingStopped(Exception):  # noqa: N818  # no error: someone asked for it
    """Training has stopped on request; its checkpoint is written."""


class CheckpointError(InputError):  # an InputError by its base
    """A checkpoint cannot be written."""


class TrainingControl:
    """Progress, checkpoints and stopping, for the training of one shard."""

    def __init__(
        self,
        on_steps: StepsCallback = lambda *_: None,
        *,
        shard: Shard | None = None,
        checkpoint: Path | None = None,
        start: Path | None = None,
        every: float = 60.0,
        weights: Path | None = None,
        writes: bool = True,
        stopping: Callable[[], bool] = lambda: False,
        limits: Any = None,
    ) -> None:
        """Watch a shard, whose checkpoint is written; until there is one, it starts from that of a larger shard.

        ``weights`` is the folder where those that ``train.save`` asks for are kept; without it none are. One that does
        not write reads checkpoints alone. ``limits`` are ``program_training.ProgramLimits``.
        """
        self.on_steps, self.weights, self.limits = on_steps, weights, limits
        self._shard, self._checkpoint, self._start, self._writes = shard, checkpoint, start, writes
        self._every, self._stopping = every, stopping
        self._look_at, self._save_at = 0.0, time.monotonic() + every

    def stop_requested(self) -> bool:
        """Return whether the training is to stop."""
        return self._stopping()

    def between_steps(self, state: Callable[[], dict[str, Any]]) -> None:
        """Save ``state()`` where it is time to.

        Raises:
            TrainingStopped: a stop was requested; the state is saved.
            CheckpointError: the checkpoint cannot be written.
        """
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + CHECK_SECONDS
        stopping = self._stopping()
        if self._writes and self._checkpoint is not None and (stopping or now >= self._save_at):
            try:
                _save_checkpoint(self._checkpoint, {**self._described(), **state()})
            except InputError as error:
                raise CheckpointError(str(error)) from error
            self._save_at = time.monotonic() + self._every
        if stopping:
            raise TrainingStopped

    def _described(self) -> dict[str, Any]:
        """Return the runs of a checkpoint and their strategy; keys of ``state`` take precedence."""
        shard = self._shard
        of = {} if shard is None else {"runs": [run.id for run in shard.runs], "strategy": asdict(shard.strategy)}
        return {"versions": VERSIONS, **of}

    @property
    def paths(self) -> tuple[Path | None, Path | None]:
        """Paths of the checkpoint, and of the checkpoint to start from."""
        return self._checkpoint, self._start

    def resumed(self) -> dict[str, Any] | None:
        """Return the state to resume from, or None."""
        for path in (self._checkpoint, self._start):
            state = load_checkpoint(path) if path is not None else None
            if state is not None and version_mismatch(state) is None:
                return state
        return None


MAGIC = b"adamcmp checkpoint\n"
"""First bytes of a checkpoint. The SHA-256 of the rest follows, then the rest, as ``torch.save`` writes it."""


def _save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    content = io.BytesIO()
    torch.save(state, content)
    with atomic_write(path, sync=True) as file:
        file.write(MAGIC + hashlib.sha256(content.getbuffer()).digest())
        file.write(content.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return the state that a checkpoint holds; None if there is none, or its bytes are not those that were written."""
    try:
        content = memoryview(path.read_bytes())
        start = len(MAGIC) + hashlib.sha256().digest_size
        if content[: len(MAGIC)] != MAGIC or hashlib.sha256(content[start:]).digest() != content[len(MAGIC) : start]:
            return None
        state = torch.load(io.BytesIO(content[start:]), map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
        return None
    return state if isinstance(state, dict) else None


def unsaved_attributes(state: Mapping[str, Any]) -> list[str]:
    """Return the names of attributes that change during training and whose values the checkpoint could not hold."""
    names: list[str] = (state.get("attributes") or {}).get("unsaved", [])
    return names


def version_mismatch(state: Mapping[str, Any]) -> str | None:
    """Return the version that differs from ours, such as ``torch 2.13.0, not 2.14.1``; None if all agree."""
    wrote = state.get("versions")
    if not isinstance(wrote, dict):
        return "an adamcmp version that did not record its dependencies"
    return next(
        (f"{name} {wrote.get(name)}, not {ours}" for name, ours in VERSIONS.items() if wrote.get(name) != ours), None
    )
