"""What tells arms of one label apart, and in which order tasks come."""

from __future__ import annotations

import json

import pandas as pd

from adamcmp.analysis import name_arms, split_by_task


def settings(schedule="cosine", **optimizer):
    own = {"name": "adamw", "label": "AdamW", "lr": 1e-3, "weight_decay": 0.1, **optimizer}
    eta = {"eta_min": 0.0} if schedule == "cosine" else {}
    return json.dumps({"optimizer": own, "schedule": {"name": schedule, "warmup_steps": 0, **eta}, "seed": 1})


def named(*pairs):
    """Arms of records with these (variant, settings), labelled AdamW."""
    frame = pd.DataFrame([{"variant": variant, "arm": "AdamW", "settings": text} for variant, text in pairs])
    return name_arms(frame)["arm"].tolist()


def test_one_variant_keeps_its_label():
    assert named(("a", settings(lr=1e-3)), ("a", settings(lr=1e-2))) == ["AdamW", "AdamW"]


def test_two_variants_are_told_apart_by_what_differs_alone():
    text = (settings(betas=[0.9, 0.99], eps=1e-8), settings(betas=[0.9, 0.999], eps=1e-8, lr=1.0, weight_decay=2.0))
    found = named(("a", text[0]), ("b", text[1]), ("a", text[0]))
    assert found == ["AdamW · betas=[0.9, 0.99]", "AdamW · betas=[0.9, 0.999]", "AdamW · betas=[0.9, 0.99]"]


def test_several_differences_are_sorted_and_what_one_lacks_is_left_out():
    found = named(
        ("a", settings(eps=1e-8, betas=1)), ("b", settings(eps=1e-6, betas=2)), ("c", settings(betas=2)),
    )  # fmt: skip
    assert found == ["AdamW · betas=1 · eps=1e-08", "AdamW · betas=2 · eps=1e-06", "AdamW · betas=2"]


def test_a_schedules_name_says_it_all_and_its_settings_do_where_the_name_is_the_same():
    assert named(("a", settings("cosine")), ("b", settings("constant"))) == [
        "AdamW · cosine", "AdamW · constant",
    ]  # fmt: skip
    warm = json.loads(settings("constant"))
    warm["schedule"]["warmup_steps"] = 5
    found = named(("a", settings("constant")), ("b", json.dumps(warm)))
    assert found == ["AdamW · schedule.warmup_steps=0", "AdamW · schedule.warmup_steps=5"]


def test_arguments_of_an_own_class_stand_beside_its_other_settings():
    found = named(("a", settings(arguments={"momentum": 0.5})), ("b", settings(arguments={"momentum": 0.9})))
    assert found == ["AdamW · momentum=0.5", "AdamW · momentum=0.9"]


def test_names_and_labels_tell_nothing_apart():
    assert named(("a", settings(name="x", label="X", eps=1)), ("b", settings(name="y", label="Y", eps=2))) == [
        "AdamW · eps=1", "AdamW · eps=2",
    ]  # fmt: skip


def test_labels_are_kept_apart():
    frame = pd.DataFrame([
        {"variant": "a", "arm": "one", "settings": settings(eps=1)},
        {"variant": "b", "arm": "two", "settings": settings(eps=2)},
    ])  # fmt: skip
    assert name_arms(frame)["arm"].tolist() == ["one", "two"]


def test_tasks_come_with_the_latest_run_first_and_never_mix(synthetic):
    def records(task, label, day):
        when = None if day is None else pd.Timestamp(f"2025-01-{day:02}", tz="UTC")
        frame = synthetic.make_records({"AdamW": "lr_scaled"}, [1e-3], [0.0], task=task, task_label="old name")
        frame["task_label"] = ["old name", "old name", label]
        return frame.assign(finished_at=when)

    whole = pd.concat([records("b", "B", 2), records("c", "C", 9), records("a", "A", 2), records("d", "D", None)])
    found = split_by_task(whole)
    assert [task.task for task in found] == ["c", "a", "b", "d"]
    assert [task.label for task in found] == ["C", "A", "B", "D"]
    for task in found:
        assert set(task.records["task"]) == {task.task}
        assert task.records.index.tolist() == [0, 1, 2]
    assert split_by_task(whole.iloc[:0]) == []
