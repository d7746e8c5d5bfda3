r"""The gain of decay: the best λ against λ = 0; and test errors at equal training loss.

*Gain*: the test error at the best λ > 0 minus that at λ = 0, each at the learning rate that is best for it on
validation, paired over the seeds that tuned. Selection does not use test errors, so that it favors neither.

*At equal training loss*: each optimizer's trials, ordered by their mean final training loss ℓ, make a curve of test
error e against log ℓ, linear between trials. The result is the mean of e_a − e_b over the range of log ℓ that both
have,

.. math:: \frac{1}{u − l} \int_l^u (e_a(s) − e_b(s)) ds, \quad s = \log ℓ,

with its spread over bootstrap resamples of the seeds. Below zero, a generalizes better than b where both fit as well.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from adamcmp.analysis.bootstrap import bootstrap_weights
from adamcmp.analysis.claim import mean_with_ci
from adamcmp.analysis.intervals import Array, Estimate, bootstrap_estimate
from adamcmp.analysis.selection import ranked_trials, trials_table, tuning_runs
from adamcmp.metrics.spec import task_metrics

NUM_POINTS = 200
"""At which two curves are compared."""
MIN_LOSS = 1e-12
"""Training losses below that count as this: their logarithm says nothing more."""


def decay_gain(records: pd.DataFrame, arm: str) -> Estimate:
    """Return the gain of decay of one optimizer in the stored unit of errors: negative if decay helps, NaN if λ = 0 or
    λ > 0 was not tried.
    """
    arm_runs = records[records["arm"] == arm]
    ranked = ranked_trials(trials_table(arm_runs)) if len(arm_runs) else pd.DataFrame(columns=["lr", "weight_decay"])
    with_decay, without = ranked[ranked["weight_decay"] > 0], ranked[ranked["weight_decay"] == 0]
    if with_decay.empty or without.empty:
        return Estimate(math.nan)
    errors = [_by_seed(arm_runs, trial.iloc[0]["lr"], trial.iloc[0]["weight_decay"]) for trial in (with_decay, without)]
    return mean_with_ci((errors[0] - errors[1]).dropna() * task_metrics(records).error.sign)


def _by_seed(arm_runs: pd.DataFrame, lr: float, weight_decay: float) -> pd.Series[float]:
    rows = tuning_runs(arm_runs)
    rows = rows[(rows["lr"] == lr) & (rows["weight_decay"] == weight_decay)]
    return rows.set_index("seed")["final_test_error"]


def difference_at_equal_loss(records: pd.DataFrame, a: str, b: str) -> Estimate:
    """Return mean difference a − b of test errors at equal training loss, as errors are stored; NaN where they share
    none.
    """
    runs = tuning_runs(records)
    table = trials_table(records)
    eligible = table.loc[table["eligible"], ["arm", "lr", "weight_decay"]]
    runs = runs[runs["status"] == "completed"].merge(eligible)
    wide = runs.pivot(
        index=["arm", "lr", "weight_decay"], columns="seed", values=["final_train_loss", "final_test_error"]
    )
    wide = wide.dropna(axis=1)
    seeds = wide["final_train_loss"].shape[1] if len(wide.columns) else 0
    arms = set(wide.index.get_level_values("arm"))
    if not {a, b} <= arms or seeds < 1:
        return Estimate(math.nan)
    weight_BT = np.concatenate([np.full((1, seeds), 1 / seeds), bootstrap_weights(seeds)])
    curves = [
        [wide.loc[arm][name].to_numpy() @ weight_BT.T for name in ("final_train_loss", "final_test_error")]
        for arm in (a, b)
    ]
    difference_B = np.array([
        _between(*((np.log(np.maximum(loss[:, i], MIN_LOSS)), error[:, i]) for loss, error in curves))
        for i in range(weight_BT.shape[0])
    ]) * task_metrics(records).error.sign  # fmt: skip
    known_B = difference_B[1:][~np.isnan(difference_B[1:])]
    if math.isnan(difference_B[0]) or seeds < 2 or len(known_B) < 0.9 * len(weight_BT):
        return Estimate(float(difference_B[0]))
    return bootstrap_estimate(float(difference_B[0]), float(known_B.std()), seeds)


def _between(a: tuple[Array, Array], b: tuple[Array, Array]) -> float:
    """Return the mean of two curves' difference over the range that they share."""
    low, high = max(a[0].min(), b[0].min()), min(a[0].max(), b[0].max())
    if not low < high:
        return math.nan
    at = np.linspace(low, high, NUM_POINTS)
    values = []
    for x, y in (a, b):
        order = x.argsort(kind="stable")
        values.append(np.interp(at, x[order], y[order]))
    return float((values[0] - values[1]).mean())
