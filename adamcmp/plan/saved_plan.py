"""A plan as one file, for workers that have only the results folder and the package.

Runs are rows of a Parquet table, a few bytes each: shared settings (tasks, the study) are JSON in the
file's metadata, and texts that repeat are stored once. Nothing in it is code: custom classes are named, and have to be
importable where it is read.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from adamcmp.config.instantiate import find_target, nested_targets
from adamcmp.config.schema import (
    AnyRule,
    AnySchedule,
    Config,
    CustomOptimizer,
    ExecutionSettings,
    ScriptOptimizer,
    Study,
)
from adamcmp.config.trust import check_programs, check_targets
from adamcmp.errors import InputError, one_line
from adamcmp.optim.rule import builtin_rule_names, rule_class
from adamcmp.plan.expand import Plan
from adamcmp.plan.programs import ProgramTask
from adamcmp.plan.run_ids import rule_identity, run_id
from adamcmp.plan.runs import Run, TaskSpec, mark_only_trials
from adamcmp.storage.backend import atomic_write

METADATA_KEY = b"adamcmp_plan"
COLUMNS = ("run_id", "arm", "task", "optimizer", "schedule", "seed", "stage", "search")


@dataclass(frozen=True)
class SavedPlan:
    """A plan on its way to workers."""

    plan: Plan
    words: tuple[str, ...]
    """The command that each record names."""


def write_plan(portable: SavedPlan, path: Path) -> str:
    """Put a plan into a file, and return the SHA-256 of its bytes.

    Raises:
        InputError: it cannot be written.
    """
    runs, config = portable.plan.runs, portable.plan.config
    tasks = list({run.task.key: run.task for run in runs}.values())
    place = {task.key: i for i, task in enumerate(tasks)}
    texts: dict[int, str] = {}

    def text(settings: AnyRule | AnySchedule) -> str:
        key = id(settings)  # seeds share the object, which some custom class may not let be hashed
        if key not in texts:
            texts[key] = settings.model_dump_json()
        return texts[key]

    rows = [
        (run.id, run.arm, place[run.task.key], text(run.optimizer), text(run.schedule), run.seed, run.stage, run.search)
        for run in runs
    ]
    table = pa.table({name: pa.array(column) for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=True)})
    shared = {
        "tasks": [
            _task_adapter(is_program=isinstance(task, ProgramTask)).dump_python(task, mode="json") for task in tasks
        ],
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
    content = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({METADATA_KEY: json.dumps(shared).encode()}), content, compression="zstd"
    )
    with atomic_write(path, sync=True) as file:
        file.write(content.getvalue())
    return hashlib.sha256(content.getvalue()).hexdigest()


@cache
def _task_adapter(*, is_program: bool) -> TypeAdapter[Any]:
    return TypeAdapter(ProgramTask if is_program else TaskSpec)


def read_plan(path: Path, *, trust: bool, digest: str | None = None) -> SavedPlan:
    """Return a plan from its file.

    Args:
        path: the file, which anybody who can write to the results folder may have changed.
        trust: whether it may name other classes and functions than shipped configurations do.
        digest: SHA-256 of a plan that is trusted, since who reads it has written it.

    Raises:
        InputError: it cannot be read, was made by another version, names code that is not trusted, or a custom class
            of it cannot be imported here.
    """
    try:
        content = path.read_bytes()
        table = pq.read_table(io.BytesIO(content), partitioning=None)
        trust = trust or hashlib.sha256(content).hexdigest() == digest
        shared = json.loads(table.schema.metadata[METADATA_KEY])
        if not trust:
            check_targets(_referenced_names(shared, table), str(path))
            check_programs([task["program"] for task in shared["tasks"] if "program" in task], str(path))
        tasks = [_task_adapter(is_program="program" in task).validate_python(task) for task in shared["tasks"]]
        columns: Sequence[Sequence[Any]] = [table[name].to_pylist() for name in COLUMNS]
        runs = mark_only_trials([
            Run(id_, arm, tasks[task], _optimizer(optimizer), _schedule(schedule), seed, stage, search)
            for id_, arm, task, optimizer, schedule, seed, stage, search in zip(*columns, strict=True)
        ])  # fmt: skip
    except InputError:
        raise
    except Exception as error:  # damaged bytes make libraries raise anything
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
        program=first.task.program if isinstance(first.task, ProgramTask) else None,
        train=first.task.train,
        seed=shared["seed"],
        execute=ExecutionSettings.model_validate(shared["execute"]),
        report=shared["report"],
        search=shared["search"],
        log=shared["log"],
        study=Study.model_validate(shared["study"]),
    )
    return SavedPlan(Plan(config, runs, shared["duplicates"], shared["resolved"]), tuple(shared["words"]))


def _referenced_names(shared: Mapping[str, Any], table: pa.Table) -> set[str]:
    """Return the dotted names of a plan, each of which is imported where it is trained."""
    texts = {text for name in ("optimizer", "schedule") for text in table[name].unique().to_pylist()}
    settings = [json.loads(text) for text in texts]
    trains = [task["train"] for task in shared["tasks"]]
    losses = [train["loss"] for train in trains if isinstance(train["loss"], dict)]
    sections = [task[part] for task in shared["tasks"] for part in ("data", "model")]
    targets = {section["target"] for section in (*settings, *losses, *sections) if "target" in section}
    arguments = [section.get("arguments", {}) for section in (*settings, *losses, *sections)]
    targets |= {target for argument in arguments for target in nested_targets(argument)}
    targets |= {setting["rule"] for setting in settings if "." in str(setting.get("rule", ""))}
    return targets | {metric for train in trains for metric in train["metrics"] if "." in metric}


@cache
def _optimizer(text: str) -> AnyRule:
    values = json.loads(text)
    if "choice" in values:
        return ScriptOptimizer.model_validate(values)
    if "target" in values:
        return CustomOptimizer.model_validate(values)
    kind: Any = (
        rule_class(values["rule"])
        if values["rule"] in builtin_rule_names()
        else find_target(values["rule"], "optimizer")
    )
    optimizer: AnyRule = kind.model_validate(values)
    return optimizer


@cache
def _schedule(text: str) -> AnySchedule:
    schedule: AnySchedule = TypeAdapter(AnySchedule).validate_json(text)
    return schedule
