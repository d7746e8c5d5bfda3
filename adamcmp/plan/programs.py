"""Tasks of the user's own programs: a training script or function takes the place of data, model and loss."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from adamcmp.config.program import Program, check_placeholders
from adamcmp.config.schema import AnySchedule, Config, Data, Model, ScriptOptimizer
from adamcmp.config.validate import UNKNOWN_STEPS
from adamcmp.errors import InputError
from adamcmp.metrics.spec import MetricSpec, TaskMetrics
from adamcmp.plan.evaluation_schedule import EvaluationSchedule
from adamcmp.plan.run_ids import canonical_json, short_hash
from adamcmp.plan.runs import DatasetMetadata, Run, TaskSpec
from adamcmp.storage.schema import SCHEMA_VERSION

NO_PROGRAM = Program(kind="script", command=("",))


PLACE = ("folder", "file_hashes")
"""Fields of ``Program`` that say where it is, and do not identify it."""


@dataclass(frozen=True)
class ReportedMetrics:
    """Names of a program's metrics among the values that it reports, and how they are read."""

    validation: str
    test: str | None
    train: str | None = None
    train_loss: str | None = None
    validation_loss: str | None = None
    test_loss: str | None = None
    higher_is_better: bool = False
    unit: str = ""
    """``%`` of shares and percentages, else a unit to show."""
    factor: float = 1.0
    """Factor from reported to stored values: 0.01 for percentages."""
    test_factor: float | None = None
    """Factor of the test metric; None: ``factor``."""
    train_factor: float | None = None
    """Factor of the metric on training data; None: ``factor``."""

    def factor_of(self, split: Literal["train", "test"]) -> float:
        """Return the factor from reported to stored values of a split."""
        factor = self.test_factor if split == "test" else self.train_factor
        return self.factor if factor is None else factor

    @property
    def is_share(self) -> bool:
        """Whether stored values are shares of 1."""
        return self.unit == "%"

    @property
    def spec(self) -> MetricSpec:
        """The metric that optimizers are compared by."""
        name = re.sub(r"^(validation|valid|val|dev|eval|test)[_/.: -]*", "", self.validation, flags=re.IGNORECASE)
        label = re.sub(r"[_/.]+", " ", name).strip() or "metric"
        return MetricSpec(re.sub(r"[^\w.:-]", "_", name) or "metric", label, "", self.unit, self.higher_is_better)


@dataclass(frozen=True)
class ProgramTask(TaskSpec):
    """A task that a script or function defines: its data, model and loss are not known."""

    program: Program = NO_PROGRAM
    reported: ReportedMetrics | None = None
    """Metrics that its check has found; None before it. Not part of the identity."""

    @property
    def steps_per_epoch(self) -> int:
        """0: not known."""
        return 0

    @property
    def epochs(self) -> float:
        """NaN: not known."""
        return float("nan")

    @property
    def has_steps(self) -> bool:
        """Whether ``train.steps`` is set."""
        return self.steps != UNKNOWN_STEPS

    @property
    def evaluations(self) -> EvaluationSchedule:
        """One evaluation after the last step stands for those of the program."""
        return EvaluationSchedule((self.steps,), (0, 0, 0), (0, 0, 0), 0.0)

    @cached_property
    def criteria(self) -> TaskMetrics:
        """The metric that the check has found."""
        spec = MetricSpec("metric", "metric") if self.reported is None else self.reported.spec
        return TaskMetrics("reported", spec)

    @property
    def baselines(self) -> Mapping[str, float]:
        """None is known."""
        return {}

    @property
    def recipe(self) -> dict[str, Any]:
        """Values of ``params``, in which compared runs may differ."""
        return {"params": dict(self.program.params)} if self.program.params else {}

    @cached_property
    def comparison(self) -> str:
        """Hash of everything that compared runs share: the program and its budget."""
        shared = {key: value for key, value in self.identity.items() if key != "params"}
        return short_hash(canonical_json(shared))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Settings that determine numbers: the command or function, its source, metrics and budget."""
        program = self.program.model_dump(mode="json", exclude={"params", *PLACE})
        return {"schema": SCHEMA_VERSION, "program": program, "steps": self.steps, **self.recipe}

    @property
    def label(self) -> str:
        """Human-readable label: ``train.py · script``, with the steps if they are set."""
        steps = [f"{self.steps:,} steps"] if self.has_steps else []
        return " · ".join([self.program.name, self.program.kind, *steps])


def build_program_task(config: Config) -> tuple[ProgramTask, AnySchedule]:
    """Return the task and the schedule of a configuration with a program."""
    program = config.program
    assert program is not None
    steps = config.train.steps or UNKNOWN_STEPS
    name = Path(program.name).name
    fingerprint = short_hash(canonical_json(program.model_dump(mode="json", exclude={"params", *PLACE})))
    task = ProgramTask(
        data=Data(name=name, target="", source=None, arguments={}),
        model=Model(name=program.kind, target="", source=program.source, arguments={}),
        train=config.train,
        facts=DatasetMetadata(fingerprint, 0, 0, (), 0, 0),
        batch_size=1,
        steps=steps,
        program=program,
    )
    if config.schedule.warmup_steps >= steps:
        raise InputError(
            f"schedule.warmup_steps={config.schedule.warmup_steps}: must be less than the budget; give train.steps"
        )
    return task, config.schedule


def program_of(runs: Iterable[Run]) -> Program | None:
    """Return the program of runs; None if adamcmp trains them itself."""
    first = next(iter(runs), None)
    return first.task.program if first is not None and isinstance(first.task, ProgramTask) else None


def check_script_runs(runs: Sequence[Run], held_out_seeds: int) -> None:
    """Refuse a script whose placeholders do not fit the runs that are planned.

    Raises:
        InputError: for the first fault.
    """
    program = program_of(runs)
    if program is None or program.kind != "script":
        return
    optimizers = [run.optimizer for run in runs if isinstance(run.optimizer, ScriptOptimizer)]
    settings = {key for optimizer in optimizers for key in optimizer.arguments}
    values: dict[str, set[str]] = {
        "optimizer": {optimizer.choice for optimizer in optimizers},
        "optimizer.weight_decay": {str(optimizer.weight_decay) for optimizer in optimizers},
        "seed": {str(run.seed) for run in runs} | ({"held out"} if held_out_seeds else set()),
    }
    for key in settings:
        values[f"optimizer.{key}"] = {str(optimizer.arguments.get(key)) for optimizer in optimizers}
    for run in runs:
        assert isinstance(run.task, ProgramTask)
        for name, value in run.task.program.params.items():
            values.setdefault(f"params.{name}", set()).add(str(value))
    varying = [key for key, every in values.items() if len(every) > 1]
    given = [key for key in settings if f"optimizer.{key}" not in varying]
    task = runs[0].task
    assert isinstance(task, ProgramTask)
    check_placeholders(program, settings, [*varying, *(f"optimizer.{key}" for key in given)], steps=task.has_steps)


def with_metrics(runs: Sequence[Run], reported: ReportedMetrics) -> list[Run]:
    """Return runs of a program with the metrics that its check has found."""
    tasks: dict[int, TaskSpec] = {}

    def resolved(task: TaskSpec) -> TaskSpec:
        if id(task) not in tasks:
            tasks[id(task)] = replace(task, reported=reported) if isinstance(task, ProgramTask) else task
        return tasks[id(task)]

    return [replace(run, task=resolved(run.task)) for run in runs]


def placeholder_values(run: Run, folder: str) -> dict[str, Any]:
    """Return the values of a command's placeholders for one run.

    A data split is a split seed: that of the run, so that every seed has its own.
    """
    task, optimizer = run.task, run.optimizer
    assert isinstance(task, ProgramTask)
    assert isinstance(optimizer, ScriptOptimizer)
    return {
        "optimizer": optimizer.choice,
        "lr": optimizer.lr,
        "weight_decay": optimizer.weight_decay,
        "seed": run.seed,
        "split_seed": run.seed,
        "steps": task.steps,
        "folder": folder,
        **optimizer.arguments,
        **{f"optimizer.{key}": value for key, value in optimizer.arguments.items()},
        **{f"params.{key}": value for key, value in task.program.params.items()},
    }
