r"""How the best λ moves with the budget, or with the size of the training set: a slope over tasks.

In each task, x is the logarithm of the number that varies, and the optimum is the vertex of a parabola through the best
λ and its neighbors, on a logarithmic axis. The slope d log λ*/dx is a line through these optima; optima at a boundary
of the grid are censored. Its interval is that of ``basin``: seeds are resampled, the same in all tasks, and the scatter
around the line counts. If several learning rates were tried, each λ has the rate that is best for it on validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from adamcmp.analysis.basin import ErrorGrid, row_of, slope_of_rows
from adamcmp.analysis.intervals import Estimate
from adamcmp.analysis.selection import TaskRecords, ranked_trials, trials_table, tuning_runs
from adamcmp.metrics.spec import task_metrics


class OptimalDecays(NamedTuple):
    """The best λ of one optimizer on several tasks."""

    slope: Estimate
    """d log λ*/d log x."""
    profile: pd.DataFrame
    """One row per task and λ: ``x``, ``weight_decay``, ``validation`` and ``test`` (mean errors), ``half_width`` of the
    latter, ``lr``.
    """
    optima: pd.DataFrame
    """One row per task: ``x``, ``best`` λ*, ``low``, ``high``, ``side`` (−1, 1: at that boundary of the grid)."""


def estimate_optimal_decays(
    tasks: Sequence[TaskRecords], arm: str, by: str, decay: str = "weight_decay", lr: float | None = None
) -> OptimalDecays:
    """Estimate the best λ of an optimizer on tasks that differ in the column ``by`` of their records.

    Args:
        tasks: with runs of the optimizer at the same λ > 0.
        arm: its name in all of them.
        by: what varies, such as ``epochs`` or ``train_examples``.
        decay: the column of λ in the convention that the slope is of.
        lr: only at this learning rate; None: each λ at the one that is best for it.
    """
    rows, xs, parts, zeros = [], [], [], []
    for task in sorted(tasks, key=lambda task: float(task.records[by].iloc[0])):
        arm_runs = task.records[task.records["arm"] == arm]
        arm_runs = arm_runs if lr is None else arm_runs[arm_runs["lr"] == lr]
        if arm_runs.empty:
            continue
        sign, x = task_metrics(arm_runs).error.sign, float(arm_runs[by].iloc[0])
        runs = tuning_runs(arm_runs)
        runs = runs[runs["status"] == "completed"]
        named = dict(zip(runs["weight_decay"], runs[decay], strict=True))
        chosen = ranked_trials(trials_table(arm_runs)).drop_duplicates("weight_decay").sort_values("weight_decay")
        errors = runs.merge(chosen[["lr", "weight_decay"]]).pivot(
            index="weight_decay", columns="seed", values="final_validation_error"
        )
        for _, cell in chosen.iterrows():  # a few trials
            rows.append({
                "x": x, "weight_decay": named[cell["weight_decay"]], "lr": cell["lr"],
                "validation": cell["final_validation_error"], "test": cell["final_test_error"],
                "half_width": cell["final_test_error_half_width"],
            })  # fmt: skip
        errors.index = errors.index.map(named)
        xs.append(x)
        parts.append(sign * errors[errors.index > 0])
        zeros.append(sign * errors[errors.index == 0])
    profile = pd.DataFrame(rows, columns=["x", "weight_decay", "lr", "validation", "test", "half_width"])
    if not parts:
        return OptimalDecays(Estimate(np.nan), profile, pd.DataFrame(columns=["x", "best", "low", "high", "side"]))
    seeds = sorted(set.intersection(*(set(part.columns) for part in parts)))
    summaries, optima = [], []
    for x, part, zero in zip(xs, parts, zeros, strict=True):
        y, errors_JT = np.log(part.index.to_numpy(float)), part[seeds].to_numpy()
        at_zero_T = zero[seeds].to_numpy()[0] if len(zero) else np.full(len(seeds), np.nan)
        row = row_of(ErrorGrid(np.log([x]), y, errors_JT[None], at_zero_T[None]))
        optima.append(row)
        best = dict(zip(("best", "low", "high"), np.exp(row.best), strict=True))
        summaries.append({"x": x, **best, "side": int(row.side_B[0])})
    return OptimalDecays(slope_of_rows(optima), profile, pd.DataFrame(summaries))
