"""All update rules and decay conventions on one task, at equal tuning budgets."""

from __future__ import annotations

from adamcmp.analysis import split_by_task
from adamcmp.report.findings import StudyFindings
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import PAPER, claim_better, claim_equivalent, find_arm

STUDY = "optimizers"
MIXING = "Bjorck et al. 2021"
REFERENCE = "adamw"
NEWER = {
    "adamw_cautious": ("Decay where step and weight agree in sign", "Chen et al. 2025"),
    "lion": ("Lion", "Chen et al. 2023"),
    "adan": ("Adan", "Xie et al. 2022"),
    "schedule_free": ("Schedule-free AdamW", "Defazio et al. 2024"),
}
"""Configurations of optimizers whose papers found better generalization than AdamW's."""


def findings(report: ReportInput) -> StudyFindings:
    """Return for each task AdamW against Adam with L2 in one or both moments, decay conventions, and newer
    optimizers.
    """
    claims = []
    for task in split_by_task(report.records):
        adamw = find_arm(task, [REFERENCE])
        l2_arms = [find_arm(task, ["adam"]), find_arm(task, ["adam_m_only"]), find_arm(task, ["adam_v_only"])]
        claims += claim_better(
            report, task, (adamw, l2_arms[0]), "AdamW generalizes better than Adam with L2; the paper found 15 %", PAPER
        )
        for other, moment in zip(l2_arms[1:], ("first", "second"), strict=True):
            statement = f"Decoupled decay is better than decay only in Adam's {moment} moment"
            claims += claim_better(report, task, (adamw, other), statement, MIXING)
        for convention, name in (("adamw_paper", "the paper's"), ("adamw_normalized", "the normalized"),
                                 ("adamw_keras", "Keras'")):  # fmt: skip
            statement = f"Tuned, AdamW is the same in torch's and in {name} decay convention"
            claims += claim_equivalent(
                report, task, (find_arm(task, [convention]), adamw), statement, "Proposition 1 and tuning"
            )
        for name, (words, source) in NEWER.items():
            statement = f"{words} generalizes better than AdamW, with lr and λ tuned for both"
            claims += claim_better(report, task, (find_arm(task, [name]), adamw), statement, source)
    return StudyFindings(claims)
