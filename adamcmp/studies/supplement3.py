"""Raw against normalised weight decay over several budgets (Supplement 3 of the paper)."""

from __future__ import annotations

from adamcmp.records import Results
from adamcmp.report.page import Finding

STUDY = "supplement3"


def findings(_: Results) -> list[Finding]:
    """Nothing beyond the verdicts."""
    return []
