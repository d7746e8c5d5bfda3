"""The fork server of training processes: it imports torch and the compiler while the driver plans. Never torch here."""

from __future__ import annotations

import multiprocessing
import tempfile

from adamcmp import signals
from adamcmp.execute.temp_dirs import socket_folder

START_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def start_fork_server(*, programs: bool = False) -> None:
    """Start the fork server, which imports torch while the driver does other things.

    ``programs``: for scripts and functions of the user, which need no compiler.
    """
    if START_METHOD != "forkserver":
        return
    from multiprocessing import forkserver, resource_tracker

    forkserver.set_forkserver_preload([f"adamcmp.execute.preload_{'programs' if programs else 'training'}"])
    usual = tempfile.tempdir
    tempfile.tempdir = str(socket_folder())
    resource_tracker.ensure_running()  # its start would let signals through again
    try:
        with signals.block_signals():
            forkserver.ensure_running()
    finally:
        tempfile.tempdir = usual
