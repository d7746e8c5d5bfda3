"""Studies that ``adamcmp reproduce`` offers, and their findings.

A module here declares its studies: ``STUDY`` is the name of its configuration under ``configs/study/``, and the
module's name is that of the study. A module of several studies has ``STUDIES``, a mapping of names to one-line
summaries; their configurations have the same names. ``findings(report)`` returns claims, sentences, and tables with
figures of their own. A module without both names only helps others. Each configuration sets ``study.figure`` to the
study's name, which ``study.yaml`` stores, so that a report can name the study of a folder.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, NamedTuple

from adamcmp.errors import InputError, suggest_names

if TYPE_CHECKING:
    from adamcmp.report.findings import StudyFindings
    from adamcmp.report.report_input import ReportInput
    from adamcmp.report.verdict_text import ComparisonSettings


class StudyEntry(NamedTuple):
    """A study that can be reproduced."""

    name: str
    summary: str
    study: str
    """Name of its configuration."""
    findings: Callable[[ReportInput], StudyFindings]


class Declaration(NamedTuple):
    """A study as its module declares it."""

    module: str
    study: str
    summary: str


@cache
def _declarations() -> dict[str, Declaration]:
    """Return every study by name, read from the files of this package; nothing is imported."""
    declared: dict[str, Declaration] = {}
    for info in iter_modules(__path__):
        tree = ast.parse((Path(__path__[0]) / f"{info.name}.py").read_text(encoding="utf-8"))
        summary = (ast.get_docstring(tree) or "").partition("\n")[0]
        for node in tree.body:
            match node:
                case ast.Assign(targets=[ast.Name("STUDY")], value=ast.Constant(str(study))):
                    declared[info.name] = Declaration(info.name, study, summary)
                case ast.Assign(targets=[ast.Name("STUDIES")], value=ast.Dict() as studies):
                    for name, text in ast.literal_eval(studies).items():
                        declared[name] = Declaration(info.name, name, text)
    return declared


def study_names() -> list[str]:
    """Return the names of all studies; nothing is imported."""
    return list(_declarations())


def find_study(name: str) -> StudyEntry:
    """Return the study of that name.

    Raises:
        InputError: there is none.
    """
    check_study_name(name)
    module, study, summary = _declarations()[name]
    return StudyEntry(name, summary, study, import_module(f"{__name__}.{module}").findings)


def check_study_name(name: str) -> None:
    """Check that there is a study of that name; nothing is imported.

    Raises:
        InputError: there is none.
    """
    names = study_names()
    if name not in names:
        raise InputError(f"{name}: nothing to reproduce by that name; {suggest_names(name, names)}")


def study_of(name: str) -> str:
    """Return the configuration of a study; nothing is imported.

    Raises:
        InputError: there is none of that name.
    """
    check_study_name(name)
    return _declarations()[name].study


def stored_figure(study_dir: Path) -> str | None:
    """Return the study that a folder reproduces, by its ``study.yaml``; None if it names none."""
    figure = _stored_section(study_dir).get("figure")
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
"""Order of ``reproduce all``: the paper's figures, then later questions."""


def ordered_studies() -> list[StudyEntry]:
    """Return every reproduction, those of ``ORDER`` first."""
    place = {name: i for i, name in enumerate(ORDER)}
    return sorted(map(find_study, study_names()), key=lambda study: (place.get(study.name, len(ORDER)), study.name))


def figure_width(study_dirs: Sequence[Path]) -> str:
    """Return the width that the figures of stored studies are drawn at, where they agree on it; else two columns."""
    widths = {str(_stored_section(study_dir, "report").get("width", "double")) for study_dir in study_dirs}
    return width if len(widths) == 1 and (width := widths.pop()) in ("single", "double") else "double"


def comparison_settings(study_dirs: Sequence[Path]) -> ComparisonSettings:
    """Return the comparison settings of stored studies if they agree, else the defaults."""
    from adamcmp.report.verdict_text import ComparisonSettings

    settings = {ComparisonSettings.of(_stored_section(study_dir)) for study_dir in study_dirs}
    return settings.pop() if len(settings) == 1 else ComparisonSettings()


def _stored_section(study_dir: Path, name: str = "study") -> Mapping[str, Any]:
    """Return a section of a stored study's ``study.yaml``; empty where it cannot be read."""
    from adamcmp.untrusted import load_yaml

    try:
        described = load_yaml((study_dir / "study.yaml").read_text(encoding="utf-8"))
        study = described[name]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return study if isinstance(study, Mapping) else {}
