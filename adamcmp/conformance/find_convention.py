"""Which convention another library's optimizer follows: that under which adamcmp's updates are nearest."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path as File
from typing import NamedTuple

import pandas as pd

from adamcmp.conformance import reference_steps
from adamcmp.conformance.libraries import LIBRARIES
from adamcmp.conformance.library_process import LibraryResult
from adamcmp.conformance.problems import UpdatePath, make_problems, relative_difference
from adamcmp.errors import InputError, one_line, suggest_names

SAME_LIMIT = 1e-9
"""A largest relative difference of an update up to which two rules are the same, in float64."""
NEAR_LIMIT = 1e-5
"""And up to which a peer keeps some number of its rule in float32, and is the same but for that."""
LIMITS = {"float64": NEAR_LIMIT, "bfloat16": 0.05}
"""Tolerances by precision."""
TIMEOUT_SECONDS = 600.0
"""Seconds that a library may take."""


class ConventionFit(NamedTuple):
    """Result for an optimizer of another library, or for a library."""

    library: str
    version: str
    """Empty where it is not installed."""
    optimizer: str = ""
    rule: str = ""
    convention: str = ""
    """In words; empty where it differs from all of adamcmp's."""
    setting: str = ""
    """Overrides with which adamcmp takes the same steps; empty without any."""
    difference: float = float("nan")
    """Largest relative difference of an update under that convention."""
    next_convention: str = ""
    """The second nearest; where it differs, the nearest."""
    next_difference: float = float("nan")
    """Difference under the second-nearest convention."""
    defaults: str = ""
    verdict: str = "not installed"
    """``same``, ``same but for rounding``, ``differs``, ``not installed`` or ``failed``."""
    error: str = ""


def installed_libraries(library: str) -> bool:
    """Return whether all modules of a library are there; none is imported."""
    module = import_module(f"adamcmp.conformance.libraries.{library}").MODULE
    return all(find_spec(name) is not None for name in ((module,) if isinstance(module, str) else module))


def resolve_libraries(names: Sequence[str]) -> list[str]:
    """Return the libraries of these names, ours or people's; all without any.

    Raises:
        InputError: there is none of such a name.
    """
    keys_by_name = {**{key: key for key in LIBRARIES}, **{text.casefold(): key for key, text in LIBRARIES.items()}}
    short = {"torch": "torch_optim", "keras": "keras_on_tensorflow", "tensorflow": "keras_on_tensorflow",
             "optax": "optax_jax", "jax": "optax_jax"}  # fmt: skip
    libraries = []
    for name in names:
        key = {**keys_by_name, **short}.get(name.casefold())
        if key is None:
            raise InputError(f"conformance {name}: no such library; {suggest_names(name, [*short, *LIBRARIES])}")
        libraries.append(key)
    return libraries or list(LIBRARIES)


def check_libraries(libraries: Sequence[str], listener: Callable[[str], None]) -> Iterator[ConventionFit]:
    """Compare every optimizer of these libraries with adamcmp's kernels; ``listener`` receives each name before it
    begins.
    """
    for library in libraries:
        listener(library)
        if not installed_libraries(library):
            yield ConventionFit(LIBRARIES[library], "")
            continue
        yield from _fit_library(library)


def _fit_library(library: str) -> Iterator[ConventionFit]:
    title = LIBRARIES[library]
    try:
        version, results = run_library(library)
    except RuntimeError as error:
        yield ConventionFit(title, "?", verdict="failed", error=str(error))
        return
    for ran in results:
        defaults = ", ".join(f"{key}={_short(value)}" for key, value in ran.defaults.items())
        fit = ConventionFit(title, version, ran.name, ran.rule, defaults=defaults)
        yield fit._replace(verdict="failed", error=ran.error) if ran.error else find_convention(fit, ran)


def run_library(library: str) -> tuple[str, list[LibraryResult]]:
    """Return the results of all optimizers of a library, from a process of its own, with the library's version.

    Raises:
        RuntimeError: that process fails, or takes too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = File(folder) / "paths.pickle"
        command = [sys.executable, "-m", "adamcmp.conformance.library_process", library, str(out)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"took longer than {TIMEOUT_SECONDS:.0f} s") from error
        if not out.is_file():
            raise RuntimeError(one_line(RuntimeError((done.stderr.strip().splitlines() or ["no word"])[-1])))
        version, results = pickle.loads(out.read_bytes())  # written by our own process a moment ago
    return version, [LibraryResult(*fields) for fields in results]


def updates_under(ran: LibraryResult, setting: str) -> float:
    """Return the largest relative difference of a peer's updates from adamcmp's under one setting.

    Raises:
        ValueError: there is no such convention of its rule.
    """
    settings = [convention.setting for convention in reference_steps.conventions(ran.rule)]
    return _largest_difference(settings.index(setting), ran)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace(" ", "")


def find_convention(fit: ConventionFit, ran: LibraryResult) -> ConventionFit:
    """Find the convention that explains an optimizer's updates."""
    ranked = sorted(
        (
            (_largest_difference(i, ran), i, convention)
            for i, convention in enumerate(reference_steps.conventions(ran.rule))
        ),
        key=lambda candidate: candidate[:2],
    )
    (nearest, _, way), (second, _, other) = ranked[0], ranked[1]
    limit = LIMITS[ran.precision]
    words = (
        f"{way.description}, or {other.description}"
        if nearest > SAME_LIMIT and second < 1.5 * nearest
        else way.description
    )
    verdict = "same" if nearest <= SAME_LIMIT else "same but for rounding" if nearest <= limit else "differs"
    return fit._replace(
        convention="" if verdict == "differs" else words, setting="" if verdict == "differs" else way.setting,
        difference=nearest, next_convention=way.description if verdict == "differs" else other.description,
        next_difference=second, verdict=verdict,
    )  # fmt: skip


@cache
def _update_paths(rule: str, i: int) -> list[UpdatePath]:
    return [
        reference_steps.reference_updates(reference_steps.conventions(rule)[i], problem) for problem in make_problems()
    ]


def _largest_difference(i: int, ran: LibraryResult) -> float:
    """Return the largest difference of any problem."""
    return max(
        relative_difference(mine, theirs) for mine, theirs in zip(_update_paths(ran.rule, i), ran.paths, strict=True)
    )


def to_frame(fits: Sequence[ConventionFit]) -> pd.DataFrame:
    """Return one row per optimizer, or a library that is not installed."""
    return pd.DataFrame(fits, columns=list(ConventionFit._fields))
