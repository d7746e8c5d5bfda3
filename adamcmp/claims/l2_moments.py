"""Adam with L2 is worse because λθ enters its moments.

Through the first moment the penalty decays weights, by η α λ/√v̂; through the second it decays nothing, and makes steps
smaller. Decoupled decay enters neither.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adamcmp.analysis import split_by_task
from adamcmp.analysis.claim import Claim
from adamcmp.claims.evidence import ClaimEvidence, PanelAxes, mean_over_seeds, value_panels
from adamcmp.claims.weaker_decay import SCALES, toy_rates
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import claim_better, find_arm

SOURCE = "Bjorck et al. 2021"
STUDIES = ("claims_mlp",)
CAPTION = (
    "Left: the share that decay removes per step under random gradients, by the place where λθ enters the update; the "
    "second moment alone removes nothing, and is not on a logarithmic axis. Right: test error of an MLP on "
    "MNIST-1D against that of AdamW, each at its best learning rate and λ, with 95 % intervals."
)
DOORS = {"adam": "both moments", "adam_m_only": "the first alone", "adam_v_only": "the second alone"}
NAMES = {"l2": "both moments", "l2_m_only": "first moment alone", "lr_scaled": "none (AdamW)"}


def closed_form_test() -> ClaimEvidence:
    """Test on random gradients of several sizes."""
    axes = PanelAxes("toy: random gradients", "size of the gradients", "share that decay takes")
    rates = {decay: toy_rates(decay) for decay in (*NAMES, "l2_v_only")}
    panels = [axes.over_seeds(label, SCALES, rates[decay].T) for decay, label in NAMES.items()]
    ratio = np.exp(np.log(rates["l2_m_only"] / rates["l2"]).mean(0))
    return ClaimEvidence(
        [
            Claim(
                "The penalty decays weights through the first moment",
                SOURCE,
                "share that decay takes, by the first moment alone over both",
                mean_over_seeds(ratio),
                (0.9, 1.1),
            ),
            Claim(
                "The penalty decays nothing through the second moment",
                SOURCE,
                "share that decay takes, by the second moment alone, times 10⁶",
                mean_over_seeds(1e6 * rates["l2_v_only"].mean(0)),
                (-1.0, 1.0),
            ),
        ],
        panels,
    )


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on an MLP."""
    (report,) = reports.values()
    claims: list[Claim] = []
    for task in split_by_task(report.records):
        adamw = find_arm(task, ("adamw",))
        for name, label in DOORS.items():
            statement = f"Decoupled decay generalizes better than a penalty in {label}"
            claims += claim_better(report, task, (adamw, find_arm(task, (name,))), statement, SOURCE)
    rows = {f"penalty in {label}": claim.estimate for label, claim in zip(DOORS.values(), claims, strict=False)}
    return ClaimEvidence(claims, value_panels("training: AdamW against a", "test error (%)", rows))
