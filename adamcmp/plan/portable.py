"""A plan as one file, for workers that have nothing but the results folder and the package.

Runs are rows of a Parquet table, a few bytes each: what they share (tasks, the settings of the study) is JSON in the
file's metadata, and texts that repeat are stored once. Nothing in it is code: own classes are named, and have to be
importable where it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from adamcmp.config.build import find
from adamcmp.config.schema import AnyRule, AnySchedule, Config, Data, Execute, Model, OwnOptimizer, Study, Train
from adamcmp.errors import InputError, one_line
from adamcmp.optim.rule import rule_class, shipped
from adamcmp.plan.expand import Plan
from adamcmp.plan.runs import DataFacts, Init, Run, Task, rule_identity, run_id
from adamcmp.store import readable, replacing

KEY = b"adamcmp_plan"
COLUMNS = ("run_id", "arm", "task", "optimizer", "schedule", "seed", "stage", "search")


@dataclass(frozen=True)
class Portable:
    """A plan on its way to workers."""

    plan: Plan
    words: tuple[str, ...]
    """The command that each record names."""


def write(portable: Portable, path: Path) -> None:
    """Put a plan into a file.

    Raises:
        InputError: it cannot be written.
    """
    runs, config = portable.plan.runs, portable.plan.config
    tasks = list({run.task.key: run.task for run in runs}.values())
    place = {task.key: i for i, task in enumerate(tasks)}
    texts: dict[int, str] = {}

    def text(settings: AnyRule | AnySchedule) -> str:
        key = id(settings)  # seeds share the object, which some own class may not let be hashed
        if key not in texts:
            texts[key] = settings.model_dump_json()
        return texts[key]

    rows = [
        (run.id, run.arm, place[run.task.key], text(run.optimizer), text(run.schedule), run.seed, run.stage, run.search)
        for run in runs
    ]
    table = pa.table({name: pa.array(column) for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=True)})
    shared = {
        "tasks": [_packed(task) for task in tasks],
        "study": config.study.model_dump(mode="json"),
        "execute": config.execute.model_dump(mode="json"),
        "report": config.report.model_dump(mode="json"),
        "search": config.search.model_dump(mode="json"),
        "log": list(config.log),
        "seed": config.seed,
        "duplicates": portable.plan.duplicates,
        "resolved": portable.plan.resolved,
        "words": portable.words,
    }
    with replacing(path, sync=True) as file:
        pq.write_table(table.replace_schema_metadata({KEY: json.dumps(shared).encode()}), file, compression="zstd")


def _packed(task: Task) -> dict[str, Any]:
    return {
        "data": task.data.model_dump(mode="json"),
        "model": task.model.model_dump(mode="json"),
        "train": task.train.model_dump(mode="json"),
        "facts": asdict(task.facts),
        "batch_size": task.batch_size,
        "steps": task.steps,
        "init": asdict(task.init) if task.init else None,
        "ranks": task.ranks,
    }


def _unpacked(stored: Mapping[str, Any]) -> Task:
    return Task(
        Data.model_validate(stored["data"]),
        Model.model_validate(stored["model"]),
        Train.model_validate(stored["train"]),
        DataFacts.loaded(stored["facts"]),
        stored["batch_size"],
        stored["steps"],
        Init(**stored["init"]) if stored["init"] else None,
        stored["ranks"],
    )


def read(path: Path) -> Portable:
    """A plan from its file.

    Raises:
        InputError: it cannot be read, was made by another version, or an own class of it cannot be imported here.
    """
    try:
        table = pq.read_table(readable(path), partitioning=None)
        shared = json.loads(table.schema.metadata[KEY])
        tasks = [_unpacked(each) for each in shared["tasks"]]
        columns: Sequence[Sequence[Any]] = [table[name].to_pylist() for name in COLUMNS]
        runs = tuple(
            Run(id_, arm, tasks[task], _optimizer(optimizer), _schedule(schedule), seed, stage, search)
            for id_, arm, task, optimizer, schedule, seed, stage, search in zip(*columns, strict=True)
        )
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, ValidationError) as error:
        raise InputError(
            f"{path}: no plan that this adamcmp can read ({one_line(error)}); sweep again with execute=slurm"
        ) from error
    for run in runs[:1] + runs[-1:]:
        if run.id != run_id(run.task, rule_identity(run.optimizer), rule_identity(run.schedule), run.seed):
            raise InputError(f"{path}: its runs have other ids here; install the adamcmp that planned them")
    first = runs[0]
    config = Config(
        data=first.task.data,
        model=first.task.model,
        optimizer=first.optimizer,
        schedule=first.schedule,
        train=first.task.train,
        seed=shared["seed"],
        execute=Execute.model_validate(shared["execute"]),
        report=shared["report"],
        search=shared["search"],
        log=shared["log"],
        study=Study.model_validate(shared["study"]),
    )
    return Portable(Plan(config, runs, shared["duplicates"], shared["resolved"]), tuple(shared["words"]))


@cache
def _optimizer(text: str) -> AnyRule:
    values = json.loads(text)
    if "target" in values:
        return OwnOptimizer.model_validate(values)
    kind: Any = rule_class(values["rule"]) if values["rule"] in shipped() else find(values["rule"], "optimizer")
    found: AnyRule = kind.model_validate(values)
    return found


@cache
def _schedule(text: str) -> AnySchedule:
    found: AnySchedule = TypeAdapter(AnySchedule).validate_json(text)
    return found
