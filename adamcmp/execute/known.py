"""What planning needs to know of embedded data sets, kept in the user's cache, so that a finished study loads none."""

from __future__ import annotations

import hashlib
import json
import platform
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs

from adamcmp.config.schema import Data
from adamcmp.errors import InputError
from adamcmp.plan.runs import DataFacts
from adamcmp.records import write_file

LIBRARIES = ("adamcmp", "numpy", "torch", "scikit-learn", "mnist1d")


def known(settings: Data) -> DataFacts | None:
    """The facts of a data set, if it is embedded and was loaded before by the same code."""
    if not settings.embedded:
        return None
    try:
        stored = json.loads(_path(settings).read_text(encoding="utf-8"))
        return DataFacts(**stored | {"input_shape": tuple(stored["input_shape"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def keep(settings: Data, facts: DataFacts) -> None:
    """Keep the facts of an embedded data set."""
    if settings.embedded:
        with suppress(InputError):  # a cache that cannot be written ends nothing
            write_file(_path(settings), json.dumps(asdict(facts)).encode())


def forget(settings: Data) -> None:
    """Load it again next time."""
    with suppress(OSError):
        _path(settings).unlink(missing_ok=True)


def _path(settings: Data) -> Path:
    text = settings.model_dump_json(exclude={"name"}) + _code()
    folder = Path(platformdirs.user_cache_dir("adamcmp")) / "facts"
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


@cache
def _code() -> str:
    """The code that makes the examples: our own by its text, libraries by their versions."""
    digest = hashlib.sha256(platform.python_version().encode())
    for path in sorted((Path(__file__).parent.parent / "data").glob("*.py")):
        digest.update(path.read_bytes())
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            digest.update(f"{name} {version(name)}".encode())
    return digest.hexdigest()
