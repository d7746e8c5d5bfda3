"""Metrics on request: means over the seeds of each winner, after the last step and along the training."""

import json

import numpy as np
import pandas as pd
import pytest

from adamcmp.analysis import best_trials, extra_metric_curves, extra_metrics_table, trials_table
from adamcmp.figures.extra_metrics import split_by_layer

NAMES = ("test_top5_error", "weight_norms_a.weight", "weight_norms_a.weight_share", "updates_a.weight_ratio")


@pytest.fixture
def measured(synthetic):
    records = synthetic.make_records({"AdamW": "lr_scaled", "Adam + L2": "l2"}, lrs=[1e-3, 1e-2], lambdas=[0.0, 1e-2])
    values = np.random.default_rng(0).random((len(records), len(NAMES)))
    records["metrics"] = [json.dumps(dict(zip(NAMES, row, strict=True))) for row in values.tolist()]
    curves = synthetic.make_curves(records, 4)
    scaled = curves.merge(records[["run_id", "metrics"]].rename(columns={"metrics": "last"}), on="run_id")
    curves["metrics"] = [
        json.dumps({name: value * step / 1000 for name, value in json.loads(text).items()})
        for text, step in zip(scaled["last"], scaled["step"], strict=True)
    ]
    return records, curves, best_trials(trials_table(records))


def test_means_are_of_the_winners_alone(synthetic, measured):
    records, _, best = measured
    found = extra_metrics_table(records, best)
    assert found["metric"].tolist() == [name for name in NAMES for _ in range(2)]
    assert found["arm"].tolist() == best["arm"].tolist() * len(NAMES)
    for row in found.to_dict("records"):
        cell = best[best["arm"] == row["arm"]].iloc[0]
        own = records[(records[["arm", "lr", "weight_decay"]] == cell[["arm", "lr", "weight_decay"]]).all(axis=1)]
        values = [json.loads(text)[row["metric"]] for text in own["metrics"]]
        assert (row["mean"], row["half_width"], row["n"]) == pytest.approx(tuple(synthetic.mean_interval(values)))


def test_curves_end_at_what_the_records_hold(measured):
    records, curves, best = measured
    along, last = extra_metric_curves(curves, records, best), extra_metrics_table(records, best)
    end = along[along["step"] == 1000].drop(columns=["step", "epoch"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(end, last)
    assert (along[along["step"] == 0]["mean"] == 0).all()


def test_layers_are_told_from_single_values(measured):
    records, _, best = measured
    kinds = split_by_layer(extra_metrics_table(records, best))
    assert list(kinds) == ["weight norm", "update / weight", "share of the squared weight norm", ""]
    assert set(kinds[""]["metric"]) == {"test_top5_error"}
    assert all(set(part["layer"]) == {"a.weight"} for kind, part in kinds.items() if kind)


def test_runs_that_were_not_asked_have_none(synthetic):
    records = synthetic.make_records({"AdamW": "lr_scaled"})
    best = best_trials(trials_table(records))
    assert extra_metrics_table(records, best).empty
    assert extra_metric_curves(synthetic.make_curves(records), records, best).empty


def test_arms_keep_the_order_of_the_winners(measured):
    records, curves, best = measured
    turned = best.iloc[::-1]
    for found in (extra_metrics_table(records, turned), extra_metric_curves(curves, records, turned)):
        assert list(dict.fromkeys(found["arm"])) == turned["arm"].tolist() != best["arm"].tolist()
        assert found.index.tolist() == list(range(len(found)))
