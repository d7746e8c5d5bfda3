"""Several cuts of one data set: each tuned and judged for itself, and all of them together."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from adamcmp.analysis import by_task
from adamcmp.analysis.cuts import over_cuts
from adamcmp.analysis.verdicts import permutation_test
from adamcmp.report.judging import cuts_sentences


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


def test_cuts_are_judged_as_seeds_are_and_their_interval_is_widened_for_overlap(synthetic):
    gaps = 0.05 + np.random.default_rng(0).normal(0, 0.004, 7)
    tasks = by_task(pd.concat([cut(synthetic, i, gap) for i, gap in enumerate(gaps)], ignore_index=True))
    (family,) = over_cuts(tasks)
    assert sorted(task.label for task in tasks)[0].endswith(" · split_seed 0")
    (found,) = family.found
    parts = [task.records.set_index(["arm", "seed"])["final_test_error"] for task in family.tasks]
    d = np.array([(part["A"] - part["B"]).mean() for part in parts])
    assert (found.a, found.b, found.n, found.kind) == ("A", "B", 7, "apart")
    assert found.mean == pytest.approx(d.mean())
    assert found.p_value == pytest.approx(permutation_test(d))
    half = stats.t.ppf(0.975, 6) * d.std(ddof=1) * math.sqrt(1 / 7 + 250 / 1000)
    assert (found.low_examples, found.high_examples) == pytest.approx((d.mean() - half, d.mean() + half))
    assert "A against B, over 7 cuts of digits" in cuts_sentences(family)[0]
    assert "told apart, A is better" in cuts_sentences(family)[0]


def test_few_cuts_cannot_tell_and_other_differences_make_no_family(synthetic):
    tasks = by_task(pd.concat([cut(synthetic, i, 0.05 + 0.001 * i) for i in range(4)], ignore_index=True))
    ((found,),) = (each.found for each in over_cuts(tasks))
    assert (found.kind, found.n) == ("open", 4)
    apart = by_task(pd.concat([cut(synthetic, 0, 0.05), cut(synthetic, 1, 0.05, precision="fp64")], ignore_index=True))
    assert over_cuts(apart) == []
