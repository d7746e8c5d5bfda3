"""What a training reports and asks on its way: progress, checkpoints, and whether to stop.

A checkpoint holds all that the rest of a training depends on, so that an interrupted one goes on as if nothing had
been: random numbers need no place in it, since streams are seeded anew at every step. It is written to a temporary
name, synced and renamed; a file that cannot be read, or is another version's, is as good as none.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from adamcmp.engine.outcome import OnSteps
from adamcmp.engine.strategy import Piece
from adamcmp.errors import InputError
from adamcmp.records import replacing

LOOK_EVERY = 0.05
"""Seconds between two looks at the clock's consequences: a step of a small program takes a hundredth of that."""


class Stopped(Exception):  # noqa: N818  # no error: someone asked for it
    """Training has stopped on request; its checkpoint is written."""


class Unwritable(InputError):  # noqa: N818  # an InputError by its base
    """A checkpoint cannot be written."""


class Watch:
    """Progress, checkpoints and stopping, for the training of one piece."""

    def __init__(
        self,
        on_steps: OnSteps = lambda *_: None,
        *,
        piece: Piece | None = None,
        checkpoint: Path | None = None,
        every: float = 60.0,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.on_steps = on_steps
        self._piece, self._checkpoint, self._every, self._stopping = piece, checkpoint, every, stopping
        self._look_at, self._save_at = 0.0, time.monotonic() + every

    def between_steps(self, state: Callable[[], dict[str, Any]]) -> None:
        """Save ``state()`` where it is time to.

        Raises:
            Stopped: someone asked for it; the state is saved.
            Unwritable: the checkpoint cannot be written.
        """
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        stopping = self._stopping()
        if self._checkpoint is not None and (stopping or now >= self._save_at):
            try:
                _save(self._checkpoint, {**self._described(), **state()})
            except InputError as error:
                raise Unwritable(str(error)) from error
            self._save_at = time.monotonic() + self._every
        if stopping:
            raise Stopped

    def _described(self) -> dict[str, Any]:
        """Which runs a checkpoint is of, and how they were trained: what ``state`` names goes first."""
        piece = self._piece
        return {} if piece is None else {"runs": [run.id for run in piece.runs], "strategy": asdict(piece.strategy)}

    def resumed(self) -> dict[str, Any] | None:
        """The state to go on from, or None."""
        return None if self._checkpoint is None else load_checkpoint(self._checkpoint)


def _save(path: Path, state: dict[str, Any]) -> None:
    with replacing(path, sync=True) as file:
        torch.save(state, file)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state that a checkpoint holds; None where there is none that can be read."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
        return None
    return state if isinstance(state, dict) else None
