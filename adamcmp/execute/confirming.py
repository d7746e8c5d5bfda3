"""The second stage of a sweep: each arm's best cell by validation, on seeds that no selection has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count, islice

import pandas as pd

from adamcmp.analysis import best_cells, by_task, cells, tuning
from adamcmp.plan.runs import Run, rule_identity, run_id

FIRST = 1_000_000
"""The first fresh seed, beyond those that people tune with."""


def is_chosen(runs: Sequence[Run]) -> bool:
    """Whether anything is chosen among these runs: some arm has several cells."""
    cells_of: dict[object, set[tuple[float, float]]] = {}
    for run in runs:
        optimizer = run.optimizer
        cells_of.setdefault(arm_of(run), set()).add((optimizer.lr, optimizer.weight_decay))
    return any(len(each) > 1 for each in cells_of.values())


def arm_of(run: Run) -> tuple[str, str, str]:
    """What runs of an arm share: all settings but lr, λ and seed."""
    same = run.optimizer.model_copy(update={"lr": 1.0, "weight_decay": 0.0})
    return run.task.key, rule_identity(same), rule_identity(run.schedule)


def on_fresh_seeds(run: Run, seeds: Sequence[int]) -> list[Run]:
    """The same cell on other seeds, to be judged."""
    optimizer, schedule = rule_identity(run.optimizer), rule_identity(run.schedule)
    return [replace(run, id=run_id(run.task, optimizer, schedule, seed), seed=seed, stage="confirm") for seed in seeds]


def confirming(runs: Sequence[Run], records: pd.DataFrame, seeds: int) -> list[Run]:
    """The runs that judge what the stored ones have chosen.

    Args:
        runs: planned for tuning; their arms are judged.
        records: what is stored of the study, by this command and by earlier ones.
        seeds: how many fresh seeds each arm's best cell gets, the same for all arms of a task.
    """
    planned = {run.id: run for run in runs}
    found: list[Run] = []
    for task in by_task(records):
        tuned = tuning(task.records)
        seen = set(tuned["seed"])
        fresh = list(islice((seed for seed in count(FIRST) if seed not in seen), seeds))
        for cell in best_cells(cells(task.records)).to_dict("records"):  # a few arms
            ids = tuned.loc[tuned["arm"] == cell["arm"], "run_id"]
            member = next((planned[each] for each in ids if each in planned), None)
            if member is not None:
                optimizer = member.optimizer.model_copy(update={key: cell[key] for key in ("lr", "weight_decay")})
                found += on_fresh_seeds(replace(member, optimizer=optimizer), fresh)
    return found


def stand_ins(runs: Sequence[Run], seeds: int) -> list[Run]:
    """As many runs as will judge what is chosen among these, of each arm's first cell: to price them."""
    firsts: dict[object, Run] = {}
    for run in runs:
        firsts.setdefault(arm_of(run), run)
    fresh = list(range(FIRST, FIRST + seeds))
    return [each for run in firsts.values() for each in on_fresh_seeds(run, fresh)]
