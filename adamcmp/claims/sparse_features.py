"""Adam takes larger steps for sparse features.

What counts is the size of the gradients: v̂ is near p g² for a feature that is active with probability p and then has
a gradient of size g, so that the effective learning rate α/(√v̂ + ε) falls with the root of p, and with g itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adamcmp.analysis.claim import BELOW_RANGE, Claim
from adamcmp.claims.closed_form import rule_settings, simulate
from adamcmp.claims.evidence import (
    ClaimEvidence,
    PanelAxes,
    extra_metric_rows,
    least_squares_slope,
    mean_over_seeds,
    task_label,
)
from adamcmp.report.report_input import ReportInput

SOURCE = "common texts; v ≈ p g² by definition"
STUDIES = ("claims_words",)
CAPTION = (
    "The effective learning rate over α, 1/(√v̂ + ε), against how often a feature is active. Left: gradients ±g with "
    "probability p, and 1/(g√p). Right: words of synthetic documents, bands of frequency, mean over seeds; gray: the "
    "rarest band if only the root of the frequency mattered."
)
PROBABILITIES = tuple(2.0**-k for k in range(8))
SIZES = (0.1, 1.0)
STEPS, DRAWS = 6000, 8
BATCH = 100


def closed_form_test() -> ClaimEvidence:
    """Test on gradients ±g with probability p."""
    import torch

    grid = [(p, g) for g in SIZES for p in PROBABILITIES]
    probability_KD = torch.tensor([[p] * DRAWS for p, _ in grid], dtype=torch.float64)
    size_KD = torch.tensor([[g] * DRAWS for _, g in grid], dtype=torch.float64)
    draw = torch.Generator().manual_seed(0)
    rates: list[np.ndarray] = []

    def gradient(weights: torch.Tensor, t: int) -> torch.Tensor:
        active = torch.rand(weights.shape, generator=draw, dtype=torch.float64) < probability_KD
        return active * size_KD * torch.randn(weights.shape, generator=draw, dtype=torch.float64).sign()

    def callback(t: int, weights: torch.Tensor, state: dict[str, torch.Tensor]) -> None:
        if t > STEPS // 2 and t % 10 == 0:
            rates.append((1 / ((state["v"] / (1 - 0.999**t)).sqrt() + 1e-8)).log().numpy().copy())

    rules = [rule_settings("adam", weight_decay=0.0)] * len(grid)
    simulate(rules, torch.zeros_like(probability_KD), gradient, STEPS, callback=callback)
    log_rate_GPD = np.mean(rates, axis=0).reshape(len(SIZES), len(PROBABILITIES), DRAWS)
    log_p = np.log(PROBABILITIES)
    in_p = [least_squares_slope(log_p, log_rate_GPD[g, :, d]) for g in range(len(SIZES)) for d in range(DRAWS)]
    in_g = [
        least_squares_slope(np.log(SIZES), log_rate_GPD[:, p, d])
        for p in range(len(PROBABILITIES))
        for d in range(DRAWS)
    ]
    axes = PanelAxes("toy: gradients ±g", "probability p of being active", "effective lr / α")
    panels = []
    for g, size in enumerate(SIZES):
        panels.append(axes.over_seeds(f"g = {size:g}", PROBABILITIES, np.exp(log_rate_GPD[g].T)))
        line = [1 / (size * p**0.5) for p in PROBABILITIES]
        panels.append(axes.series(f"1 / (g √p), g = {size:g}", "predicted", PROBABILITIES, line))
    return ClaimEvidence(
        [
            Claim(
                "At equal gradients the effective learning rate falls as one over the root of their frequency",
                SOURCE,
                "slope d log rate / d log p",
                mean_over_seeds(in_p),
                (-0.55, -0.45),
            ),
            Claim(
                "At equal frequency it falls as one over the gradient",
                SOURCE,
                "slope d log rate / d log g",
                mean_over_seeds(in_g),
                (-1.05, -0.95),
            ),
        ],
        panels,
    )


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on words of a bag of words."""
    (report,) = reports.values()
    table = extra_metric_rows(report)
    last = table[table["step"] == table["step"].max()].set_index("seed").sort_index()
    bands = sorted(int(name.rpartition("_")[2]) for name in last.columns if name.startswith("word_rates_rate_"))
    frequency, rate = (
        last[[f"word_rates_{what}_{k}" for k in bands]].to_numpy(float) for what in ("frequency", "rate")
    )
    active = 1 - (1 - frequency) ** BATCH  # that some document of a batch has the word
    slopes = [least_squares_slope(np.log(f), np.log(r)) for f, r in zip(frequency, rate, strict=True)]
    sizes = table.set_index("seed")[[f"word_rates_size_{k}" for k in bands]].pow(2)
    sized = sizes.groupby(level="seed").mean().pow(0.5)
    both = np.log(rate) + np.log(sized.loc[last.index].to_numpy(float))
    alone = [least_squares_slope(np.log(p), rates) for p, rates in zip(active, both, strict=True)]
    axes = PanelAxes("training: words", "share of documents with the word", "effective lr / α")
    finite = np.isfinite(rate).all(0)
    x, p = frequency[:, finite].mean(0), active[:, finite].mean(0)
    mean = np.exp(np.log(rate[:, finite]).mean(0))
    on = task_label(report)
    return ClaimEvidence(
        [
            Claim(
                "Words get larger steps the rarer they are",
                SOURCE,
                "slope d log rate / d log share of documents",
                mean_over_seeds(slopes),
                BELOW_RANGE,
                on=on,
            ),
            Claim(
                "What their gradients leave to explain falls as one over the root of the frequency",
                SOURCE,
                "slope d log (rate · g) / d log p, p of a batch with the word, g of such batches",
                mean_over_seeds(alone),
                (-0.6, -0.4),
                on=on,
            ),
        ],
        [
            axes.over_seeds("words", x, rate[:, finite]),
            axes.series("root of frequency alone", "predicted", x, mean[0] * (p / p[0]) ** -0.5),
        ],
    )
