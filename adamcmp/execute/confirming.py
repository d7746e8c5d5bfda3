"""The second stage of a sweep: every trial that may have been selected, on held-out seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, islice
from typing import Any, NamedTuple

import pandas as pd

from adamcmp.analysis import CELL, Task, best_cells, by_task, cells, tuning
from adamcmp.analysis.selection_uncertainty import candidates, selections
from adamcmp.errors import InputError, suggest_names
from adamcmp.execute.fresh import FIRST, on_fresh_seeds
from adamcmp.plan.runs import Run
from adamcmp.storage.schema import Stage

SETTLING = 2_000_000
"""The first seed of ``settle``."""


def confirming(runs: Sequence[Run], records: pd.DataFrame, seeds: int) -> list[Run]:
    """Return the held-out runs of every candidate trial (``selection_uncertainty.candidates``).

    Args:
        runs: planned for tuning; their optimizers get held-out runs.
        records: all stored runs of the study.
        seeds: held-out seeds per candidate, the same for all optimizers of a task.
    """
    planned = {run.id: run for run in runs}
    found: list[Run] = []
    for task in by_task(records):
        tuned = tuning(task.records)
        seen = set(tuned["seed"])
        fresh = list(islice((seed for seed in count(FIRST) if seed not in seen), seeds))
        for arm, choice in selections(task.records).items():
            for index in candidates(choice):
                found += on_fresh_seeds_of(planned, tuned, (arm, *choice.places[index]), fresh)
    return found


def on_fresh_seeds_of(
    planned: Mapping[str, Run], tuned: pd.DataFrame, trial: tuple[str, float, float], seeds: Sequence[int],
    stage: Stage = "confirm",
) -> list[Run]:  # fmt: skip
    """Return the runs of a trial (optimizer, lr, weight decay) on other seeds; none where it was not planned."""
    member = in_cell(planned, tuned, dict(zip(CELL, trial, strict=True)))
    return on_fresh_seeds(member, seeds, stage) if member is not None else []


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
    """Two optimizers of one task."""

    task: Task
    arms: tuple[str, str]


def match(runs: Sequence[Run], records: pd.DataFrame, names: tuple[str, str]) -> Match:
    """Find two optimizers, by their labels or configurations, in the one task that has both.

    Raises:
        InputError: no task or several have both, or they are not planned.
    """
    planned, found = {run.id: run for run in runs}, []
    known: set[str] = set()
    for task in by_task(records):
        best = best_cells(cells(task.records))
        known |= {*best["arm"], *best["optimizer"]}
        rows = [best[(best["arm"] == name) | (best["optimizer"] == name)] for name in names]
        if all(len(each) == 1 for each in rows):
            chosen = [each.iloc[0].to_dict() for each in rows]
            if all(in_cell(planned, tuning(task.records), each) is not None for each in chosen):
                found.append(Match(task, (str(chosen[0]["arm"]), str(chosen[1]["arm"]))))
    if len(found) != 1:
        lacking = next((name for name in names if name not in known), None)
        if found:
            tasks = "; ".join(each.task.label for each in found)
            why = f"{len(found)} tasks have both ({tasks}); give the settings of one, such as data=NAME or model=NAME."
        elif lacking:
            why = f"no optimizer {lacking!r} is tuned; {suggest_names(lacking, known)} Sweep the study with both first."
        else:
            why = "no task has both; sweep the study with both first."
        raise InputError(f"settle {' '.join(names)}: {why}")
    return found[0]


def settling(runs: Sequence[Run], of: Match, seeds: Sequence[int]) -> list[Run]:
    """Return the runs of both optimizers' candidates on more held-out seeds, of stage ``settle``."""
    planned, tuned, choices = {run.id: run for run in runs}, tuning(of.task.records), selections(of.task.records)
    return [
        run
        for arm in of.arms
        for index in candidates(choices[arm])
        for run in on_fresh_seeds_of(planned, tuned, (arm, *choices[arm].places[index]), seeds, "settle")
    ]
