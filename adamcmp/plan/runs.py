"""Runs and run groups: one training, its identity, and the runs that one program can train together.

A run's ID is a hash of everything that determines its numbers: the examples of its data set, model, optimizer,
schedule, budget, precision, seed and the record schema's version. Names, labels, folders and devices do not enter it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from adamcmp.config.schema import (
    AnyRule,
    AnySchedule,
    CustomLoss,
    CustomOptimizer,
    Data,
    Loss,
    Model,
    ScriptOptimizer,
    Train,
)
from adamcmp.config.source_hash import source_hash
from adamcmp.metrics.spec import LOSS_NAMES, METRIC_SPECS, Targets, TaskMetrics, metric_spec
from adamcmp.plan.evaluation_schedule import EvaluationSchedule, schedule_evaluations
from adamcmp.plan.run_ids import NAME_FIELDS, canonical_json, rule_identity, short_hash
from adamcmp.storage.schema import SCHEMA_VERSION, Stage

Shape = tuple[int, ...] | tuple[tuple[int, ...], ...] | dict[str, tuple[int, ...]]
"""Shape of an example: of its only input, or of each of several."""
MAX_COUNTED_CLASSES = 1000
"""Classes whose training examples are counted."""


@dataclass(frozen=True)
class DatasetMetadata:
    """Metadata of a loaded data set that planning needs."""

    fingerprint: str
    train_examples: int
    num_outputs: int
    """Classes, quantities or labels."""
    input_shape: Shape
    validation_examples: int
    test_examples: int
    num_tokens: int = 0
    """One more than the largest token; 0 for inputs that are not tokens."""
    bytes_per_label: Mapping[str, float] = field(default_factory=dict)
    """Mean number of bytes per label of text, by split."""
    targets: Targets = "classes"
    unit: str = ""
    """Unit of quantities."""
    target_mean: tuple[float, ...] = ()
    """Mean of each standardized quantity; empty if they are not standardized."""
    target_std: tuple[float, ...] = ()
    class_counts: tuple[int, ...] = ()
    """Training examples of each class, or that have each label; empty where there are very many."""
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Error of the best constant prediction, by metric and split."""


@dataclass(frozen=True)
class InitWeights:
    """Weights that runs start from."""

    path: str
    digest: str
    """Hash of the file, which is part of a run ID."""
    skip: tuple[str, ...] = ()
    """Patterns of parameters that keep their initial values."""
    strict: bool = True
    """The file and the model hold the same other parameters."""

    @property
    def identity(self) -> object:
        """The part of a run ID: the hash alone where all is loaded."""
        return [self.digest, list(self.skip), self.strict] if self.skip or not self.strict else self.digest


@dataclass(frozen=True)
class TaskSpec:
    """Data, model, loss, budget and precision that runs of one program share, with the budget in steps."""

    data: Data
    model: Model
    train: Train
    facts: DatasetMetadata
    batch_size: int
    """B, examples of a step: all batches of one that accumulates."""
    steps: int
    init: InitWeights | None = None
    ranks: int = 1
    """Processes that share each batch: dropout and batch norm of each see its own examples alone."""

    @property
    def steps_per_epoch(self) -> int:
        """⌊N/B⌋: an epoch is one pass in whole batches."""
        return self.facts.train_examples // self.batch_size

    @property
    def epochs(self) -> float:
        """The budget in epochs."""
        return self.steps / self.steps_per_epoch

    @property
    def evaluations(self) -> EvaluationSchedule:
        """When all parts are evaluated, and on how many examples."""
        parts = (self.facts.train_examples, self.facts.validation_examples, self.facts.test_examples)
        return schedule_evaluations(self.train, parts, self.batch_size, self.steps)

    @cached_property
    def criteria(self) -> TaskMetrics:
        """Loss and primary metric."""
        targets, loss, error = self.facts.targets, self.train.loss, self.train.error
        custom = loss.target if isinstance(loss, CustomLoss) else None
        named = LOSS_NAMES[targets][0] if isinstance(loss, CustomLoss) or loss.name == "auto" else loss.name
        name = METRIC_SPECS[targets][0].name if error == "auto" else error
        return TaskMetrics(custom or named, metric_spec(name, self.facts.unit))

    @property
    def baselines(self) -> Mapping[str, float]:
        """Error of the best constant prediction, by split."""
        return self.facts.baselines.get(self.criteria.error.name, {})

    @property
    def recipe(self) -> dict[str, Any]:
        """Settings of training besides optimizer and schedule, in which compared runs may differ.

        Settings with their default are left out, since older IDs do not contain them.
        """
        train, recipe = self.train, dict[str, Any]()
        if isinstance(train.loss, CustomLoss):
            recipe["loss"] = train.loss.model_dump(mode="json")
        elif loss := _loss_identity(train.loss, self.criteria.loss, LOSS_NAMES[self.facts.targets][0]):
            recipe["loss"] = loss
        for key in ("clip_norm", "ema"):
            if getattr(train, key) is not None:
                recipe[key] = getattr(train, key)
        if train.accumulate > 1:
            recipe["accumulate"] = train.accumulate
        return recipe | ({"augment": self.data.augment} if self.data.augment else {})

    @cached_property
    def comparison(self) -> str:
        """Hash of everything that compared runs share: data, model, budget and evaluations as given, precision, metric.

        Batch size and ``recipe`` may differ, since their effect is a question of its own.
        """
        names = ("schema", "data", "model", "precision", "init", "metrics")
        shared = {key: self.identity[key] for key in names if key in self.identity}
        fields = ("steps", "epochs", "evaluations", "eval_examples", "evaluation_share")
        return short_hash(
            canonical_json({**shared, **self.train.model_dump(include=set(fields)), "error": self.criteria.error.name})
        )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Settings of the task that determine numbers."""
        error = self.criteria.error.name
        return {
            "schema": SCHEMA_VERSION,
            "data": [self.facts.fingerprint, self.facts.train_examples],
            "model": self.model.model_dump(mode="json", exclude=NAME_FIELDS),
            "batch_size": self.batch_size,
            "steps": self.steps,
            "eval_steps": self.evaluations.steps,
            "eval_examples": [self.evaluations.before, self.evaluations.last],
            "precision": self.train.precision,
            **self.recipe,
            **({} if error == METRIC_SPECS[self.facts.targets][0].name else {"error": error}),
            **({"init": self.init.identity} if self.init else {}),
            **({"ranks": self.ranks} if self.ranks > 1 else {}),
            **({"metrics": [_metric_identity(metric) for metric in self.train.metrics]} if self.train.metrics else {}),
        }

    @cached_property
    def key(self) -> str:
        """Hash of ``identity``."""
        return short_hash(canonical_json(self.identity))

    @property
    def label(self) -> str:
        """Human-readable label: ``digits · mlp · 500 steps × 100``; data from a path with its name."""
        path = self.data.arguments.get("path")
        data = f"{self.data.name} {Path(path).name}" if isinstance(path, str) else self.data.name
        return f"{data} · {self.model.name} · {self.steps:,} steps × {self.batch_size:,}"


@dataclass(frozen=True, slots=True)
class Run:
    """One training: a task, an optimizer, a schedule and a seed."""

    id: str
    arm: str
    task: TaskSpec = field(repr=False)
    optimizer: AnyRule
    schedule: AnySchedule
    seed: int
    stage: Stage = "tune"
    """Purpose of the run: tuning, held-out evaluation or ``settle``. It is not part of the ID."""
    search: str | None = None
    """Method and settings of the search that drew it, such as ``tpe over lr, betas``: its runs are one optimizer. It is
    not part of the ID.
    """
    is_only_trial: bool = False
    """No optimizer of its plan has a second trial, so that tuning runs are compared. It does not enter the id."""

    @property
    def stores_examples(self) -> bool:
        """Whether its per-example errors on the test split are stored: it is compared, not only selected from."""
        return self.stage != "tune" or self.is_only_trial

    @property
    def comparison(self) -> str:
        """Hash of everything that compared runs share: the task's, or the shared settings if a search tries models."""
        if self.search is None or not any(key in self.search for key in ("model.", "train.", "data.")):
            return self.task.comparison
        task = self.task
        train_settings = task.train.model_dump(include={"steps", "epochs", "evaluations", "evaluation_share"})
        shared = {
            "data": task.identity["data"],
            "precision": task.train.precision,
            **train_settings,
            "search": self.search,
        }
        return short_hash(canonical_json({**shared, "model": task.model.target, "error": task.criteria.error.name}))

    def settings(self) -> dict[str, Any]:
        """Return all that identifies it, and the names, as plain values."""
        return {
            **self.task.identity,
            "targets": self.task.facts.targets,
            "evaluation_share": self.task.evaluations.share,
            "data_settings": self.task.data.model_dump(mode="json"),
            "model": self.task.model.model_dump(mode="json"),
            "optimizer": self.optimizer.model_dump(mode="json"),
            "schedule": self.schedule.model_dump(mode="json"),
            "seed": self.seed,
        }


def optimizer_key(run: Run) -> tuple[str, str, str]:
    """Return a key of the optimizer of a run: all settings but lr, λ and seed, or the search that drew them."""
    if run.search is not None:
        return run.comparison, run.search, run.optimizer.name
    same = run.optimizer.model_copy(update={"lr": 1.0, "weight_decay": 0.0})
    return run.task.key, rule_identity(same), rule_identity(run.schedule)


def has_selection(runs: Iterable[Run]) -> bool:
    """Return whether an optimizer among these runs has several trials, so that one of them is selected."""
    trials: dict[object, set[tuple[float, float]]] = {}
    for run in runs:
        trials.setdefault(optimizer_key(run), set()).add((run.optimizer.lr, run.optimizer.weight_decay))
    return any(len(trial) > 1 for trial in trials.values())


def mark_only_trials(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Return the runs of a plan; where no optimizer has a second trial, ``is_only_trial`` is set."""
    if has_selection(runs) or any(run.search for run in runs):
        return tuple(runs)
    return tuple(replace(run, is_only_trial=True) for run in runs)


@dataclass(frozen=True)
class RunGroup:
    """Runs of one task whose updates have one form, so that one program can train them."""

    task: TaskSpec
    kernel: str
    runs: tuple[Run, ...]

    @property
    def patterns(self) -> GroupPatterns:
        """Patterns of parameter groups, the same in all runs."""
        return group_patterns(self.runs[0].optimizer)


GroupPatterns = tuple[tuple[str, ...], ...]


def group_patterns(optimizer: AnyRule) -> GroupPatterns:
    """Return the patterns of each of an optimizer's groups."""
    return tuple(group.patterns for group in optimizer.groups)


def _loss_identity(loss: Loss, name: str, usual: str) -> dict[str, Any]:
    """Return the settings of a loss that determine numbers, if it is not the default."""
    other = {
        **({"label_smoothing": loss.label_smoothing} if loss.label_smoothing else {}),
        **({"class_weights": loss.class_weights} if loss.class_weights is not None else {}),
        **({"delta": loss.delta} if name == "huber" else {}),
    }
    return {"name": name, **other} if other or name != usual else {}


def _metric_identity(metric: str) -> str:
    """Return the name of a metric; for a custom one with the hash of its source, so that editing it makes new runs."""
    source = source_hash(metric) if "." in metric else None
    return f"{metric}@{source}" if source else metric


def update_kernel_name(optimizer: AnyRule) -> str:
    """Return the name of the form of an update; runs share it where one program can train them."""
    match optimizer:
        case CustomOptimizer():
            return optimizer.target
        case ScriptOptimizer():
            return optimizer.choice
    return optimizer.kernel.name


def group_runs(runs: Iterable[Run]) -> tuple[RunGroup, ...]:
    """Group runs by task, kernel and parameter groups; the order of runs is kept within a run group."""
    groups: dict[tuple[str, str, GroupPatterns], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.task.key, update_kernel_name(run.optimizer), group_patterns(run.optimizer)), []).append(
            run
        )
    return tuple(RunGroup(members[0].task, form, tuple(members)) for (_, form, _), members in groups.items())
