"""Findings of a study in addition to leaderboard and verdicts: claims, sentences, and figures of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from adamcmp.analysis.claim import VERDICTS, Claim, lost_after_correction
from adamcmp.report.formatting import format_claim_value

MAX_NEEDED_PRECISION = 30.0
"""Times; what takes more is out of reach."""


class Finding(NamedTuple):
    """One statement about measured numbers."""

    text: str
    task: str | None
    """Hash of the task that it is about; None: of several."""


class StudyTable(NamedTuple):
    """A table of a study's own, and the figure of the same name that ``drawing`` makes of it."""

    name: str
    table: pd.DataFrame
    caption: str
    task: str | None
    """Hash of the task that it is about; None: of several."""


@dataclass(frozen=True)
class StudyFindings:
    """All of it."""

    claims: Sequence[Claim] = ()
    findings: Sequence[Finding] = ()
    exhibits: Sequence[StudyTable] = ()

    def about(self, tasks: Collection[str | None]) -> StudyFindings:
        """Return the findings on some tasks, by their hashes; None stands for findings on several tasks."""
        return StudyFindings(
            [claim for claim in self.claims if claim.task in tasks],
            [finding for finding in self.findings if finding.task in tasks],
            [exhibit for exhibit in self.exhibits if exhibit.task in tasks],
        )


def format_claim(claim: Claim) -> str:
    """Return the claim, its verdict and its number."""
    numbers = format_claim_value(claim.estimate, claim.form, f" {claim.unit}".rstrip())
    measured = claim.measured[0].upper() + claim.measured[1:]
    said = f"{claim.statement} ({claim.source}): {VERDICTS[claim.verdict]}. {measured}: {numbers}."
    if claim.verdict != "inconclusive":
        return said
    needed = format_needed_precision(claim.narrower)
    return f"{said} An effect of {format_detectable(claim)} would be found with 80 % power. {needed}"


def format_detectable(claim: Claim) -> str:
    """Return the smallest effect that could have been seen: ``0.9 pp``."""
    return f"{claim.detectable:{claim.form.removeprefix('+')}} {claim.unit}".rstrip()


def format_needed_precision(narrower: float) -> str:
    """Return the precision that an inconclusive claim needs."""
    if narrower > MAX_NEEDED_PRECISION:
        return "The value is at the boundary of the prediction: no interval can decide."
    return f"The interval must shrink by {narrower:.2g}×, with about {narrower**2:.2g}× as many seeds."


FALSE_DISCOVERY_MARK = "not after correction"


def format_claim_verdict(claim: Claim, *, is_marked: bool = False) -> str:
    """Return the verdict; of an inconclusive one the smallest effect that 80 % power finds.

    Args:
        claim: the claim.
        is_marked: it is not decided at the false discovery rate of its page (``lost_after_correction``).
    """
    verdict = VERDICTS[claim.verdict]
    if is_marked:
        return f"{verdict} ({FALSE_DISCOVERY_MARK})"
    return f"{verdict}; 80 % power at {format_detectable(claim)}" if claim.verdict == "inconclusive" else verdict


def claims_display(claims: Sequence[Claim]) -> pd.DataFrame:
    """Return claims as a table for readers."""
    table = pd.DataFrame(
        {
            "statement": [f"{claim.statement} ({claim.source})" for claim in claims],
            "on": [claim.on for claim in claims],
            "measured": [claim.measured for claim in claims],
            "value": [format_claim_value(claim.estimate, claim.form, f" {claim.unit}".rstrip()) for claim in claims],
            "verdict": [
                format_claim_verdict(claim, is_marked=mark)
                for claim, mark in zip(claims, lost_after_correction(claims), strict=True)
            ],
        }
    )
    return table if table["on"].nunique() > 1 else table.drop(columns="on")
