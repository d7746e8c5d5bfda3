"""All update rules and decay conventions on one task, at equal tuning budgets."""

from __future__ import annotations

from adamcmp.records import Results
from adamcmp.report.page import Finding

STUDY = "optimizers"


def findings(_: Results) -> list[Finding]:
    """Nothing beyond the verdicts."""
    return []
