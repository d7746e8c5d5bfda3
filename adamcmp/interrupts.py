"""Ctrl-C and its kind: the first one lets a training write what it has, and ends anything else; a second ends that too.

Outside ``patient`` blocks there is nothing to save, since files are replaced as a whole: the process ends at once, with
one line and exit code 130, wherever the signal met it. An exception in its place would be raised inside imports, weak
references and other people's ``except`` clauses, where it is swallowed or printed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

EXIT_CODE = 130
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
LINE = "adamcmp: interrupted; finished runs are stored, and the same command resumes"

_asked = _asked_by_someone = False
_patient = 0
_wishes: list[Callable[[], object]] = []


def handle() -> None:
    """Take the signals over, but for those that are ignored, as under ``nohup``."""
    global _asked, _asked_by_someone
    _asked = _asked_by_someone = False
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _met)


def _met(_: int, __: FrameType | None) -> None:
    global _asked, _asked_by_someone
    if _asked_by_someone or not _patient:
        leave()
    _asked = _asked_by_someone = True


@contextmanager
def patient() -> Iterator[None]:
    """Inside the block, or the function that it decorates, the first signal is only noted: see ``asked``."""
    global _patient
    _patient += 1
    try:
        yield
    finally:
        _patient -= 1


def asked() -> bool:
    """Whether someone has asked to stop."""
    return _asked


@contextmanager
def by_clock(seconds: float) -> Iterator[Callable[[], bool]]:
    """Inside the block, the clock asks to stop after so long, as a first signal does; whether it was the clock.

    At the end of the block that is forgotten, unless someone has asked too.
    """
    global _asked
    struck = threading.Event()

    def strike() -> None:
        global _asked
        if not _asked:
            struck.set()
            _asked = True

    timer = threading.Timer(max(seconds, 0.0), strike)
    timer.daemon = True
    timer.start()
    try:
        yield struck.is_set
    finally:
        timer.cancel()
        if struck.is_set():
            _asked = _asked_by_someone


@contextmanager
def before_leaving(wish: Callable[[], object]) -> Iterator[None]:
    """Do this too where the process ends at once inside the block."""
    _wishes.append(wish)
    try:
        yield
    finally:
        _wishes.remove(wish)


@contextmanager
def blocked() -> Iterator[None]:
    """Signals wait until the end of the block; what is started inside never sees them, unless it asks to."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave() -> NoReturn:
    """End this process now, with one line."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for wish in reversed(_wishes):
        with suppress(Exception):
            wish()
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    clear = "\r\x1b[K\x1b[?25h" if is_terminal else ""  # a progress bar hides the cursor
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    with suppress(OSError):
        os.write(2, f"{clear}{LINE}\n".encode())
    os._exit(EXIT_CODE)
