"""Learning curves of selected trials, averaged over seeds."""

from __future__ import annotations

import pandas as pd

from adamcmp.analysis.intervals import half_width
from adamcmp.analysis.selection import reported_runs
from adamcmp.storage.schema import METRICS


def mean_curves(curves: pd.DataFrame, records: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """Return mean learning curves of each optimizer's selected trial (``reported_runs``), with 95 % half widths.

    Args:
        curves: Evaluations of all runs, columns ``schema.CURVE``.
        records: Records of one task.
        best: One row per optimizer, as ``best_trials`` returns it.

    Returns:
        Columns ``arm``, the selected ``lr`` and ``weight_decay``, ``step``, ``epoch``, ``n`` (runs), each metric and
        ``<metric>_half_width``; sorted by optimizer and step; empty where no winner has a curve.
    """
    winners = reported_runs(records, best)[["run_id", "arm"]]
    joined = curves[curves["run_id"].isin(winners["run_id"])].merge(winners, on="run_id")
    groups = joined.sort_values(["arm", "step", "run_id"]).groupby(["arm", "step"])
    metrics = [name for name, _, _ in METRICS]
    mean, count = groups[metrics].mean(), groups[metrics].count()
    half = pd.DataFrame(half_width(groups[metrics].std(ddof=1), count), mean.index, metrics)
    head = pd.DataFrame({"epoch": groups["epoch"].mean(), "n": groups["run_id"].nunique()})
    means = pd.concat([head, mean, half.add_suffix("_half_width")], axis=1).reset_index()
    return best[["arm", "lr", "weight_decay"]].merge(means, on="arm").sort_values(["arm", "step"], ignore_index=True)
