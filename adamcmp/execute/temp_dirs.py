"""Folders of temporary files: each driver has one, and removes those of drivers that were killed."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import time
from functools import cache
from importlib.metadata import version
from multiprocessing import util
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from adamcmp import signals

FOLDER_PREFIX = "adamcmp-"
MARKER_FILE = ".adamcmp-temporary"
"""File that tells a folder of ours from others of such a name.

It holds the folder's path, so that a copy, or a folder that was renamed, is not taken for it.
"""
LOCK_FILE = f"{MARKER_FILE}.lock"
"""Held while its process lives."""
MAX_SOCKET_PATH = 60
"""Characters of a folder in which a fork server's socket has a place: its path may have 107."""
SHORT_FOLDER = Path("/tmp")  # by mkdtemp
"""Where the socket goes where the user's temporary folder has a longer path, as on many clusters."""
MAX_UNUSED_DAYS = 60
AFTER_SOCKETS = -200
"""Priority of our removal at exit: multiprocessing removes its files in the folder at -100."""


def socket_folder() -> Path:
    """Return this process's folder for a socket."""
    return driver_folder() if len(str(driver_folder())) <= MAX_SOCKET_PATH else driver_folder(SHORT_FOLDER)


@cache
def driver_folder(inside: Path | None = None) -> Path:
    """Return this process's folder of temporary files: locked while it lives, and gone with it or with the next one."""
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=inside)).resolve()
    lock = FileLock(folder / LOCK_FILE)
    lock.acquire()
    (folder / MARKER_FILE).write_text(str(folder), encoding="utf-8")
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            lock.release()
            shutil.rmtree(folder, ignore_errors=True)

    util.Finalize(None, remove, exitpriority=AFTER_SOCKETS)
    signals.run_before_exit(remove).__enter__()  # for as long as this process lives
    return folder


def compiled_programs_folder() -> Path | None:
    """Return where compiled programs of this torch are kept, in the user's cache; None where nothing can be written
    there.

    What no torch has used for ``MAX_UNUSED_DAYS`` goes.
    """
    every = Path(platformdirs.user_cache_dir("adamcmp")) / "programs"
    folder = every / version("torch")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER_FILE).write_text(str(folder), encoding="utf-8")
        os.utime(folder)
        for other in every.iterdir():
            if is_own_folder(other) and time.time() - other.stat().st_mtime > 86400 * MAX_UNUSED_DAYS:
                shutil.rmtree(other, ignore_errors=True)
    except OSError:
        return None
    return folder


def unsent_folder(study_dir: Path) -> Path:
    """Return the folder of this machine for finished runs that a study's object store could not take."""
    name = hashlib.sha256(str(study_dir).encode()).hexdigest()[:16]
    return Path(platformdirs.user_data_dir("adamcmp")) / "unsent" / name


def is_own_folder(folder: Path) -> bool:
    """Return whether this user's adamcmp made a folder here, which holds nothing that anybody keeps."""
    marker = folder / MARKER_FILE
    try:
        marker_state, owner = marker.lstat(), folder.lstat()
        if not (stat.S_ISREG(marker_state.st_mode) and stat.S_ISDIR(owner.st_mode)):
            return False
        if hasattr(os, "getuid") and {marker_state.st_uid, owner.st_uid} != {os.getuid()}:
            return False
        return marker.read_text(encoding="utf-8") == str(folder.resolve())
    except (OSError, ValueError):
        return False


def remove_abandoned() -> None:
    """Remove this user's folders of temporary files whose processes were killed; nothing else, whatever its name."""
    for folder in [
        path for parent in {Path(tempfile.gettempdir()), SHORT_FOLDER} for path in parent.glob(f"{FOLDER_PREFIX}*")
    ]:
        if not is_own_folder(folder):  # or made this moment
            continue
        lock = FileLock(folder / LOCK_FILE)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
