"""Metadata of data sets in the user's cache, so that planning needs neither the data nor torch.

It is kept by settings, by the code that makes the examples, and for data from files that the settings name by the
names, sizes and times of these files. Where examples are loaded to be trained on, their fingerprint is compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs
from pydantic import TypeAdapter

from adamcmp.config.schema import Data
from adamcmp.errors import InputError
from adamcmp.plan.runs import DatasetMetadata
from adamcmp.storage.backend import write_file
from adamcmp.untrusted import load_json

FILE_ARGUMENTS = ("path", "test_path", "folder")
"""Arguments of shipped data sets that name their files."""
VERSIONED_LIBRARIES = (
    "adamcmp",
    "charset-normalizer",
    "clevercsv",
    "numpy",
    "pandas",
    "pillow",
    "pyarrow",
    "torch",
    "scikit-learn",
    "mnist1d",
)


def load_metadata(settings: Data) -> DatasetMetadata | None:
    """Return the facts of a data set, if it was loaded before from the same files by the same code."""
    try:
        path = _path(settings)
        if path is None:
            return None
        facts: DatasetMetadata = TypeAdapter(DatasetMetadata).validate_python(load_json(path.read_text("utf-8")))
        return facts
    except (OSError, ValueError, TypeError, KeyError):
        return None


def save_metadata(settings: Data, facts: DatasetMetadata) -> None:
    """Store the metadata of a data set, if changes of its files can be detected."""
    with suppress(InputError, OSError):  # a cache that cannot be written ends nothing
        path = _path(settings)
        if path is not None:
            write_file(path, json.dumps(asdict(facts)).encode())


def invalidate_metadata(settings: Data) -> None:
    """Load it again next time."""
    with suppress(OSError):
        path = _path(settings)
        if path is not None:
            path.unlink(missing_ok=True)


def _path(settings: Data) -> Path | None:
    source = "embedded" if settings.embedded else _files(settings)
    if source is None:
        return None
    text = settings.model_dump_json(exclude={"name"}) + source + _code_hash()
    folder = Path(platformdirs.user_cache_dir("adamcmp")) / "facts"
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def _files(settings: Data) -> str | None:
    """Return names, sizes and times of a shipped data set's files; None for a custom one, which may read any others."""
    named = [
        Path(str(settings.arguments[key])).expanduser().absolute()
        for key in FILE_ARGUMENTS
        if settings.arguments.get(key)
    ]
    if not settings.target.startswith("adamcmp.data.") or not named:
        return None
    digest = hashlib.sha256()
    for top in named:
        below = [Path(folder) / name for folder, _, names in os.walk(top) for name in names]
        for path in sorted(below) or [top]:
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


@cache
def _code_hash() -> str:
    """Return the code that makes the examples: our own by its text, libraries by their versions."""
    digest = hashlib.sha256(platform.python_version().encode())
    for path in sorted((Path(__file__).parent.parent / "data").glob("*.py")):
        digest.update(path.read_bytes())
    for name in VERSIONED_LIBRARIES:
        with suppress(PackageNotFoundError):
            digest.update(f"{name} {version(name)}".encode())
    return digest.hexdigest()
