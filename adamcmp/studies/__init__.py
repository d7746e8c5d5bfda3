"""What ``adamcmp reproduce`` offers: one module a figure, with the study it trains and what it finds.

A module here has ``STUDY``, the name of its configuration under ``configs/study/``, and ``told(found)``, which returns
what it says of the measured numbers of one or several tasks: claims, each with its interval and the verdict that
follows from it, sentences, and tables with figures of its own. A new module needs no registration; names with an
underscore in front help others. The study names the module as ``study.figure``, and every scale of it inherits that; it
stands in ``study.yaml``, so that a report knows what a folder holds whatever it is called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, NamedTuple

from adamcmp.errors import InputError, suggest_names

if TYPE_CHECKING:
    from adamcmp.report.findings import StudyFindings
    from adamcmp.report.model import ReportInput
    from adamcmp.report.verdict_text import ComparisonSettings


class Reproduction(NamedTuple):
    """A figure of the paper as this project measures it."""

    name: str
    summary: str
    study: str
    told: Callable[[ReportInput], StudyFindings]


def names() -> list[str]:
    """Return the names of all reproductions; nothing is imported."""
    return [info.name for info in iter_modules(__path__) if not (info.name.startswith("_") or info.ispkg)]


def available() -> Iterator[Reproduction]:
    """Yield all reproductions."""
    yield from map(reproduction, names())


def reproduction(name: str) -> Reproduction:
    """Return the reproduction of that name.

    Raises:
        InputError: there is none.
    """
    check_name(name)
    module = import_module(f"{__name__}.{name}")
    return Reproduction(name, (module.__doc__ or "").splitlines()[0], module.STUDY, module.told)


def check_name(name: str) -> None:
    """Check that there is a reproduction of that name; nothing is imported.

    Raises:
        InputError: there is none.
    """
    known = names()
    if name not in known:
        raise InputError(f"{name}: nothing to reproduce by that name; {suggest_names(name, known)}")


def study_of(name: str) -> str:
    """Return the configuration of a reproduction, read from its file; nothing is imported.

    Raises:
        InputError: there is none of that name.
    """
    check_name(name)
    text = (Path(__path__[0]) / f"{name}.py").read_text(encoding="utf-8")
    match = re.search(r'^STUDY(?:, \w+)* = "(\w+)"', text, re.MULTILINE)
    return match[1] if match else reproduction(name).study


def figure_of(study_dir: Path) -> str | None:
    """What a stored study reproduces, by its ``study.yaml``; None where it says nothing."""
    figure = _described(study_dir).get("figure")
    return figure if isinstance(figure, str) else None


ORDER = (
    "figure1",
    "figure2",
    "figure3",
    "figure4",
    "supplement3",
    "horizon",
    "optimizers",
    "cnn",
    "resnet",
    "vision_transformer",
    "language_model",
    "grokking",
)
"""In which ``reproduce all`` goes through them: the paper's figures, then what was asked since."""


def in_order() -> list[Reproduction]:
    """Every reproduction, those of ``ORDER`` first."""
    place = {name: i for i, name in enumerate(ORDER)}
    return sorted(available(), key=lambda each: (place.get(each.name, len(ORDER)), each.name))


def width_of(study_dirs: Sequence[Path]) -> str:
    """The width that the figures of stored studies are drawn at, where they agree on it; else two columns."""
    found = {str(_described(study_dir, "report").get("width", "double")) for study_dir in study_dirs}
    return width if len(found) == 1 and (width := found.pop()) in ("single", "double") else "double"


def judging_of(study_dirs: Sequence[Path]) -> ComparisonSettings:
    """How the arms of stored studies are judged, where they agree on it."""
    from adamcmp.report.verdict_text import ComparisonSettings

    found = {ComparisonSettings.of(_described(study_dir)) for study_dir in study_dirs}
    return found.pop() if len(found) == 1 else ComparisonSettings()


def _described(study_dir: Path, name: str = "study") -> Mapping[str, Any]:
    """A section of a stored study's ``study.yaml``; empty where it cannot be read."""
    from adamcmp.untrusted import load_yaml

    try:
        described = load_yaml((study_dir / "study.yaml").read_text(encoding="utf-8"))
        study = described[name]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return study if isinstance(study, Mapping) else {}
