"""Adam with L2 against AdamW on a residual network with batch norm."""

from __future__ import annotations

from adamcmp.records import Results
from adamcmp.report.page import Finding

STUDY = "resnet"


def findings(_: Results) -> list[Finding]:
    """Nothing beyond the verdicts."""
    return []
