"""How soon a validation error is reached, on curves written here."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from adamcmp.analysis import best_trials, mean_curves, time_to_target_table, trials_table
from adamcmp.analysis.selection import TRIAL_KEY
from adamcmp.storage.schema import METRICS


def test_the_first_evaluation_at_the_target_counts_and_never_is_infinite():
    key = dict.fromkeys(TRIAL_KEY, 0.0)
    arms = ["fast"] * 3 + ["slow"] * 3
    records = pd.DataFrame(
        [
            {**key, "arm": arm, "run_id": f"r{i}", "status": "completed", "steps": 40, "seconds": 8.0 + i}
            for i, arm in enumerate(arms)
        ]
        + [{**key, "arm": "fast", "run_id": "gone", "status": "diverged", "steps": 40, "seconds": 1.0}]
    )
    errors = {
        "r0": [0.5, 0.1, 0.2, 0.1], "r1": [0.5, 0.4, 0.1, 0.1], "r2": [0.5, 0.4, 0.3, 0.1],
        "r3": [0.1, 0.1, 0.1, 0.1], "r4": [0.5, 0.5, 0.5, 0.5], "r5": [0.5, 0.5, 0.5, 0.2],
    }  # fmt: skip
    curves = pd.DataFrame(
        [
            {"run_id": run, "step": 10 * (i + 1), "validation_error": error}
            for run, values in errors.items()
            for i, error in enumerate(values)
        ]
    )
    best = pd.DataFrame([{**key, "arm": arm} for arm in ("slow", "fast")])
    found = time_to_target_table(curves, records, best, 0.1)  # which is exactly reached
    assert found["arm"].tolist() == ["slow", "fast"]
    assert found["n"].tolist() == [3, 3]
    assert found["reached"].tolist() == [1, 3]
    assert found["steps"].tolist() == [math.inf, 30]
    assert found["seconds"].tolist() == [math.inf, 9.0 * 30 / 40]


def test_curves_are_means_over_the_winners_seeds_with_their_intervals(synthetic):
    records = synthetic.make_records({"AdamW": "lr_scaled", "Adam + L2": "l2"}, lrs=[1e-3, 1e-2], lambdas=[0.0, 1e-2])
    curves = synthetic.make_curves(records, 4)
    best = best_trials(trials_table(records))
    found = mean_curves(curves, records, best)
    assert found[["arm", "step"]].equals(found[["arm", "step"]].sort_values(["arm", "step"]))
    assert found["arm"].value_counts().to_dict() == {"AdamW": 4, "Adam + L2": 4}
    names = [name for name, _, _ in METRICS]
    assert set(found) == {
        "arm",
        "lr",
        "weight_decay",
        "step",
        "epoch",
        "n",
        *names,
        *(f"{name}_half_width" for name in names),
    }
    for row in found.to_dict("records"):
        cell = best[best["arm"] == row["arm"]].iloc[0]
        ids = records.loc[(records[TRIAL_KEY] == cell[TRIAL_KEY]).all(axis=1), "run_id"]
        own = curves[curves["run_id"].isin(ids) & (curves["step"] == row["step"])]
        assert (row["n"], row["epoch"]) == (3, row["step"] / 10)
        for name in names:
            assert (row[name], row[f"{name}_half_width"], 3) == pytest.approx(tuple(synthetic.mean_interval(own[name])))
