"""The fork server of training processes: it imports torch and the compiler while the driver plans. Never torch here."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from adamcmp import signals
from adamcmp.execute.temp_dirs import socket_folder

START_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


@contextmanager
def hide_main_module() -> Iterator[None]:
    """Hide the file of the main program inside the block, from processes that would import it again.

    They need adamcmp alone, and a program without ``if __name__ == "__main__":`` would start its sweep in each of them.
    """
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    for name in hidden:
        setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


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
        with signals.block_signals(), hide_main_module():
            forkserver.ensure_running()
    finally:
        tempfile.tempdir = usual
