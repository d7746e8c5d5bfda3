"""The second stage of a sweep: each arm's best cell by validation, on seeds that no selection has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, islice
from typing import Any, NamedTuple

import pandas as pd

from adamcmp.analysis import Task, best_cells, by_task, cells, tuning
from adamcmp.errors import InputError, closest
from adamcmp.plan.runs import Run, rule_identity, run_id
from adamcmp.records import Stage

FIRST, SETTLING = 1_000_000, 2_000_000
"""The first fresh seed, beyond those that people tune with; and the first of ``settle``."""


def is_chosen(runs: Sequence[Run]) -> bool:
    """Whether anything is chosen among these runs: some arm has several cells."""
    cells_of: dict[object, set[tuple[float, float]]] = {}
    for run in runs:
        optimizer = run.optimizer
        cells_of.setdefault(arm_of(run), set()).add((optimizer.lr, optimizer.weight_decay))
    return any(len(each) > 1 for each in cells_of.values())


def arm_of(run: Run) -> tuple[str, str, str]:
    """What runs of an arm share: all settings but lr, λ and seed; or the search that drew them."""
    if run.search is not None:
        return run.comparison, run.search, run.optimizer.name
    same = run.optimizer.model_copy(update={"lr": 1.0, "weight_decay": 0.0})
    return run.task.key, rule_identity(same), rule_identity(run.schedule)


def on_fresh_seeds(run: Run, seeds: Sequence[int], stage: Stage = "confirm") -> list[Run]:
    """The same cell on other seeds, to be judged."""
    optimizer, schedule = rule_identity(run.optimizer), rule_identity(run.schedule)
    return [replace(run, id=run_id(run.task, optimizer, schedule, seed), seed=seed, stage=stage) for seed in seeds]


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
            winner = in_cell(planned, tuned, cell)
            found += on_fresh_seeds(winner, fresh) if winner is not None else []
    return found


def in_cell(planned: Mapping[str, Run], tuned: pd.DataFrame, cell: Mapping[Any, Any]) -> Run | None:
    """A run of an arm in a cell of it, made from any planned run of the arm; None where none is planned."""
    own = tuned[tuned["arm"] == cell["arm"]]
    there = own[(own["lr"] == cell["lr"]) & (own["weight_decay"] == cell["weight_decay"])]
    member = next((planned[each] for each in (*there["run_id"], *own["run_id"]) if each in planned), None)
    if member is None or (member.search is not None and member.id not in set(there["run_id"])):
        return None  # what else a search has drawn for this cell is not known
    changed = {key: cell[key] for key in ("lr", "weight_decay")}
    return replace(member, optimizer=member.optimizer.model_copy(update=changed))


class Match(NamedTuple):
    """Two arms of one task, and a run in the best cell of each."""

    task: Task
    arms: tuple[str, str]
    winners: tuple[Run, Run]


def match(runs: Sequence[Run], records: pd.DataFrame, names: tuple[str, str]) -> Match:
    """Find two arms, by their labels or their optimizers' configurations, in the one task that has both.

    Raises:
        InputError: no task or several have both, or their best cells are not of what is planned.
    """
    planned, found = {run.id: run for run in runs}, []
    known: set[str] = set()
    for task in by_task(records):
        best = best_cells(cells(task.records))
        known |= {*best["arm"], *best["optimizer"]}
        rows = [best[(best["arm"] == name) | (best["optimizer"] == name)] for name in names]
        if all(len(each) == 1 for each in rows):
            chosen = [each.iloc[0].to_dict() for each in rows]
            winners = [in_cell(planned, tuning(task.records), each) for each in chosen]
            if winners[0] is not None and winners[1] is not None:
                arms = (str(chosen[0]["arm"]), str(chosen[1]["arm"]))
                found.append(Match(task, arms, (winners[0], winners[1])))
    if len(found) != 1:
        lacking = next((name for name in names if name not in known), None)
        why = f"no arm {lacking!r} is tuned; {closest(lacking, known)}" if lacking else f"{len(found)} tasks have both"
        raise InputError(f"settle {' '.join(names)}: {why} Sweep the same study with both arms first.")
    return found[0]


def stand_ins(runs: Sequence[Run], seeds: int) -> list[Run]:
    """As many runs as will judge what is chosen among these, of each arm's first cell: to price them."""
    firsts: dict[object, Run] = {}
    for run in runs:
        firsts.setdefault(arm_of(run), run)
    fresh = list(range(FIRST, FIRST + seeds))
    return [each for run in firsts.values() for each in on_fresh_seeds(run, fresh)]
