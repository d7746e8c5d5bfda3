"""How soon a validation error is reached, on curves written here."""

from __future__ import annotations

import math

import pandas as pd

from adamcmp.analysis import time_to_error
from adamcmp.analysis.selection import CELL


def test_the_first_evaluation_at_the_target_counts_and_never_is_infinite():
    key = dict.fromkeys(CELL, 0.0)
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
    found = time_to_error(curves, records, best, 0.15)
    assert found["arm"].tolist() == ["slow", "fast"]
    assert found["n"].tolist() == [3, 3]
    assert found["reached"].tolist() == [1, 3]
    assert found["steps"].tolist() == [math.inf, 30]
    assert found["seconds"].tolist() == [math.inf, 9.0 * 30 / 40]
