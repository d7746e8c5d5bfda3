"""Several cuts of one data set: each tuned and judged for itself, and all of them together."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from adamcmp.analysis import split_by_task
from adamcmp.analysis.split_blocks import compare_over_splits
from adamcmp.report.verdict_text import format_split_verdicts


def cut(synthetic, seed, gap, **settings):
    told = {
        "data": [f"print {seed}", 1000], "data_settings": {"name": "digits", "split_seed": seed},
        "eval_examples": [[100, 100, 100], [1000, 100, 250]], **settings,
    }  # fmt: skip
    one = synthetic.make_records(
        {"A": "lr_scaled", "B": "lr_scaled"}, lrs=[0.1], lambdas=[0.001], seeds=range(4),
        task=f"task {seed}", settings=json.dumps(told), comparison=None,
    )  # fmt: skip
    one["final_test_error"] += gap * (one["arm"] == "B")
    return one.assign(variant=one["arm"], run_id=f"{seed} " + one["run_id"])


def test_splits_are_compared_as_seeds_are_and_their_interval_is_widened_for_overlap(synthetic):
    gaps = 0.05 + np.random.default_rng(0).normal(0, 0.004, 7)
    records = pd.concat([cut(synthetic, i, gap) for i, gap in enumerate(gaps)], ignore_index=True)
    records["settings"] = records["settings"].str.replace("[1000, 100, 250]", "[1000, 100, 250000]")
    tasks = split_by_task(records.assign(train_examples=1_000_000))
    (family,) = compare_over_splits(tasks)
    assert sorted(task.label for task in tasks)[0].endswith(" · split_seed 0")
    (found,) = family.verdicts
    parts = [task.records.set_index(["arm", "seed"])["final_test_error"] for task in family.tasks]
    d = np.array([(part["A"] - part["B"]).mean() for part in parts])
    assert (found.a, found.b, found.n, found.kind) == ("A", "B", 7, "apart")
    assert found.mean == pytest.approx(d.mean())
    half = stats.t.ppf(0.975, 6) * d.std(ddof=1) * math.sqrt(1 / 7 + 250 / 1000)
    assert found.high - found.mean == pytest.approx(half, rel=0.03)  # and nearly nothing for 250,000 examples
    assert format_split_verdicts(family)[0].startswith("Over 7 data splits of digits")
    assert "A is significantly better than B" in format_split_verdicts(family)[0]


def test_test_examples_that_splits_share_count_once(synthetic):
    """With one official test split, all splits fail on the same examples."""
    records = pd.concat([cut(synthetic, i, 0.0) for i in range(6)], ignore_index=True)
    draw = np.random.default_rng(0)
    hard = {"A": draw.random(250) < 0.2, "B": draw.random(250) < 0.2}
    shared = {
        run: hard[arm] ^ (draw.random(250) < 0.02) for run, arm in zip(records["run_id"], records["arm"], strict=True)
    }
    own = {run: draw.random(250) < 0.2 for run in records["run_id"]}
    results = []
    for outcomes in (shared, own):
        known = {run: values.astype(float) for run, values in outcomes.items()}
        errors = records["run_id"].map({run: values.mean() for run, values in known.items()})
        (family,) = compare_over_splits(split_by_task(records.assign(final_test_error=errors)), outcomes=known)
        results.append(family.verdicts[0])
    expected = math.sqrt((hard["A"] * 1.0 - hard["B"]).var(ddof=1) / 250)
    assert results[0].se_examples == pytest.approx(expected, rel=0.2)
    assert results[1].se_examples < 0.6 * expected


def test_few_splits_and_other_differences_make_no_family(synthetic):
    tasks = split_by_task(pd.concat([cut(synthetic, i, 0.001 * i) for i in range(3)], ignore_index=True))
    ((found,),) = (each.verdicts for each in compare_over_splits(tasks))
    assert (found.kind, found.n) == ("open", 3)
    apart = split_by_task(
        pd.concat([cut(synthetic, 0, 0.05), cut(synthetic, 1, 0.05, precision="fp64")], ignore_index=True)
    )
    assert compare_over_splits(apart) == []
