"""Extra metrics (``train.metrics``) of each optimizer's selected trial: after the last step, and along the training."""

from __future__ import annotations

import json

import pandas as pd

from adamcmp.analysis.intervals import half_width
from adamcmp.analysis.selection import reported_runs


def extra_metrics_table(records: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """Return means over seeds of the extra metrics after the last step.

    Args:
        records: Records of one task; their column ``metrics`` holds JSON.
        best: One row per optimizer, as ``best_trials`` returns it.

    Returns:
        One row per metric and optimizer, metrics in the order in which they were measured and optimizers in that of
        ``best``: ``metric``, ``arm``, ``mean``, ``half_width`` of the 95 % interval (NaN for one seed), ``n`` runs that
        have it.
    """
    return _mean_metrics(reported_runs(records, best), best, [])


def extra_metric_curves(curves: pd.DataFrame, records: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """Return the same table at every evaluation, with the columns ``step`` and ``epoch``; curves have
    ``schema.CURVE``.
    """
    winners = reported_runs(records, best)[["run_id", "arm"]]
    return _mean_metrics(
        curves[["run_id", "step", "epoch", "metrics"]].merge(winners, on="run_id"), best, ["step", "epoch"]
    )


def _mean_metrics(winners: pd.DataFrame, best: pd.DataFrame, along: list[str]) -> pd.DataFrame:
    keys = ["arm", *along]
    measured = winners[winners["metrics"].notna()]
    rows = [
        (*values, metric, value)
        for *values, text in measured[[*keys, "metrics"]].itertuples(index=False)
        for metric, value in json.loads(text).items()
    ]
    flat = pd.DataFrame(rows, columns=[*keys, "metric", "value"])
    means = flat.groupby(["metric", *keys])["value"].agg(["mean", "std", "count"]).reset_index()
    means["half_width"] = half_width(means["std"], means["count"])
    places = {name: i for i, name in enumerate([*flat["metric"].unique(), *best["arm"]])}
    order = means.assign(metric=means["metric"].map(places), arm=means["arm"].map(places))
    means = means.loc[order.sort_values(["metric", "arm", *along]).index].reset_index(drop=True)
    return means.rename(columns={"count": "n"})[["metric", *keys, "mean", "half_width", "n"]]
