"""Adam with L2 against AdamW at one lr, many λ and a long budget (Figure 3 of the paper)."""

from __future__ import annotations

from adamcmp.records import Results
from adamcmp.report.page import Finding

STUDY = "figure3"


def findings(_: Results) -> list[Finding]:
    """Nothing beyond the verdicts."""
    return []
