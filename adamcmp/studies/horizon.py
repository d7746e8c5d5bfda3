"""What decay brings, and where AdamW's best λ lies, as budget and training set grow."""

from __future__ import annotations

from adamcmp.records import Results
from adamcmp.report.page import Finding

STUDY = "horizon"


def findings(_: Results) -> list[Finding]:
    """Nothing beyond the verdicts."""
    return []
