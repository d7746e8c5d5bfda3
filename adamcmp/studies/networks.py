"""Adam with L2 against AdamW on several networks: the paper's claims hold for any of them."""

from __future__ import annotations

from adamcmp.analysis import split_by_task
from adamcmp.report.findings import StudyFindings
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import (
    ADAM,
    ADAMW,
    PAPER,
    claim_adamw_against_adam,
    claim_decay_gain,
    claim_separable,
    find_arm,
    margin_of,
)

STUDIES = {
    "cnn": "Adam with L2 against AdamW on a convolutional network.",
    "resnet": "Adam with L2 against AdamW on a residual network with batch norm.",
    "vision_transformer": "Adam with L2 against AdamW on a Vision Transformer.",
    "language_model": "Adam with L2 against AdamW on a language model (GPT).",
}


def findings(report: ReportInput) -> StudyFindings:
    """Return the difference of both optimizers, the gain of decay of each, and separability for each task."""
    claims = []
    for task in split_by_task(report.records):
        adamw, adam = find_arm(task, ADAMW), find_arm(task, ADAM)
        margin = margin_of(report, task)
        claims += claim_adamw_against_adam(report, task, PAPER)
        claims += claim_decay_gain(task, adamw, "AdamW's best decay is better than none", PAPER)
        claims += claim_decay_gain(task, adam, "Adam's best L2 penalty is hardly better than none", PAPER, margin)
        claims += claim_separable(task, adamw, adam, PAPER)
    return StudyFindings(claims)
