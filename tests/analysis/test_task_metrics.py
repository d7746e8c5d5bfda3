"""Selection, curves and reports follow what a task's error is: its name, unit, and which way is better."""

from __future__ import annotations

import pandas as pd
import pytest

from adamcmp.analysis import best_trials, leaderboard, split_by_task, task_metrics, time_to_target_table, trials_table
from adamcmp.metrics.functions import METRIC_FUNCTIONS as FUNCTIONS
from adamcmp.metrics.spec import CLASSIFICATION, LOSS_NAMES, METRIC_SPECS, metric_spec


def judged(records, name, unit=""):
    """The records as if they told another error: where more is better, 1 − error."""
    error = metric_spec(name, unit)
    table = records.assign(error_metric=name, error_unit=unit, error_better=error.better, loss="mse")
    if error.higher_is_better:
        for column in [each for each in table if each.endswith("_error") and table[each].dtype == float]:
            table[column] = 1 - table[column]
    return table


def test_every_error_has_a_function_and_every_loss_a_name():
    assert {each.name for every in METRIC_SPECS.values() for each in every} == set(FUNCTIONS)
    assert {"mse", "huber", "bce", "cross_entropy"} == {name for names in LOSS_NAMES.values() for name in names}


def test_old_records_tell_of_classification(synthetic):
    records = synthetic.make_records()
    assert records["error_metric"].isna().all()
    assert task_metrics(records) == CLASSIFICATION
    assert task_metrics(leaderboard(records)) == CLASSIFICATION


@pytest.mark.parametrize("name", ["r2", "f1", "average_precision"])
def test_where_more_is_better_the_same_cells_are_chosen(synthetic, name):
    plain = synthetic.make_records()
    other = judged(plain, name)
    expected, found = (best_trials(trials_table(each))[["arm", "lr", "weight_decay"]] for each in (plain, other))
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected.reset_index(drop=True))
    assert trials_table(other)["rank"].equals(trials_table(plain)["rank"])
    assert leaderboard(other)["arm"].tolist() == leaderboard(plain)["arm"].tolist()
    assert task_metrics(leaderboard(other)).error.higher_is_better


def test_a_target_is_reached_from_the_worse_side(synthetic):
    plain = synthetic.make_records(seeds=[0])
    curves = synthetic.make_curves(plain)
    soon = time_to_target_table(curves, plain, best_trials(trials_table(plain)), 0.06)
    other = judged(plain, "r2")
    turned = curves.assign(validation_error=1 - curves["validation_error"])
    found = time_to_target_table(turned, other, best_trials(trials_table(other)), 1 - 0.06)
    assert found["steps"].tolist() == soon["steps"].tolist()
    assert (soon["reached"] > 0).any()


def test_tasks_that_share_a_comparison_are_one_and_their_arms_are_told_apart(synthetic):
    def records(task, comparison, **settings):
        frame = synthetic.make_records(
            {"AdamW": "lr_scaled"}, [1e-3, 1e-2], [0.0, 0.1], task=task, comparison=comparison
        )
        text = f'{{"optimizer": {{}}, "schedule": {{"name": "cosine"}}, "targets": "classes", {settings["text"]}}}'
        return frame.assign(settings=text, epochs=settings.get("epochs", 5.0))

    one = records("t1", "c", text='"batch_size": 32')
    two = records("t2", "c", text='"batch_size": 64, "loss": {"name": "cross_entropy", "label_smoothing": 0.1}')
    apart = records("t3", "d", text='"batch_size": 32')
    old = records("t4", None, text='"batch_size": 32')
    tasks = {task.task: task for task in split_by_task(pd.concat([one, two, apart, old]))}
    assert set(tasks) == {"t1", "t3", "t4"}
    assert tasks["t1"].label == "digits · mlp · 5 epochs"
    assert set(tasks["t1"].records["arm"]) == {"AdamW · batch_size=32", "AdamW · batch_size=64 · label_smoothing=0.1"}
    assert set(tasks["t3"].records["arm"]) == {"AdamW"}
    assert len(leaderboard(tasks["t1"].records)) == 2


def test_a_task_extended_by_runs_that_know_their_comparison_stays_one(synthetic):
    old = synthetic.make_records(seeds=[0], task="t", comparison=None)
    new = synthetic.make_records(seeds=[1], task="t", comparison="c")
    (task,) = split_by_task(pd.concat([old, new]))
    assert (task.task, len(task.records)) == ("t", len(old) + len(new))
