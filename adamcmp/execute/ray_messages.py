"""Messages between the driver and the tasks of a Ray cluster, through one actor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from adamcmp.execute.protocol import Response

MESSAGE_SECONDS = 1.0
"""Seconds between two messages of a task, at least: thousands of them share one actor."""


class MessageActor:
    """The actor in the middle: messages of tasks on their way to the driver, and who is to stop."""

    def __init__(self) -> None:
        self._messages: list[tuple[int, Response]] = []
        self._stopped: set[int] = set()

    def tell(self, key: int, answers: Sequence[Response]) -> bool:
        """Take messages of a task; whether it is to stop."""
        self._messages.extend((key, answer) for answer in answers)
        return key in self._stopped

    def stop(self, key: int) -> None:
        """Let a task know that it is to stop."""
        self._stopped.add(key)

    def taken(self) -> list[tuple[int, Response]]:
        """Return all messages since the last call."""
        messages, self._messages = self._messages, []
        return messages


class RayChannel:
    """The channel of a task to the ``MessageActor``: a ``worker.Channel``."""

    def __init__(self, board: Any, key: int) -> None:
        self._board, self._key = board, key
        self._waiting: list[Response] = []
        self._sent: Any = None
        self._at = 0.0
        self._stop = False

    def send(self, obj: Response, /) -> None:
        """Tell something, soon."""
        self._waiting.append(obj)
        self.poll()

    def poll(self) -> bool:
        """Return whether the training is to stop."""
        import ray

        if self._sent is not None and ray.wait([self._sent], timeout=0)[0]:
            with suppress(ray.exceptions.RayError):  # Ray restarts the actor; stored runs do not depend on it
                self._stop = bool(ray.get(self._sent))
            self._sent = None
        if self._sent is None and time.monotonic() >= self._at:
            self._sent = self._board.tell.remote(self._key, self._waiting)
            self._waiting, self._at = [], time.monotonic() + MESSAGE_SECONDS
        return self._stop

    def close(self) -> None:
        """Wait until all has arrived."""
        import ray

        with suppress(ray.exceptions.RayError):
            ray.get([*([] if self._sent is None else [self._sent]), self._board.tell.remote(self._key, self._waiting)])
