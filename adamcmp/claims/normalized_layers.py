"""With batch norm decay acts through the effective learning rate: nearly all of it comes from the normalized layers.

A norm behind weights makes their length count for nothing but the angle of a step. Without decay they grow, and turn
ever less.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adamcmp.analysis import split_by_task
from adamcmp.analysis.claim import Claim
from adamcmp.claims.closed_form import gradients_before_norm, normal_tensor, rule_settings, simulate
from adamcmp.claims.evidence import ClaimEvidence, PanelAxes, mean_over_seeds, value_panels
from adamcmp.claims.rotation import angle
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import claim_better, claim_equivalent

SOURCE = "Zhang et al. 2019"
STUDIES = ("claims_normalised",)
CAPTION = (
    "Left: the angle by which weights turn in a step whose gradients are orthogonal to them and fall with their "
    "length, as in front of a norm. Right: test error of a CNN with batch norm, by which layers AdamW decays, each at"
    " its best λ: differences with 95 % intervals."
)
LR, LAMBDAS, STEPS, SIZE, DRAWS = 0.01, (0.0, 0.1, 0.3), 4000, 128, 6
ALL, NORMED, OTHERS, NONE = (
    "AdamW on all layers",
    "AdamW in front of norms",
    "AdamW elsewhere",
    "AdamW without decay",
)


def closed_form_test() -> ClaimEvidence:
    """Test on gradients as in front of a norm: random, orthogonal to the weights, over their length."""
    import torch

    draw = torch.Generator().manual_seed(0)
    start = normal_tensor(len(LAMBDAS) * DRAWS, SIZE) / SIZE**0.5
    before, angles = start.clone(), []

    def gradient(weights: Any, t: int) -> Any:
        return gradients_before_norm(weights, draw)

    def callback(t: int, weights: Any, state: Any) -> None:
        angles.append(angle(before, weights).numpy())
        before.copy_(weights)

    rules = [rule_settings("adamw", lr=LR, weight_decay=weight_decay) for weight_decay in LAMBDAS for _ in range(DRAWS)]
    simulate(rules, start, gradient, STEPS, callback=callback)
    angles_KDT = np.array(angles).T.reshape(len(LAMBDAS), DRAWS, STEPS)
    parts = angles_KDT.reshape(len(LAMBDAS), DRAWS, 40, -1).mean(-1)
    axes = PanelAxes("toy: in front of a norm", "step", "angle per step (rad)", "linear")
    x = (np.arange(40) + 0.5) * STEPS / 40
    panels = [axes.over_seeds(f"λ = {weight_decay:g}", list(x), parts[k]) for k, weight_decay in enumerate(LAMBDAS)]
    half, end = parts[:, :, 19:21].mean(-1), parts[:, :, 36:].mean(-1)
    slowed = np.log2(end / half)
    return ClaimEvidence(
        [
            Claim(
                "Without decay, weights before a normalization layer turn less and less",
                SOURCE,
                "log2 of the angle at the end by that after half of the steps, λ = 0",
                mean_over_seeds(slowed[0]),
                (-1.0, -0.2),
            ),
            Claim(
                "With decay they keep turning",
                SOURCE,
                f"log2 of the angle at the end by that after half of the steps, λ = {LAMBDAS[-1]:g}",
                mean_over_seeds(slowed[-1]),
                (-0.1, 0.1),
            ),
        ],
        panels,
    )


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on a CNN whose layers are decayed in parts."""
    (report,) = reports.values()
    claims: list[Claim] = []
    for task in split_by_task(report.records):
        here = set(task.records["arm"])
        arms = {name: name if name in here else None for name in (ALL, NORMED, OTHERS, NONE)}
        claims += claim_better(report, task, (arms[ALL], arms[NONE]), "Decay on all layers is better than none", SOURCE)
        claims += claim_better(
            report, task, (arms[NORMED], arms[NONE]), "Decay in front of norms alone is better than none", SOURCE
        )
        claims += claim_equivalent(
            report, task, (arms[NORMED], arms[ALL]), "Decay in front of norms alone is as good as on all", SOURCE
        )
        claims += claim_equivalent(
            report, task, (arms[OTHERS], arms[NONE]), "Decay of the other layers alone has no effect", SOURCE
        )
    labels = ("all − none", "in front of norms − none", "in front of norms − all", "elsewhere − none")
    rows = {label: claim.estimate for label, claim in zip(labels, claims, strict=False)}
    return ClaimEvidence(claims, value_panels("training: a CNN", "test error (%)", rows))
