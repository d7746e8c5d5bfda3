"""Steps until addition modulo p generalises, against λ and the door that decay comes in by."""

from __future__ import annotations

from adamcmp.records import Results
from adamcmp.report.page import Finding

STUDY = "grokking"


def findings(_: Results) -> list[Finding]:
    """Nothing beyond the verdicts."""
    return []
