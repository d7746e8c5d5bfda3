"""Adam with L2 against AdamW on a Vision Transformer."""

from __future__ import annotations

from adamcmp.records import Results
from adamcmp.report.page import Finding

STUDY = "vision_transformer"


def findings(_: Results) -> list[Finding]:
    """Nothing beyond the verdicts."""
    return []
