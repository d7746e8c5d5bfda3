"""The fork server of training processes: it imports torch and the compiler while the driver plans. Never torch here."""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from adamcmp import interrupts
from adamcmp.execute.folders import socket_folder

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def start_processes() -> None:
    """Start the fork server, which imports torch while the driver does other things."""
    if METHOD != "forkserver":
        return
    from multiprocessing import forkserver, resource_tracker

    forkserver.set_forkserver_preload(["adamcmp.execute.preload"])
    usual = tempfile.tempdir
    tempfile.tempdir = str(socket_folder())
    resource_tracker.ensure_running()  # its start would let signals through again
    try:
        with signals_blocked():
            forkserver.ensure_running()
    finally:
        tempfile.tempdir = usual


@contextmanager
def signals_blocked() -> Iterator[None]:
    """What is started inside never sees the signals that ask the driver to stop."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
