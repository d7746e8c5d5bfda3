"""``python -m adamcmp.conformance.library_process LIBRARY OUT``: every path of a library's optimizers, in a process of
its own.

So backends, numbers of 64 bits and whatever a library does when it is imported stay in that process. ``OUT`` gets one
pickle of plain values: the results of each optimizer.
"""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path as File
from typing import Any, NamedTuple

from adamcmp.conformance.problems import UpdatePath, make_problems
from adamcmp.errors import describe_exception


class LibraryResult(NamedTuple):
    """Updates of an optimizer of a library."""

    name: str
    rule: str
    defaults: dict[str, Any]
    precision: str
    paths: list[UpdatePath]
    """One a problem; empty where it failed."""
    error: str = ""


def run_all_paths(library: str) -> list[LibraryResult]:
    """Return all optimizers of a library on all problems."""
    results = []
    for peer in import_module(f"adamcmp.conformance.libraries.{library}").peers():
        plain = dict(peer.defaults)
        try:
            paths = [peer.path(problem) for problem in make_problems()]
            results.append(LibraryResult(peer.name, peer.rule, plain, peer.precision, paths))
        except Exception as error:  # another library may fail in any way
            results.append(LibraryResult(peer.name, peer.rule, plain, peer.precision, [], describe_exception(error)))
    return results


def library_versions(library: str) -> str:
    """Return the installed versions: ``keras 3.15.1, tensorflow-cpu 2.21.0``."""
    module = import_module(f"adamcmp.conformance.libraries.{library}")
    names = (module.DISTRIBUTION,) if isinstance(module.DISTRIBUTION, str) else module.DISTRIBUTION
    return ", ".join(f"{name} {_version(name)}" for name in names)


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:  # TensorFlow has several distributions
        return version(name.removesuffix("-cpu"))


def main() -> None:
    """Run one library."""
    library, out = sys.argv[1:]
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    warnings.simplefilter("ignore")
    results = run_all_paths(library)
    File(out).write_bytes(pickle.dumps((library_versions(library), [tuple(result) for result in results])))


if __name__ == "__main__":
    main()
