"""AdamW generalizes better than Adam with L2, above all for Transformers and large models.

Both have equally many trials on each network, and are evaluated on held-out seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from adamcmp.analysis import split_by_task, task_metrics
from adamcmp.analysis.claim import BELOW_RANGE, Claim, scale_by, subtract
from adamcmp.analysis.intervals import Estimate
from adamcmp.claims.closed_form import GridErrors, leave_one_out_best, regression
from adamcmp.claims.evidence import ClaimEvidence, mean_over_seeds, value_panels
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import ADAM, ADAMW, claim_better, find_arm

SOURCE = "Loshchilov & Hutter 2019; common texts"
STUDIES = ("claims_mlp", "claims_wide", "claims_cnn", "claims_vit", "claims_gpt")
CAPTION = (
    "Test error of AdamW against Adam with L2, each at its best learning rate and λ, in percent of the latter: left "
    "of 0 AdamW is better. Toy: regression with fewer examples than features, over twelve draws. Trainings: 95 % "
    "confidence intervals over held-out seeds, test examples and selection."
)
NETWORKS = {
    "claims_mlp": "MLP, 100 wide",
    "claims_wide": "MLP, 512 wide",
    "claims_cnn": "CNN",
    "claims_vit": "Vision Transformer",
    "claims_gpt": "GPT",
}
LRS = (0.01, 0.02, 0.04, 0.08)
DECAYS = {"adamw": (0.0, *np.geomspace(0.01, 10, 7)), "adam": (0.0, *np.geomspace(1e-4, 1, 9))}


def best(grid: GridErrors) -> np.ndarray:
    """Return each draw's error at the trial that is best for all others, (draw,)."""
    errors = grid.errors.reshape(-1, grid.errors.shape[2])
    return np.asarray(errors[leave_one_out_best(errors), np.arange(errors.shape[1])])


def closed_form_test() -> ClaimEvidence:
    """Test on regression with features of many scales."""
    errors = {name: best(regression(name, LRS, lambdas)) for name, lambdas in DECAYS.items()}
    estimate = mean_over_seeds(100 * (errors["adamw"] / errors["adam"] - 1))
    claim = Claim(
        "AdamW generalizes better than Adam with L2",
        SOURCE,
        "error over all inputs of AdamW against Adam + L2, tuned on other draws",
        estimate,
        BELOW_RANGE,
        unit="%",
        form="+.1f",
    )
    return ClaimEvidence(
        [claim], value_panels("AdamW against Adam + L2", "test error (%)", {"toy: regression": estimate})
    )


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on five networks."""
    claims: list[Claim] = []
    estimates: dict[str, Estimate] = {}
    for study, network in NETWORKS.items():
        if study not in reports:
            continue
        report = reports[study]
        for task in split_by_task(report.records):
            arms = (
                find_arm(task, ["adamw"]) or find_arm(task, ADAMW),
                find_arm(task, ADAM),
            )  # a study may have several conventions
            made = claim_better(report, task, arms, f"AdamW generalizes better than Adam with L2: {network}", SOURCE)
            claims += made
            if made and not task_metrics(task.records).error.higher_is_better:
                estimates[study] = made[0].estimate
    between = (
        (
            "The gain is larger for Transformers",
            ("claims_vit", "claims_gpt"),
            ("claims_mlp", "claims_cnn"),
            "mean of ViT and GPT minus mean of MLP and CNN",
        ),
        ("The gain is larger for a larger model", ("claims_wide",), ("claims_mlp",), "MLP 512 wide minus 100 wide"),
    )
    for statement, these, those_, words in between:
        if {*these, *those_} <= estimates.keys() and all(
            not math.isnan(estimates[study].low) for study in (*these, *those_)
        ):
            difference = subtract(
                _mean([estimates[study] for study in these]), _mean([estimates[study] for study in those_])
            )
            measured = f"test error of AdamW against Adam + L2, {words}"
            claims.append(
                Claim(statement, SOURCE, measured, difference, BELOW_RANGE, on="all networks", unit="pp", form="+.1f")
            )
    rows = {NETWORKS[study]: estimate for study, estimate in estimates.items()}
    return ClaimEvidence(claims, value_panels("AdamW against Adam + L2, trainings", "test error (%)", rows))


def _mean(estimates: list[Estimate]) -> Estimate:
    """Return the mean of independent estimates: a sum by MOVER, a − (−b)."""
    total = estimates[0]
    for other in estimates[1:]:
        total = subtract(total, Estimate(-other.value, -other.high, -other.low))
    return scale_by(total, 1 / len(estimates))
