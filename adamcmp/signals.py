"""Ctrl-C and similar signals: the first one lets a training write its checkpoint and ends anything else; a second one
ends that too.

Outside ``defer_signals`` blocks there is nothing to save, since files are replaced as a whole: the process ends at
once, with one line and exit code 130, wherever the signal met it. An exception in its place would be raised inside
imports, weak references and other people's ``except`` clauses, where it is swallowed or printed.
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

EXIT_INTERRUPTED = 130
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
INTERRUPTED_MESSAGE = "adamcmp: interrupted; finished runs are stored, and the same command resumes"

_stop_requested = _signal_received = False
_deferring = 0
_exit_actions: list[Callable[[], object]] = []


def install_handlers() -> None:
    """Take the signals over, but for those that are ignored, as under ``nohup``."""
    global _stop_requested, _signal_received
    _stop_requested = _signal_received = False
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)


def _on_signal(_: int, __: FrameType | None) -> None:
    global _stop_requested, _signal_received
    if _signal_received or not _deferring:
        exit_now()
    _stop_requested = _signal_received = True


@contextmanager
def defer_signals() -> Iterator[None]:
    """Only note the first signal inside the block, or inside the decorated function: see ``stop_requested``."""
    global _deferring
    _deferring += 1
    try:
        yield
    finally:
        _deferring -= 1


def stop_requested() -> bool:
    """Return whether someone has asked to stop."""
    return _stop_requested


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C inside the block stop trainings after their checkpoints, in a program or notebook of the user.

    Elsewhere in the block it raises KeyboardInterrupt at once. In another thread than the main one, signals stay as
    they are.
    """
    global _stop_requested, _signal_received
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(_: int, __: FrameType | None) -> None:
        global _stop_requested, _signal_received
        if _signal_received or not _deferring:
            raise KeyboardInterrupt
        _stop_requested = _signal_received = True

    before = signal.signal(signal.SIGINT, on_signal)
    _stop_requested = _signal_received = False
    try:
        yield
    finally:
        _stop_requested = _signal_received = False
        signal.signal(signal.SIGINT, before)


@contextmanager
def stop_after(seconds: float) -> Iterator[Callable[[], bool]]:
    """Request a stop after some seconds inside the block, like a first signal; yield whether the clock requested it.

    At the end of the block that is forgotten, unless someone has asked too.
    """
    global _stop_requested
    struck = threading.Event()

    def strike() -> None:
        global _stop_requested
        if not _stop_requested:
            struck.set()
            _stop_requested = True

    timer = threading.Timer(max(seconds, 0.0), strike)
    timer.daemon = True
    timer.start()
    try:
        yield struck.is_set
    finally:
        timer.cancel()
        if struck.is_set():
            _stop_requested = _signal_received


@contextmanager
def run_before_exit(wish: Callable[[], object]) -> Iterator[None]:
    """Run an action if the process exits at once inside the block."""
    _exit_actions.append(wish)
    try:
        yield
    finally:
        _exit_actions.remove(wish)


@contextmanager
def block_signals() -> Iterator[None]:
    """Delay signals until the end of the block; processes that are started inside never receive them unless they
    unblock them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def exit_now() -> NoReturn:
    """End this process now, with one line."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for wish in reversed(_exit_actions):
        with suppress(Exception):
            wish()
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    clear = "\r\x1b[K\x1b[?25h" if is_terminal else ""  # a progress bar hides the cursor
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    with suppress(OSError):
        os.write(2, f"{clear}{INTERRUPTED_MESSAGE}\n".encode())
    os._exit(EXIT_INTERRUPTED)
