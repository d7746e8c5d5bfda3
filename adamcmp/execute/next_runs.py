"""Runs that follow from stored results: held-out runs, settle runs, and runs of an extended grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, islice
from typing import Any, NamedTuple

import pandas as pd

from adamcmp.analysis import (
    TRIAL_KEY,
    TaskRecords,
    best_trials,
    grid_boundaries,
    next_grid_values,
    split_by_task,
    trials_table,
    tuning_runs,
)
from adamcmp.analysis.selection_uncertainty import candidate_indices, selections
from adamcmp.errors import InputError, suggest_names
from adamcmp.execute.held_out_seeds import FIRST_HELD_OUT_SEED, run_on_seeds
from adamcmp.plan.runs import Run
from adamcmp.storage.schema import Stage

FIRST_SETTLE_SEED = 2_000_000
"""The first seed of ``settle``."""


def held_out_runs(runs: Sequence[Run], records: pd.DataFrame, seeds: int) -> list[Run]:
    """Return the held-out runs of every candidate trial (``selection_uncertainty.candidate_indices``).

    Args:
        runs: planned for tuning; their optimizers get held-out runs.
        records: all stored runs of the study.
        seeds: held-out seeds per candidate, the same for all optimizers of a task.
    """
    planned = {run.id: run for run in runs}
    held_out: list[Run] = []
    for task in split_by_task(records):
        tuned = tuning_runs(task.records)
        seen = set(tuned["seed"])
        fresh = list(islice((seed for seed in count(FIRST_HELD_OUT_SEED) if seed not in seen), seeds))
        for arm, choice in selections(task.records).items():
            for index in candidate_indices(choice):
                held_out += trial_on_seeds(planned, tuned, (arm, *choice.places[index]), fresh)
    return held_out


def trial_on_seeds(
    planned: Mapping[str, Run], tuned: pd.DataFrame, trial: tuple[str, float, float], seeds: Sequence[int],
    stage: Stage = "confirm",
) -> list[Run]:  # fmt: skip
    """Return the runs of a trial (optimizer, lr, weight decay) on other seeds; none where it was not planned."""
    member = run_in_trial(planned, tuned, dict(zip(TRIAL_KEY, trial, strict=True)))
    return run_on_seeds(member, seeds, stage) if member is not None else []


def run_in_trial(planned: Mapping[str, Run], tuned: pd.DataFrame, cell: Mapping[Any, Any]) -> Run | None:
    """Return a run of an optimizer in a trial of it, made from any planned run of the optimizer; None where none is
    planned.
    """
    arm_runs = tuned[tuned["arm"] == cell["arm"]]
    there = arm_runs[(arm_runs["lr"] == cell["lr"]) & (arm_runs["weight_decay"] == cell["weight_decay"])]
    member = next((planned[run_id] for run_id in (*there["run_id"], *arm_runs["run_id"]) if run_id in planned), None)
    if member is None or (member.search is not None and member.id not in set(there["run_id"])):
        return None  # what else a search has drawn for this trial is not known
    changed = {key: cell[key] for key in ("lr", "weight_decay")}
    return replace(member, optimizer=member.optimizer.model_copy(update=changed))


class ArmPair(NamedTuple):
    """Two optimizers of one task."""

    task: TaskRecords
    arms: tuple[str, str]


def find_arm_pair(runs: Sequence[Run], records: pd.DataFrame, names: tuple[str, str]) -> ArmPair:
    """Find two optimizers, by their labels or configurations, in the one task that has both.

    Raises:
        InputError: no task or several have both, or they are not planned.
    """
    planned, pairs = {run.id: run for run in runs}, []
    arms: set[str] = set()
    for task in split_by_task(records):
        best = best_trials(trials_table(task.records))
        arms |= {*best["arm"], *best["optimizer"]}
        rows = [best[(best["arm"] == name) | (best["optimizer"] == name)] for name in names]
        if all(len(row) == 1 for row in rows):
            chosen = [row.iloc[0].to_dict() for row in rows]
            if all(run_in_trial(planned, tuning_runs(task.records), trial) is not None for trial in chosen):
                pairs.append(ArmPair(task, (str(chosen[0]["arm"]), str(chosen[1]["arm"]))))
    if len(pairs) != 1:
        lacking = next((name for name in names if name not in arms), None)
        if pairs:
            tasks = "; ".join(pair.task.label for pair in pairs)
            why = f"{len(pairs)} tasks have both ({tasks}); give the settings of one, such as data=NAME or model=NAME."
        elif lacking:
            why = f"no optimizer {lacking!r} is tuned; {suggest_names(lacking, arms)} Sweep the study with both first."
        else:
            why = "no task has both; sweep the study with both first."
        raise InputError(f"settle {' '.join(names)}: {why}")
    return pairs[0]


def settle_runs(runs: Sequence[Run], of: ArmPair, seeds: Sequence[int]) -> list[Run]:
    """Return the runs of both optimizers' candidates on more held-out seeds, of stage ``settle``."""
    planned, tuned, choices = {run.id: run for run in runs}, tuning_runs(of.task.records), selections(of.task.records)
    return [
        run
        for arm in of.arms
        for index in candidate_indices(choices[arm])
        for run in trial_on_seeds(planned, tuned, (arm, *choices[arm].places[index]), seeds, "settle")
    ]


def extended_grid_runs(runs: Sequence[Run], records: pd.DataFrame, most: int) -> list[Run]:
    """Return the runs that extend grids by one value, at the grid's ratio, beyond each boundary at which a selected
    trial is.

    Args:
        runs: planned for tuning; their optimizers' grids are extended, with the same seeds.
        records: stored runs of the study.
        most: maximum number of values beyond an end of the planned grid.
    """
    planned = {run.id: run for run in runs}
    added: dict[str, Run] = {}
    for task in split_by_task(records):
        tuned, table = tuning_runs(task.records), trials_table(task.records)
        for _, best in best_trials(table).iterrows():  # a few optimizers
            arm_trials = table[table["arm"] == best["arm"]]
            ids = tuned.loc[tuned["arm"] == best["arm"], "run_id"]
            members = [planned[id_] for id_ in ids if id_ in planned]
            seeds = sorted({run.seed for run in members})
            sides = [
                side
                for side in grid_boundaries(arm_trials, best)
                if members and _count_added_values(arm_trials, members, side) < most
            ]
            for lr, weight_decay in _new_trials(arm_trials, sides):
                optimizer = members[0].optimizer.model_copy(update={"lr": lr, "weight_decay": weight_decay})
                trial = replace(members[0], optimizer=optimizer)
                added |= {run.id: run for run in run_on_seeds(trial, seeds, trial.stage)}
    return list(added.values())


def _count_added_values(arm_trials: pd.DataFrame, members: Sequence[Run], side: str) -> int:
    """Return the number of values that an optimizer's grid has beyond one end of the planned grid."""
    name, end = side.split()
    column = "lr" if name == "lr" else "weight_decay"
    planned = [getattr(run.optimizer, column) for run in members]
    values = arm_trials[column].drop_duplicates()
    return int((values < min(planned)).sum() if end == "low" else (values > max(planned)).sum())


def _new_trials(arm_trials: pd.DataFrame, sides: Sequence[str]) -> list[tuple[float, float]]:
    """Return the trials that a grid lacks to be one value wider on some sides: ``lr low``, ``λ high``."""
    axes = {"lr": sorted(set(arm_trials["lr"])), "λ": sorted(set(arm_trials["weight_decay"]))}
    new: dict[str, list[float]] = {name: [] for name in axes}
    for name, end in (side.split() for side in sides):
        new[name] += next_grid_values(axes[name], end, 1)
    every = [(lr, decay) for lr in (*axes["lr"], *new["lr"]) for decay in (*axes["λ"], *new["λ"])]
    return [(lr, decay) for lr, decay in every if lr in new["lr"] or decay in new["λ"]]
