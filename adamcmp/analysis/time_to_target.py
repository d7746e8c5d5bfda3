"""Time to a target: the first evaluation at which a run reaches an error."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from adamcmp.analysis.selection import reported_runs
from adamcmp.metrics.spec import task_metrics


def first_reaching(
    curves: pd.DataFrame, target: float, *, metric: str = "validation_error", at: str = "step", sign: float = 1.0
) -> pd.Series[float]:
    """Return for each run its first evaluation at or below a target.

    Args:
        curves: evaluations, columns ``schema.CURVE``.
        target: value of the metric, as stored.
        metric: column of the curves.
        at: column that counts time, ``step`` or ``epoch``.
        sign: −1 for a metric of which higher is better.

    Returns:
        ``at`` by run ID; runs that never reach the target are left out.
    """
    reached = curves[sign * curves[metric] <= sign * target]
    return reached.groupby("run_id")[at].min().astype(float)


def time_to_target_table(
    curves: pd.DataFrame, records: pd.DataFrame, best: pd.DataFrame, target: float
) -> pd.DataFrame:
    """Return the time to a validation error of each optimizer's selected trial.

    Args:
        curves: Evaluations of all runs, columns ``schema.CURVE``.
        records: Records of one task.
        best: One row per optimizer, as ``best_trials`` returns it.
        target: The validation error, as it is stored: a share, or in the unit of the data.

    Returns:
        One row per optimizer, in the order of ``best``: ``arm``, ``n`` completed runs, ``reached`` of them, and the
        medians ``steps`` and ``seconds`` over all n, infinite if at least half of them never reach it. Seconds are the
        run's share of wall time, in proportion to steps.
    """
    winners = reported_runs(records, best)[["run_id", "arm", "steps", "seconds"]].rename(columns={"steps": "budget"})
    sign = task_metrics(records).error.sign
    winners["steps"] = winners["run_id"].map(first_reaching(curves, target, sign=sign)).fillna(math.inf)
    winners["seconds"] = winners["seconds"] * winners["steps"] / winners["budget"]
    winners["reached"] = np.isfinite(winners["steps"])
    groups = winners.groupby("arm")
    medians = groups[["steps", "seconds"]].median().assign(n=groups.size(), reached=groups["reached"].sum())
    return medians.reindex(best["arm"]).reset_index()[["arm", "n", "reached", "steps", "seconds"]]
