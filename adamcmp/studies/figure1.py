"""Adam and AdamW over lr × λ, each with a fixed rate, drop steps and a cosine (Figure 1 of the paper)."""

from __future__ import annotations

from adamcmp.records import Results
from adamcmp.report.page import Finding

STUDY = "figure1"


def findings(_: Results) -> list[Finding]:
    """Nothing beyond the verdicts."""
    return []
