"""Steps until a network generalizes long after it fits the training data, and differences between optimizers.

A run generalizes at its first evaluation with a validation error of at most ``TARGET_ERROR``; a run that never does is
censored at its budget. For each seed, an optimizer's best λ is selected by the mean of log steps on all other seeds and
evaluated on that seed alone, so that selection and evaluation use different runs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from adamcmp.analysis.claim import mean_with_ci
from adamcmp.analysis.intervals import Estimate
from adamcmp.analysis.selection import tuning_runs
from adamcmp.analysis.time_to_target import first_reaching

TARGET_ERROR = 0.1
"""The validation error from which on a run has generalized."""


def steps_to_target(curves: pd.DataFrame, records: pd.DataFrame, target: float = TARGET_ERROR) -> pd.DataFrame:
    """Return one row per tuning run: ``arm``, ``lr``, ``weight_decay``, ``seed``, ``steps``, ``reached``."""
    runs = tuning_runs(records)
    at = runs["run_id"].map(first_reaching(curves, target))
    return runs[["arm", "lr", "weight_decay", "seed"]].assign(
        steps=at.fillna(runs["steps"]).to_numpy(float), reached=at.notna().to_numpy()
    )


def steps_by_trial(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per trial: ``median`` steps, the fastest and slowest seed, ``reached`` of ``n`` seeds."""
    groups = rows.groupby(["arm", "lr", "weight_decay"])
    table: pd.DataFrame = (
        groups["steps"]
        .agg(median="median", fastest="min", slowest="max")
        .join(groups.agg(reached=("reached", "sum"), n=("reached", "size")))
    )
    return table.reset_index()


def steps_of_best(table: pd.DataFrame, arm: str) -> pd.Series[float]:
    """Return the log10 of the steps of an optimizer at its best λ > 0 and lr, by seed, each chosen on the other
    seeds.
    """
    decayed = table[(table["arm"] == arm) & (table["weight_decay"] > 0)]
    decayed = decayed.assign(steps=np.log10(decayed["steps"]))
    wide = decayed.pivot(index=["lr", "weight_decay"], columns="seed", values="steps").dropna()
    log_CT = wide.to_numpy(float)
    if not log_CT.size:
        return pd.Series(dtype=float)
    others_CT = log_CT.sum(1, keepdims=True) - log_CT if log_CT.shape[1] > 1 else log_CT
    chosen_T = others_CT.argmin(0)
    return pd.Series(log_CT[chosen_T, range(len(chosen_T))], wide.columns)


def steps_without_decay(table: pd.DataFrame, arm: str) -> pd.Series[float]:
    """Return the log10 of the steps of an optimizer at λ = 0, by seed, at the lr that is fastest on the other seeds."""
    return steps_of_best(table[table["weight_decay"] == 0].assign(weight_decay=1.0), arm)


def steps_difference(a: pd.Series[float], b: pd.Series[float]) -> Estimate:
    """Return the difference of two of these over the seeds that both have."""
    return mean_with_ci((a - b).dropna())
