"""The output of dry runs, kept in the user's cache for an hour, so that the next one needs no torch.

The key holds everything that the text follows from: the runs to train, the settings of their execution, the machine,
adamcmp's code, and the state of the cached timings. Data whose metadata is not cached is not planned from here.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs

from adamcmp.errors import InputError
from adamcmp.storage.backend import write_file
from adamcmp.untrusted import load_object

MAX_AGE_SECONDS = 3600.0
"""Free memory, which the text states, changes meanwhile."""


def load(key: str) -> dict[str, Any] | None:
    """Return the output under a key; None if it is missing or too old."""
    path = _folder() / f"{key}.json"
    try:
        if not 0 <= time.time() - path.stat().st_mtime <= MAX_AGE_SECONDS:
            return None
        return load_object(path.read_bytes())
    except (OSError, ValueError):
        return None


def save(key: str, output: Mapping[str, Any]) -> None:
    """Store an output, and remove old ones."""
    with suppress(OSError, InputError):  # a cache that cannot be written never stops a command
        write_file(_folder() / f"{key}.json", json.dumps(output).encode())
        for path in _folder().glob("*.json"):
            if time.time() - path.stat().st_mtime > MAX_AGE_SECONDS:
                path.unlink(missing_ok=True)


def key_of(runs: Iterable[str], *settings: object) -> str:
    """Return the key of runs, by their IDs, and of all else that a plan depends on."""
    digest = hashlib.sha256()
    for part in (*runs, *map(repr, settings), platform.node(), os.cpu_count(), _code(), _timings()):
        digest.update(f"{part}\0".encode())
    return digest.hexdigest()[:24]


@cache
def _code() -> str:
    """Return adamcmp's and torch's versions, and when adamcmp's code was changed last."""
    package = Path(__file__).resolve().parent.parent
    newest = max(path.stat().st_mtime_ns for path in package.rglob("*.py"))
    return f"{version('adamcmp')} {version('torch')} {newest}"


def _timings() -> int:
    """Return the time at which timings of strategies were stored last."""
    folder = Path(platformdirs.user_cache_dir("adamcmp")) / "timings"
    return folder.stat().st_mtime_ns if folder.is_dir() else 0


def _folder() -> Path:
    return Path(platformdirs.user_cache_dir("adamcmp")) / "plans"
