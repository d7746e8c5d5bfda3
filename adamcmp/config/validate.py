"""Validate a composed configuration: plain values become typed settings, or an error in one line."""

from __future__ import annotations

import importlib
import inspect
import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adamcmp.base_settings import Settings
from adamcmp.config.compose import Composed
from adamcmp.config.instantiate import find_target, nested_targets
from adamcmp.config.lookup import ConfigSource, shipped_configs
from adamcmp.config.program import Program, make_program
from adamcmp.config.schema import (
    AnyRule,
    Config,
    CustomOptimizer,
    Data,
    ExecutionSettings,
    Model,
    ScriptOptimizer,
    Study,
    Train,
)
from adamcmp.config.source_hash import combined_source_hash, source_hash
from adamcmp.errors import InputError, suggest_names
from adamcmp.optim.rule import Rule, builtin_rule_names, rule_class
from adamcmp.text_safety import to_one_line

SCHEDULES = ("constant", "drop_step", "cosine", "warm_restarts", "linear", "warmup_stable_decay")
SECTIONS: dict[str, type[Settings]] = {
    "data": Data,
    "model": Model,
    "train": Train,
    "study": Study,
    "execute": ExecutionSettings,
}
UNKNOWN_STEPS = 1
"""Steps of a program that decides itself: one stands for the whole run."""
PROGRAM_KEYS = ("command", "shell", "files", "target", "params", "metrics")
"""Top-level keys of the configuration of a program."""
FOR_TORCH = ("torch", "pytorch_optimizer")


def _default_name(source: ConfigSource, values: Mapping[str, Any], program: Program | None) -> str:
    """Return the name of a study without one: that of its configuration, and of your data for a shipped one.

    So the results of two files do not share a folder: ``table_flats`` of ``data.path=flats.csv``, and ``train`` of
    ``train.py``.
    """
    if program is not None and source.folder == shipped_configs():
        return safe_stem(program.name.replace(".py", "")) or source.stem
    data = values.get("data")
    path = data.get("path") if isinstance(data, Mapping) else None
    if not isinstance(path, str) or source.folder != shipped_configs():
        return source.stem
    name = safe_stem(path)
    return f"{source.stem}_{name}"[:100] if name else source.stem


def safe_stem(path: str) -> str:
    """Return the name of a file without its endings, in characters that a folder's name may have.

    >>> safe_stem("/data/my flats.csv.gz")
    'my_flats'
    """
    return re.sub(r"[^\w.+=-]+", "_", Path(path).name.partition(".")[0]).strip("_. ")


def validate_config(composed: Composed, source: ConfigSource) -> Config:
    """Validate a composed configuration.

    Raises:
        InputError: one line for the first bad setting: key and value, allowed values, and the file to correct.
    """
    values = dict(composed.values)
    kind = values.pop("program", None)
    program = _program(kind, values, composed) if kind in ("script", "function") else None
    for key in PROGRAM_KEYS if program else ():
        values.pop(key, None)
    study = _section(values, "study") if values.get("study") else {}
    study["name"] = study.get("name") or _default_name(source, values, program)
    if composed.scale and isinstance(study["name"], str):
        study["name"] += f"_{composed.scale}"
    shaped = {
        **values,
        "data": _target(values, "data", composed, field_names=frozenset(Data.model_fields)),
        "model": _target(values, "model", composed, field_names=frozenset({"extra_outputs"})),
        "optimizer": validate_optimizer(_section(values, "optimizer"), composed.choices["optimizer"], kind),
        "schedule": _schedule(_section(values, "schedule"), composed.choices["schedule"]),
        "train": _train(_section(values, "train") | (_program_budget(values) if program else {})),
        "study": study,
        **({"program": program} if program else {}),
    }
    try:
        return Config.model_validate(shaped)
    except ValidationError as error:
        raise InputError(_validation_message(error, composed)) from error


def _program(kind: Any, values: Mapping[str, Any], composed: Composed) -> Program:
    """Return the program of a configuration.

    Raises:
        InputError: it is missing, is not there, or a setting of it is wrong.
    """
    try:
        return Program.model_validate(make_program(kind, values))
    except ValidationError as error:
        raise InputError(_validation_message(error, composed)) from error


def _program_budget(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the budget of a program in steps; one step stands for a run that decides itself."""
    train = values.get("train") or {}
    if train.get("epochs") is not None:
        raise InputError("train.epochs: a script or function counts steps; give train.steps, or {params.epochs}")
    return {"steps": train.get("steps") or UNKNOWN_STEPS, "epochs": None, "evaluations": 1, "batch_size": 1}


def validate_optimizer(values: Mapping[str, Any], name: str, program: object = None) -> AnyRule:
    """Validate an optimizer alone, as a sweep does for each of its rows (microseconds, without composing).

    Raises:
        InputError: as ``validate_config``.
    """
    if program == "script":
        values = {**values, "script": True}
    try:
        kind = optimizer_class(values, name)
        settings: AnyRule = kind.model_validate(optimizer_values(values, name, kind))
        return with_built_arguments(settings) if isinstance(settings, CustomOptimizer) else settings
    except ValidationError as error:
        raise InputError(
            _validation_message(error, Composed({"optimizer": values}, {"optimizer": name}, False), "optimizer")
        ) from error


SPEED_ARGUMENTS = {"params", "foreach", "fused", "capturable", "differentiable", "initial_lr"}
"""Keys of a parameter group that change no number."""


def with_built_arguments(settings: CustomOptimizer) -> CustomOptimizer:
    """Return a custom optimizer's settings with those that the class builds, its defaults included.

    lr, λ and all other settings come from the parameter group that the class makes of one matrix. So the record, the
    screen and the run ID state the settings that train.

    Raises:
        InputError: the class cannot be imported.
    """
    arguments = {"lr": settings.lr, **settings.arguments}
    arguments |= {"weight_decay": settings.weight_decay} if settings.decay_given else {}
    try:
        group = json.loads(_built_group_json(settings.target, settings.source, json.dumps(arguments, sort_keys=True)))
    except InputError:
        raise
    except Exception:  # it may need the model's own parameters; building it on them says so before anything is trained
        group = {
            **_default_arguments(settings.target),
            **{key: _plain_value(value) for key, value in arguments.items()},
        }
    numbers = {key: group.pop(key, None) for key in ("lr", "weight_decay")}
    built_numbers = {key: float(value) for key, value in numbers.items() if isinstance(value, int | float)}
    differing = {
        key: arguments[key] for key in built_numbers.keys() & arguments.keys() if arguments[key] != built_numbers[key]
    }
    if differing:  # two values that the class makes the same group of may still train differently
        group["given"] = differing
    return settings.model_copy(update={**built_numbers, "has_decay": "weight_decay" in built_numbers, "built": group})


@lru_cache(maxsize=1024)
def _built_group_json(target: str, _source: str | None, arguments_json: str) -> str:
    """Return the parameter group that a class makes of one matrix, or of one with a bias, as JSON.

    A sweep asks for it once per row.
    """
    kind, arguments = find_target(target, "optimizer"), json.loads(arguments_json)
    torch: Any = importlib.import_module("torch")  # a class for torch has imported it
    try:
        built: Any = kind([torch.nn.Parameter(torch.zeros(2, 2))], **arguments)
    except Exception:  # one that gives matrices and biases to two optimizers needs both
        built = kind([torch.nn.Parameter(torch.zeros(size)) for size in ((2, 2), (2,))], **arguments)
    return json.dumps({str(k): _plain_value(v) for k, v in built.param_groups[0].items() if k not in SPEED_ARGUMENTS})


def _default_arguments(target: str) -> dict[str, Any]:
    """Return the defaults of a class's arguments, as plain values."""
    try:
        parameters = inspect.signature(find_target(target, "optimizer")).parameters
    except (TypeError, ValueError):
        return {}
    defaults = {k: p.default for k, p in parameters.items() if p.default is not inspect.Parameter.empty}
    return {k: _plain_value(v) for k, v in defaults.items() if k not in SPEED_ARGUMENTS}


def _plain_value(value: Any) -> Any:
    """Return a value as JSON has it: a tensor as its numbers, anything else that JSON lacks as its text."""
    if isinstance(value, list | tuple):
        return [_plain_value(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain_value(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    return getattr(value, "__qualname__", None) or type(value).__qualname__


def optimizer_class(values: Mapping[str, Any], name: str) -> type[Rule] | type[CustomOptimizer] | type[ScriptOptimizer]:
    """Return the class of settings for an optimizer's section of a configuration.

    Raises:
        InputError: there is no such rule, or a ``_target_`` outside torch cannot be imported.
    """
    if values.get("script"):
        return ScriptOptimizer
    if "_target_" in values:
        target = str(values["_target_"])
        if target.partition(".")[0] in FOR_TORCH:  # none of them is a rule, and planning does without torch
            return CustomOptimizer
        target_object: object = find_target(target, "optimizer")
        return target_object if isinstance(target_object, type) and issubclass(target_object, Rule) else CustomOptimizer
    if values.get("rule") not in builtin_rule_names():
        raise InputError(
            f"optimizer={name}: rule is {values.get('rule')!r}; allowed: {', '.join(builtin_rule_names())}, or a "
            "_target_"
        )
    return rule_class(values["rule"])


def optimizer_values(
    values: Mapping[str, Any], name: str, kind: type[Rule] | type[CustomOptimizer] | type[ScriptOptimizer]
) -> dict[str, Any]:
    """Return an optimizer's section of a configuration in the shape that its class validates."""
    named = {"name": name, "label": to_one_line(values.get("label") or name)}
    if kind is ScriptOptimizer:
        numbers = {key: values[key] for key in ("lr", "weight_decay") if values.get(key) is not None}
        numbers.setdefault("lr", 1.0)  # a study's own; ``plan.expand`` refuses runs without a learning rate
        others = {key: value for key, value in values.items() if key not in {"label", "script", *numbers}}
        return {**named, "choice": name, **numbers, "arguments": others}
    if "_target_" not in values:
        return {**values, **named}
    target = str(values["_target_"])
    if kind is not CustomOptimizer:
        fields = {key: value for key, value in values.items() if key != "_target_"}
        return {**fields, **named, "rule": target, "source": source_hash(target)}
    given_values = {key: values[key] for key in ("lr", "weight_decay", "groups") if key in values}
    arguments = {k: v for k, v in values.items() if k not in {"_target_", "label", *given_values}}
    return {
        **named,
        "target": target,
        "source": source_hash(target),
        **given_values,
        "arguments": arguments,
    }


def _schedule(section: dict[str, Any], name: str) -> dict[str, Any]:
    if "_target_" not in section:
        return {**section, "name": name}
    warmup = {key: section[key] for key in ("warmup_steps",) if key in section}
    return {**_custom_function(section, {*warmup, "kind"}), **warmup, "name": name}


def _train(section: dict[str, Any]) -> dict[str, Any]:
    """Return the section with its loss as a mapping: a loss may be given by name, and a custom one by ``_target_``."""
    loss = section.get("loss", {})
    if isinstance(loss, str):
        section["loss"] = {"name": loss}
    elif isinstance(loss, Mapping) and "_target_" in loss:
        section["loss"] = _custom_function(loss, {"name"})
    return section


def _custom_function(section: Mapping[str, Any], spared: set[str]) -> dict[str, Any]:
    """Return a function or class that is called with the section's other keys."""
    target = str(section["_target_"])
    arguments = {key: value for key, value in section.items() if key not in {"_target_", *spared}}
    return {"target": target, "source": source_hash(target), "arguments": arguments}


def _section(values: Mapping[str, Any], group: str) -> dict[str, Any]:
    section = values.get(group)
    if not isinstance(section, Mapping):
        raise InputError(f"{group}: a mapping is needed (as in configs/{group}/*.yaml), got {section!r}")
    return dict(section)


def _target(
    values: Mapping[str, Any], group: str, composed: Composed, field_names: frozenset[str] = frozenset()
) -> dict[str, Any]:
    section = _section(values, group)
    if "_target_" not in section:
        raise InputError(
            f"{group}={composed.choices[group]}: _target_ is missing; give the importable path of a {group}"
        )
    target = str(section.pop("_target_"))
    fields = {key: section.pop(key) for key in field_names & section.keys()}
    return {
        **fields,
        "name": composed.choices[group],
        "target": target,
        "source": combined_source_hash(target, nested_targets(section)),
        "arguments": section,
    }


def _validation_message(error: ValidationError, composed: Composed, prefix: str = "") -> str:
    first = error.errors()[0]
    skip = {"own", "ours", "str", *SCHEDULES}
    parts = [str(part) for part in first["loc"] if part not in skip]
    key = ".".join(
        [
            *([prefix] if prefix else []),
            *(p for p in parts if not p.startswith(("literal[", "tuple[", "constrained-", "function-"))),
        ]
    )
    group = key.partition(".")[0]
    where = f"configs/{group}/{composed.choices[group]}.yaml" if group in composed.choices else "the configuration"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("should be", "must be")
    if first["type"] == "extra_forbidden":
        allowed = set(Config.model_fields) if len(parts) == 1 and not prefix else _known_fields(composed, group)
        return f"{key}: no such setting; {suggest_names(parts[-1], allowed)}"
    if first["type"] == "missing":
        return f"{key}: is missing; set it in {where} or on the command line"
    value = first["input"]
    value_text = "" if isinstance(value, Mapping) else f"={value}"
    return f"{key}{value_text}: {message} ({where}, or the command line)"


def _known_fields(composed: Composed, group: str) -> set[str]:
    section = composed.values.get(group)
    kind = SECTIONS.get(group)
    if group == "optimizer" and isinstance(section, Mapping):
        settings_class = optimizer_class(section, "")
        kind = None if settings_class is CustomOptimizer else settings_class
    if kind is None:  # the schedule's kinds differ in their keys, a custom class has any
        return set(section) if isinstance(section, Mapping) else set(Config.model_fields)
    return set(kind.model_fields) - {"name", "source"}
