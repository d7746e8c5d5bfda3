"""Adam with L2 against AdamW on a residual network with batch norm."""

from __future__ import annotations

from adamcmp.report.findings import StudyFindings
from adamcmp.report.model import ReportInput
from adamcmp.studies._claims import network

STUDY = "resnet"


def told(found: ReportInput) -> StudyFindings:
    """Of each task: which is better, what decay brings each, and whether the basins are separable."""
    return network(found)
