"""What ``adamcmp reproduce`` offers: one module a figure, with the study it trains and what it finds.

A module here has ``STUDY``, the name of its configuration under ``configs/study/``, and ``findings(results)``, which
returns statements about the measured numbers of one or several tasks, each with its interval. A new module needs no
registration. The study names the module as ``study.figure``, and every scale of it inherits that; it stands in
``study.yaml``, so that a report knows what a folder holds whatever it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

import yaml

from adamcmp.errors import InputError, closest
from adamcmp.records import Results
from adamcmp.report.judging import Judging
from adamcmp.report.page import Finding


class Reproduction(NamedTuple):
    """A figure of the paper as this project measures it."""

    name: str
    summary: str
    study: str
    findings: Callable[[Results], list[Finding]]


def available() -> Iterator[Reproduction]:
    """Every reproduction there is."""
    for info in iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        yield Reproduction(info.name, (module.__doc__ or "").splitlines()[0], module.STUDY, module.findings)


def reproduction(name: str) -> Reproduction:
    """The reproduction of that name.

    Raises:
        InputError: there is none.
    """
    found = {each.name: each for each in available()}
    if name not in found:
        raise InputError(f"{name}: nothing to reproduce by that name; {closest(name, found)}")
    return found[name]


def figure_of(study_dir: Path) -> str | None:
    """What a stored study reproduces, by its ``study.yaml``; None where it says nothing."""
    figure = _described(study_dir).get("figure")
    return figure if isinstance(figure, str) else None


def judging_of(study_dirs: Sequence[Path]) -> Judging:
    """How the arms of stored studies are judged, where they agree on it."""
    found = {Judging.of(_described(study_dir)) for study_dir in study_dirs}
    return found.pop() if len(found) == 1 else Judging()


def _described(study_dir: Path) -> Mapping[str, Any]:
    """The section ``study`` of a stored study's ``study.yaml``; empty where it cannot be read."""
    try:
        described = yaml.safe_load((study_dir / "study.yaml").read_text(encoding="utf-8"))
        study = described["study"]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return {}
    return study if isinstance(study, Mapping) else {}
