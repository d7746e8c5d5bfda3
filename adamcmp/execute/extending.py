"""Wider grids: a row or a column more where an arm's best cell lies on the edge of its grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from adamcmp.analysis import best_cells, beyond, by_task, cells, edge, tuning
from adamcmp.plan.runs import Run, rule_identity, run_id


def extending(runs: Sequence[Run], records: pd.DataFrame, most: int) -> list[Run]:
    """The runs that add, at the grid's own ratio, one value beyond each edge that a best cell lies on.

    Args:
        runs: planned for tuning; their arms are extended, over the seeds that they have.
        records: what is stored of the study.
        most: values that a grid may have beyond an end of what was planned.
    """
    planned = {run.id: run for run in runs}
    found: dict[str, Run] = {}
    for task in by_task(records):
        tuned, table = tuning(task.records), cells(task.records)
        for _, best in best_cells(table).iterrows():  # a few arms
            own = table[table["arm"] == best["arm"]]
            ids = tuned.loc[tuned["arm"] == best["arm"], "run_id"]
            members = [planned[each] for each in ids if each in planned]
            seeds = sorted({run.seed for run in members})
            sides = [side for side in edge(own, best) if members and _grown(own, members, side) < most]
            for lr, weight_decay in _new_cells(own, sides):
                for seed in seeds:
                    run = _at(members[0], lr, weight_decay, seed)
                    found[run.id] = run
    return list(found.values())


def _grown(own: pd.DataFrame, members: Sequence[Run], side: str) -> int:
    """How many values an arm's grid has beyond one end of what was planned."""
    name, end = side.split()
    column = "lr" if name == "lr" else "weight_decay"
    planned = [getattr(run.optimizer, column) for run in members]
    values = own[column].drop_duplicates()
    return int((values < min(planned)).sum() if end == "low" else (values > max(planned)).sum())


def _new_cells(own: pd.DataFrame, sides: Sequence[str]) -> list[tuple[float, float]]:
    """What a grid lacks that is one value wider on some sides: ``lr low``, ``λ high``."""
    axes = {"lr": sorted(set(own["lr"])), "λ": sorted(set(own["weight_decay"]))}
    new: dict[str, list[float]] = {name: [] for name in axes}
    for name, end in (side.split() for side in sides):
        new[name] += beyond(axes[name], end, 1)
    every = [(lr, decay) for lr in (*axes["lr"], *new["lr"]) for decay in (*axes["λ"], *new["λ"])]
    return [(lr, decay) for lr, decay in every if lr in new["lr"] or decay in new["λ"]]


def _at(member: Run, lr: float, weight_decay: float, seed: int) -> Run:
    """The same arm in another cell."""
    optimizer = member.optimizer.model_copy(update={"lr": lr, "weight_decay": weight_decay})
    identity, schedule = rule_identity(optimizer), rule_identity(member.schedule)
    return replace(member, id=run_id(member.task, identity, schedule, seed), optimizer=optimizer, seed=seed)
