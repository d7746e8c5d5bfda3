"""Rankings of optimizers flip while the learning rate decays.

Large steps make noise, which a falling learning rate takes away at the end: who is ahead half way need not be so
then.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from adamcmp.analysis import best_trials, split_by_task, task_metrics, trials_table
from adamcmp.analysis.claim import ABOVE_RANGE, Claim, scale_by
from adamcmp.analysis.held_out import held_out_rows_of
from adamcmp.analysis.selection import held_out_runs, tuning_runs
from adamcmp.claims.closed_form import normal_tensor, rule_settings, simulate
from adamcmp.claims.evidence import ClaimEvidence, PanelAxes, mean_over_seeds
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import over_completed

SOURCE = "arXiv 2509.02046"
STUDIES = ("claims_mlp",)
CAPTION = (
    "Error along a cosine. Left: SGD with a large and with a small learning rate on a quadratic with noise. Right: "
    "the pair of optimizers that changes places most by validation error on the tuning seeds, by test error on "
    "held-out seeds; 95 % bands."
)
RATES = {"large lr": 0.2, "small lr": 0.02}


def closed_form_test() -> ClaimEvidence:
    """Test on a quadratic with noise and curvatures over two decades."""
    import torch

    steps, size, draws = 1000, 64, 8
    curvature_D = torch.from_numpy(np.geomspace(0.01, 1, size))
    draw = torch.Generator().manual_seed(0)
    losses: list[np.ndarray] = []

    def gradient(weights: Any, t: int) -> Any:
        return curvature_D * weights + 0.5 * torch.randn(weights.shape, generator=draw, dtype=torch.float64)

    def callback(t: int, weights: Any, state: Any) -> None:
        losses.append((0.5 * curvature_D * weights.square()).mean(1).numpy())

    rules = [rule_settings("sgd", lr=lr, momentum=0.0, weight_decay=0.0) for lr in RATES.values() for _ in range(draws)]
    eta = 0.5 + 0.5 * np.cos(np.pi * np.arange(steps) / steps)
    simulate(rules, normal_tensor(len(rules), size), gradient, steps, eta=eta, callback=callback)
    log_KDT = np.log(np.array(losses)).T.reshape(len(RATES), draws, steps)
    gap_DT = log_KDT[0] - log_KDT[1]
    half = gap_DT[:, int(0.4 * steps) : int(0.6 * steps)].mean(1)
    axes = PanelAxes("toy: a noisy quadratic", "step", "loss", "linear")
    x = list(range(10, steps + 1, 20))
    panels = [axes.over_seeds(label, x, np.exp(log_KDT[k][:, 9::20])) for k, label in enumerate(RATES)]
    return ClaimEvidence(
        [
            Claim(
                "Halfway the larger learning rate is behind",
                SOURCE,
                "log of its loss by that of the smaller",
                mean_over_seeds(half),
                ABOVE_RANGE,
            ),
            Claim(
                "In the end the larger learning rate is ahead",
                SOURCE,
                "log of the smaller one's loss by its own",
                mean_over_seeds(-gap_DT[:, -20:].mean(1)),
                ABOVE_RANGE,
            ),
        ],
        panels,
    )


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on an MLP: all pairs of optimizers."""
    (report,) = reports.values()
    claims, panels = [], []
    for task in split_by_task(report.records):
        error, best = task_metrics(task.records).error, best_trials(trials_table(task.records))
        tuned = tuning_runs(task.records).merge(best[["arm", "lr", "weight_decay"]])
        before = _errors(report.curves, tuned, error.sign, "validation")
        after = _errors(report.curves, held_out_runs(task.records, best), error.sign, "test")
        pairs = [(a, b) for a, b in itertools.permutations(sorted(before), 2) if {a, b} <= after.keys()]
        if not pairs:
            continue
        a, b = max(pairs, key=lambda pair: min(_flip(before, *pair).mean()))
        changed = _flip(after, a, b)
        rows = held_out_rows_of(task.records)
        (ahead, lost), (behind, _) = (over_completed(changed[when].dropna(), rows, (a, b)) for when in ("half", "end"))
        weaker = min(ahead, behind, key=lambda estimate: estimate.low if not np.isnan(estimate.low) else np.inf)
        steps = [int(step) for step in after[a].columns]
        claims.append(
            Claim(
                "Some pair of optimizers changes places in the second half of a cosine",
                SOURCE,
                f"the smaller of {a}'s lead over {b} halfway and its deficit at the end, test {error.label}, "
                f"held-out seeds{lost}",
                scale_by(weaker, error.factor),
                ABOVE_RANGE,
                task.task,
                task.label,
                error.gap_unit,
            )
        )
        axes = PanelAxes("training: an MLP", "step", f"test error ({error.unit})", "linear", "linear")
        late_steps = [step for step in steps if step >= 0.2 * steps[-1]]
        panels += [
            axes.over_seeds(arm, late_steps, error.sign * error.factor * after[arm][late_steps].to_numpy(float))
            for arm in (a, b)
        ]
    return ClaimEvidence(claims, panels)


def _errors(curves: pd.DataFrame, runs: pd.DataFrame, sign: float, split: str) -> dict[str, pd.DataFrame]:
    """Return the errors of every optimizer on a split, lower is better: one row per seed, one column per evaluation."""
    rows = curves.merge(runs.loc[runs["status"] == "completed", ["run_id", "arm", "seed"]], on="run_id")
    return {
        str(arm): sign * part.pivot_table(index="seed", columns="step", values=f"{split}_error")
        for arm, part in rows.groupby("arm")
    }


def _flip(errors: Mapping[str, pd.DataFrame], a: str, b: str) -> pd.DataFrame:
    """Return, by seed, how far a is ahead of b at the evaluations about half way, and how far it trails at the last."""
    gap = errors[b] - errors[a]
    steps = [int(step) for step in gap.columns]
    total = max(steps)
    middle = [step for step in steps if 0.35 * total <= step <= 0.65 * total] or [steps[len(steps) // 2]]
    return pd.DataFrame({"half": gap[middle].mean(axis=1), "end": -gap[total]})
