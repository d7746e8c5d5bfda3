"""Runs and cohorts: what one training is, what identifies it, and what is trained together.

A run's id is a hash of what determines its numbers: the examples of its data set, model, optimizer, schedule,
budget, precision, seed and the record schema's version. Names, labels, folders and devices do not enter it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from adamcmp.config.build import source_hash
from adamcmp.config.schema import SGD, Adagrad, Adam, AnySchedule, Data, Model, OwnOptimizer, Train
from adamcmp.plan.evaluations import Evaluations, evaluations
from adamcmp.records import SCHEMA_VERSION

AnyRule = Adam | Adagrad | SGD | OwnOptimizer
NAMES = {"name", "label"}


@dataclass(frozen=True)
class DataFacts:
    """What planning needs to know of a loaded data set."""

    fingerprint: str
    train_examples: int
    num_classes: int
    input_shape: tuple[int, ...]
    validation_examples: int
    test_examples: int
    num_tokens: int = 0
    """One more than the largest token; 0 for inputs that are not tokens."""
    bytes_per_label: Mapping[str, float] = field(default_factory=dict)
    """Of text, by part: how many bytes a label stands for on average."""
    majority_errors: Mapping[str, float] = field(default_factory=dict)
    """By part: the error of always naming the most common class of training."""


@dataclass(frozen=True)
class Task:
    """What all compared runs share: data, model, budget and precision, with the budget in steps."""

    data: Data
    model: Model
    train: Train
    facts: DataFacts
    batch_size: int
    steps: int

    @property
    def steps_per_epoch(self) -> int:
        """⌊N/B⌋: an epoch is one pass in whole batches."""
        return self.facts.train_examples // self.batch_size

    @property
    def epochs(self) -> float:
        """The budget in epochs."""
        return self.steps / self.steps_per_epoch

    @property
    def evaluations(self) -> Evaluations:
        """When all parts are evaluated, and on how many examples."""
        parts = (self.facts.train_examples, self.facts.validation_examples, self.facts.test_examples)
        return evaluations(self.train, parts, self.batch_size, self.steps)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What of it determines numbers."""
        return {
            "schema": SCHEMA_VERSION,
            "data": [self.facts.fingerprint, self.facts.train_examples],
            "model": self.model.model_dump(mode="json", exclude=NAMES),
            "batch_size": self.batch_size,
            "steps": self.steps,
            "eval_steps": self.evaluations.steps,
            "eval_examples": [self.evaluations.before, self.evaluations.last],
            "precision": self.train.precision,
            **({"augment": self.data.augment} if self.data.augment else {}),  # older ids know of neither
            **({"metrics": [_identified(each) for each in self.train.metrics]} if self.train.metrics else {}),
        }

    @cached_property
    def key(self) -> str:
        """Hash of ``identity``."""
        return _hash(canonical(self.identity))

    @property
    def label(self) -> str:
        """For people: ``digits · mlp · 500 steps × 100``."""
        return f"{self.data.name} · {self.model.name} · {self.steps:,} steps × {self.batch_size:,}"


@dataclass(frozen=True, slots=True)
class Run:
    """One training: a task, an optimizer, a schedule and a seed."""

    id: str
    arm: str
    task: Task = field(repr=False)
    optimizer: AnyRule
    schedule: AnySchedule
    seed: int

    def settings(self) -> dict[str, Any]:
        """All that identifies it, and the names, as plain values."""
        return {
            **self.task.identity,
            "evaluation_share": self.task.evaluations.share,
            "data_settings": self.task.data.model_dump(mode="json"),
            "model": self.task.model.model_dump(mode="json"),
            "optimizer": self.optimizer.model_dump(mode="json"),
            "schedule": self.schedule.model_dump(mode="json"),
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Cohort:
    """Runs of one task whose updates have one form, so that one program can train them."""

    task: Task
    kernel: str
    runs: tuple[Run, ...]


def _identified(metric: str) -> str:
    """The name of a metric, an own one's with the hash of its source: editing it makes new runs."""
    source = source_hash(metric) if "." in metric else None
    return f"{metric}@{source}" if source else metric


def canonical(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values, such as 0 and 0.0, have equal text."""
    return json.dumps(_whole(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _whole(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case Mapping():
            return {key: _whole(each) for key, each in value.items()}
        case list() | tuple():
            return [_whole(each) for each in value]
    return value


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def rule_identity(settings: BaseModel) -> str:
    """What of an optimizer or a schedule determines numbers, as canonical JSON."""
    return canonical(settings.model_dump(mode="json", exclude=NAMES))


def variant(optimizer: AnyRule, schedule: AnySchedule) -> str:
    """Hash of what runs share that differ in lr, λ and seed alone."""
    dump = optimizer.model_dump(mode="json", exclude={*NAMES, "lr", "weight_decay"})
    return _hash(f"{canonical(dump)}|{rule_identity(schedule)}")


def run_id(task: Task, optimizer: str, schedule: str, seed: int) -> str:
    """The id of a run; ``optimizer`` and ``schedule`` are ``rule_identity`` texts."""
    return _hash(f"{task.key}|{optimizer}|{schedule}|{seed}")


def kernel(optimizer: AnyRule) -> str:
    """The form of an update: rules of ours share a kernel, an own optimizer has its own."""
    match optimizer:
        case Adam() | Adagrad():
            return "adaptive"
        case SGD():
            return "momentum"
        case OwnOptimizer():
            return optimizer.target


def cohorts(runs: Iterable[Run]) -> tuple[Cohort, ...]:
    """Group runs by task and kernel; the order of runs is kept within a cohort."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.task.key, kernel(run.optimizer)), []).append(run)
    return tuple(Cohort(members[0].task, form, tuple(members)) for (_, form), members in groups.items())
