"""Where pieces are trained, seen from the driver: slots that take an ask each, and answer.

``pool`` has the processes of this machine. Another executor needs no more than this: it keeps the data where its slots
find them by fingerprint, and its timings are made where it trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from adamcmp.execute.asks import Answer, AnyAsk


class Slot(Protocol):
    """A place where one ask at a time is at work; the driver keeps its books on it."""

    busy: Any
    """What the driver is waiting for; None while the slot is free."""
    last: Any
    """What kind of work it did last, and so has at hand."""


class Executor(Protocol):
    """Takes asks and gives answers; a slot that dies is answered for, and another takes its place."""

    @property
    def slots(self) -> Sequence[Slot]:
        """All there are now."""

    def submit(self, slot: Any, ask: AnyAsk, job: object) -> None:
        """Give a free slot something to do, for ``job``, which is then what it is ``busy`` with."""

    def answers(self, timeout: float | None) -> Iterator[tuple[Slot, Answer]]:
        """What has arrived within ``timeout`` seconds; progress and outcomes come before the end of a training."""

    def stop(self, slot: Any) -> None:
        """Ask a slot to write its checkpoint and end its training, which it answers."""

    def cancel(self, slot: Any) -> None:
        """End what a slot does at once; it answers nothing more."""
