"""Adam and AdamW over lr × λ, each with a fixed rate, drop steps and a cosine (Figure 1 of the paper)."""

from __future__ import annotations

from adamcmp.analysis import split_by_task
from adamcmp.report.findings import StudyFindings
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import (
    ADAM,
    ADAMW,
    PAPER,
    claim_adamw_against_adam,
    claim_better,
    claim_decay_gain,
    claim_separable,
    find_arm,
    margin_of,
)

STUDY = "figure1"
SOURCE = f"{PAPER}, Figure 1"


def findings(report: ReportInput) -> StudyFindings:
    """Return the differences between optimizers and schedules, and the separability of basins, for each task."""
    claims = []
    for task in split_by_task(report.records):
        for schedule in ("constant", "drop_step", "cosine"):
            claims += claim_adamw_against_adam(report, task, SOURCE, schedule)
        decoupled, coupled = find_arm(task, ADAMW, "cosine"), find_arm(task, ADAM, "cosine")
        for a, b, statement in (
            ("drop_step", "constant", "Drop steps are better than a fixed rate for AdamW"),
            ("cosine", "drop_step", "A cosine is better than drop steps for AdamW"),
        ):
            claims += claim_better(
                report, task, (find_arm(task, ADAMW, a), find_arm(task, ADAMW, b)), statement, SOURCE
            )
        claims += claim_separable(task, decoupled, coupled, SOURCE)
        nothing = "Adam's best L2 penalty is hardly better than none"
        claims += claim_decay_gain(task, coupled, nothing, SOURCE, margin_of(report, task))
        claims += claim_decay_gain(task, decoupled, "AdamW's best decay is better than none", SOURCE)
    return StudyFindings(claims)
