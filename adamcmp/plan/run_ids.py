"""IDs of runs: hashes of the settings that determine numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from adamcmp.config.schema import AnyRule, AnySchedule, CustomOptimizer
from adamcmp.optim.rule import Rule

if TYPE_CHECKING:
    from adamcmp.plan.runs import TaskSpec

NAME_FIELDS = {"name", "label"}


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no white space: equal values, such as 0 and 0.0, have equal text."""
    return json.dumps(_normalize_numbers(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _normalize_numbers(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case Mapping():
            return {key: _normalize_numbers(item) for key, item in value.items()}
        case list() | tuple():
            return [_normalize_numbers(item) for item in value]
    return value


def short_hash(text: str) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def rule_identity(settings: BaseModel) -> str:
    """Return the settings of an optimizer or a schedule that determine numbers, as canonical JSON."""
    return canonical_json(_identifying_settings(settings, NAME_FIELDS))


def _identifying_settings(settings: BaseModel, exclude: set[str]) -> dict[str, Any]:
    """Return all settings but some; absent ones are left out, since older IDs do not contain them."""
    dump = settings.model_dump(mode="json", exclude=exclude)
    absent: set[str] = set()
    if isinstance(settings, CustomOptimizer):
        absent = {"has_decay"} | {key for key in ("groups", "built") if not getattr(settings, key)}
        if settings.has_decay or not settings.decay_given:  # else the class may use the given λ unseen
            absent |= {"decay_given"}
    if isinstance(settings, Rule):
        usual = {key: Rule.model_fields[key].default for key in ("groups", "source", "width_lr", "width_decay")}
        absent = {key for key, value in usual.items() if getattr(settings, key) == value}
    return {key: value for key, value in dump.items() if key not in absent}


def variant_hash(optimizer: AnyRule, schedule: AnySchedule) -> str:
    """Return the hash that runs share if they differ only in lr, λ and seed."""
    dump = _identifying_settings(optimizer, {*NAME_FIELDS, "lr", "weight_decay"})
    return short_hash(f"{canonical_json(dump)}|{rule_identity(schedule)}")


def run_id(task: TaskSpec, optimizer: str, schedule: str, seed: int) -> str:
    """Return the id of a run; ``optimizer`` and ``schedule`` are ``rule_identity`` texts."""
    return short_hash(f"{task.key}|{optimizer}|{schedule}|{seed}")
