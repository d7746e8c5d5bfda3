"""Sides of a comparison, such as two folders or two arms: their records in, tasks whose arms tell their sides out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from adamcmp.analysis.selection import split_by_task
from adamcmp.errors import InputError


class Source(NamedTuple):
    """What stands on one side."""

    name: str
    records: pd.DataFrame
    prefix: str = ""
    """The folder that its arms are called after, where they are."""


def compare_sources(sides: Sequence[Source]) -> pd.DataFrame:
    """The records of the tasks that at least two sides have, with the columns ``side`` and ``own_arm``, its label.

    What a report makes of them stands beside each other, and pairs are of different sides (``verdicts``).

    Raises:
        InputError: no two sides share a task.
    """
    prefix = {side.name: f"{side.prefix}: " if side.prefix else "" for side in sides}
    own = [side.records.assign(side=side.name, own_arm=side.records["arm"]) for side in sides]
    parts = [
        task.records.assign(arm=task.records["side"].map(prefix) + task.records["arm"])
        for task in split_by_task(pd.concat(own, ignore_index=True))
        if task.records["side"].nunique() > 1
    ]
    if not parts:
        told = "; ".join(f"{side.name} is {_tasks(side.records)}" for side in sides)
        raise InputError(
            f"compare: runs are compared where data, model and budget are the same, and no two of these share a task: "
            f"{told}. Sweep both on one task"
        )
    return pd.concat(parts, ignore_index=True)


def unmatched_runs(sides: Sequence[Source], records: pd.DataFrame) -> list[str]:
    """Tasks of sides that no other side has, in words."""
    lines = []
    for side in sides:
        kept = set(records.loc[records["side"] == side.name, "run_id"])
        others = side.records[~side.records["run_id"].isin(kept)]
        if len(others):
            lines.append(f"{side.name}: {len(others):,} runs of {_tasks(others)} have nothing to be compared with")
    return lines


def _tasks(records: pd.DataFrame) -> str:
    labels = [task.label for task in split_by_task(records)]
    return ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")
