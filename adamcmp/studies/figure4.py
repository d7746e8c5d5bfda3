"""The error at any time, with and without warm restarts (Figure 4 of the paper)."""

from __future__ import annotations

from adamcmp.records import Results
from adamcmp.report.page import Finding

STUDY = "figure4"


def findings(_: Results) -> list[Finding]:
    """Nothing beyond the verdicts."""
    return []
