"""Claims about Adam and AdamW, one module each: the smallest experiments that can refute them.

The first line of a module's docstring is the claim in one sentence. ``SOURCE`` names who makes it, ``STUDIES`` the
configurations that are trained for it, and ``CAPTION`` describes its figure. ``closed_form_test()`` computes a problem
whose gradients a formula gives, and compares with the number that the formula predicts; ``empirical_test(reports)``
measures trainings. Both return ``ClaimEvidence``: numbers with the predicted ranges, and panels of the figure. Verdicts
follow from these (``analysis/claim.py``). A new module needs only a place in ``ORDER``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, NamedTuple

from adamcmp.errors import InputError, suggest_names

if TYPE_CHECKING:
    from adamcmp.claims.evidence import ClaimEvidence
    from adamcmp.report.report_input import ReportInput

ORDER = (
    "sparse_features",
    "bias_correction",
    "weaker_decay",
    "decay_step_size",
    "consistent_decay",
    "generalization",
    "frameworks",
    "separable",
    "rotation",
    "scale_free",
    "timescale",
    "sensitivity",
    "bounded",
    "l2_moments",
    "normalized_layers",
    "grokking",
    "decay_vs_run_length",
    "gain_of_decay",
    "flipping_ranks",
    "cautious",
    "late_gradients",
)
"""Order of reports: claims of the text that this project began with (a to h), then those of papers by year."""
FORMER_NAMES: Mapping[str, str] = {
    "doors": "l2_moments",
    "generalisation": "generalization",
    "lambda_alone": "decay_step_size",
    "normalised_layers": "normalized_layers",
    "short_runs": "decay_vs_run_length",
}
"""Names of earlier versions, which ``adamcmp reproduce claims/NAME`` still takes."""
HELPERS = {"claims_report", "closed_form", "evidence"}
"""Modules of this package that are no claims."""


class ClaimTest(NamedTuple):
    """A claim, and its tests."""

    name: str
    text: str
    """In one sentence, without its end."""
    about: str
    """Rest of its module's docstring."""
    source: str
    studies: tuple[str, ...]
    """Configurations that are trained for it."""
    caption: str
    closed_form_test: Callable[[], ClaimEvidence]
    empirical_test: Callable[[Mapping[str, ReportInput]], ClaimEvidence]


def claim_names() -> list[str]:
    """Return the names of all claims in the order of reports; nothing is imported."""
    names = [info.name for info in iter_modules(__path__) if info.name not in HELPERS]
    place = {name: i for i, name in enumerate(ORDER)}
    return sorted(names, key=lambda name: (place.get(name, len(ORDER)), name))


def claim_tests() -> list[ClaimTest]:
    """Return all claims in the order of reports."""
    return [_load_claim(name) for name in claim_names()]


def claim_sentences() -> dict[str, str]:
    """Return the sentence of every claim by name, read from the files; nothing is imported."""
    sentences = {}
    for name in claim_names():
        first = (Path(__path__[0]) / f"{name}.py").read_text(encoding="utf-8").partition("\n")[0]
        sentences[name] = first.removeprefix("r").strip('"').rstrip(".")
    return sentences


def _load_claim(name: str) -> ClaimTest:
    module = import_module(f"{__name__}.{name}")
    text, _, about = (module.__doc__ or "").strip().partition("\n")
    return ClaimTest(
        name,
        text.rstrip("."),
        " ".join(about.split()),
        module.SOURCE,
        module.STUDIES,
        module.CAPTION,
        module.closed_form_test,
        module.empirical_test,
    )


def resolve_claims(requested: str) -> list[ClaimTest]:
    """Return the claims that ``claims`` (all) or ``claims/NAME`` names.

    Raises:
        InputError: there is none of that name.
    """
    _, _, name = requested.partition("/")
    if not name:
        return claim_tests()
    name, names = FORMER_NAMES.get(name, name), claim_names()
    if name not in names:
        raise InputError(f"{requested}: no such claim; {suggest_names(name, names)}")
    return [_load_claim(name)]


def studies_needed(claims: Iterable[ClaimTest]) -> list[str]:
    """Return the configurations that are trained for some claims, each once."""
    return list(dict.fromkeys(study for claim in claims for study in claim.studies))
