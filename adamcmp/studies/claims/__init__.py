"""Statements about Adam and AdamW, one module each: the smallest experiments that can refute it.

A module's docstring begins with the statement in one sentence. ``SOURCE`` says who makes it, ``STUDIES`` which
configurations are trained for it, ``CAPTION`` what its figure shows. ``toy()`` computes it where a formula gives the
gradients, and says the number that the formula predicts; ``training(found)`` reads it off real trainings. Both give
``Evidence``: numbers with the range that the statement predicts, and panels of the figure. Verdicts follow from these
(``analysis/claim.py``). A new module needs no registration, but a place in ``ORDER``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, NamedTuple

from adamcmp.errors import InputError, suggest_names

if TYPE_CHECKING:
    from adamcmp.report.model import ReportInput
    from adamcmp.studies.claims._form import Evidence

GROUP = "claims"
ORDER = (
    "sparse_features",
    "bias_correction",
    "weaker_decay",
    "lambda_alone",
    "consistent_decay",
    "generalisation",
    "frameworks",
    "separable",
    "rotation",
    "scale_free",
    "timescale",
    "sensitivity",
    "bounded",
    "doors",
    "normalised_layers",
    "grokking",
    "short_runs",
    "gain_of_decay",
    "flipping_ranks",
    "cautious",
    "late_gradients",
)
"""Those of the text that this project began with (a to h), then the papers' in the order of their years."""


class Statement(NamedTuple):
    """A claim, and how it is tested."""

    name: str
    text: str
    """In one sentence, without its end."""
    about: str
    """What its module says of it beside."""
    source: str
    studies: tuple[str, ...]
    """Configurations that are trained for it."""
    caption: str
    toy: Callable[[], Evidence]
    training: Callable[[Mapping[str, ReportInput]], Evidence]


def statements() -> list[Statement]:
    """All of them, in their order."""
    names = [info.name for info in iter_modules(__path__) if not info.name.startswith("_")]
    place = {name: i for i, name in enumerate(ORDER)}
    return [_statement(name) for name in sorted(names, key=lambda name: (place.get(name, len(ORDER)), name))]


def sentences() -> dict[str, str]:
    """Return the sentence of every statement by name, read from the files; nothing is imported."""
    names = [info.name for info in iter_modules(__path__) if not info.name.startswith("_")]
    place = {name: i for i, name in enumerate(ORDER)}
    found = {}
    for name in sorted(names, key=lambda name: (place.get(name, len(ORDER)), name)):
        first = (Path(__path__[0]) / f"{name}.py").read_text(encoding="utf-8").partition("\n")[0]
        found[name] = first.removeprefix("r").strip('"').rstrip(".")
    return found


def _statement(name: str) -> Statement:
    module = import_module(f"{__name__}.{name}")
    text, _, about = (module.__doc__ or "").strip().partition("\n")
    return Statement(
        name,
        text.rstrip("."),
        " ".join(about.split()),
        module.SOURCE,
        module.STUDIES,
        module.CAPTION,
        module.toy,
        module.training,
    )


def chosen(asked: str) -> list[Statement]:
    """Those that ``claims`` (all) or ``claims/NAME`` names.

    Raises:
        InputError: there is none of that name.
    """
    found = {each.name: each for each in statements()}
    _, _, name = asked.partition("/")
    if not name:
        return list(found.values())
    if name not in found:
        raise InputError(f"{asked}: no such claim; {suggest_names(name, found)}")
    return [found[name]]


def studies_of(asked: Iterable[Statement]) -> list[str]:
    """The configurations that are trained for some statements, each once."""
    return list(dict.fromkeys(study for each in asked for study in each.studies))
