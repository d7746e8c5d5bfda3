"""Tasks that differ in one number alone, such as the budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from adamcmp.analysis import TaskRecords

MIN_TASKS = 3
"""Minimum number of tasks for a slope."""
SHARED_COLUMNS = ("data", "model", "batch_size", "precision", "epochs", "train_examples")


class TaskFamily(NamedTuple):
    """Tasks that share all but one number."""

    label: str
    tasks: list[TaskRecords]


def task_families(tasks: Sequence[TaskRecords], by: str) -> list[TaskFamily]:
    """Return groups of at least ``MIN_TASKS`` tasks that share data, model, batch size and precision, and differ in
    ``by``.

    Args:
        tasks: of one study.
        by: ``epochs`` or ``train_examples``; the other one is shared.
    """
    by_key: dict[tuple[object, ...], list[TaskRecords]] = {}
    for task in tasks:
        last = task.records.iloc[-1]
        by_key.setdefault(tuple(last[name] for name in SHARED_COLUMNS if name != by), []).append(task)
    return [
        TaskFamily(f"{key[0]} · {key[1]}", sorted(members, key=lambda member: float(member.records[by].iloc[0])))
        for key, members in by_key.items()
        if len({float(member.records[by].iloc[0]) for member in members}) >= MIN_TASKS
    ]
