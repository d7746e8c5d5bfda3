"""Adam with L2 against AdamW on a convolutional network."""

from __future__ import annotations

from adamcmp.records import Results
from adamcmp.report.page import Finding

STUDY = "cnn"


def findings(_: Results) -> list[Finding]:
    """Nothing beyond the verdicts."""
    return []
