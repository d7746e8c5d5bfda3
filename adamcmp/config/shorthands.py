"""Overrides as users write them become overrides that Hydra takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from adamcmp.config.overrides import parse_override
from adamcmp.config.schema import Data, RaySettings, SearchSettings, SlurmSettings, Train

EXECUTE_KEYS = {
    f"{name}.{key}" for name, kind in (("ray", RaySettings), ("slurm", SlurmSettings)) for key in kind.model_fields
}
KEPT_KEYS: dict[str, frozenset[str]] = {
    "model": frozenset(),
    "optimizer": frozenset({"lr"}),
    "data": frozenset({"validation_fraction", "test_fraction", "split_seed", "normalize", "train_examples"}),
    "schedule": frozenset({"warmup_steps"}),
}
"""Keys that a section keeps of its file if the command line gives a ``_target_``: those that every class accepts."""
KNOWN_KEYS = {
    "search": set(SearchSettings.model_fields),
    "data": set(Data.model_fields) - {"name", "target", "source", "arguments"},
    "train": set(Train.model_fields),
    "study": {"name", "seeds", "confirm.seeds", "margin", "reference", "extend"},
}
OPTIONAL_KEYS = {
    "optimizer.groups",
    "optimizer.width_lr",
    "optimizer.width_decay",
    "model.mup_base",
    "model.extra_outputs",
    "init",
    "init.path",
    "init.skip",
    "init.strict",
    "log",
    *(f"execute.{key}" for key in EXECUTE_KEYS),
    *(f"execute.{key}" for key in ("cores_per_run", "gpus_per_run", "minutes_per_run", "retries", "check")),
}
"""Settings that files may leave out."""


def replaced_sections(overrides: Sequence[str]) -> dict[str, set[str]]:
    """Return the keys that the command line gives in each section that it replaces by ``_target_``."""
    keys = [(text, *parse_override(text).key_or_group.partition(".")[::2]) for text in overrides]
    replaced = {
        group for text, group, key in keys if key == "_target_" and group in KEPT_KEYS and not text.startswith("~")
    }
    return {
        group: {key.partition(".")[0] for _, section, key in keys if section == group and key} for group in replaced
    }


def mark_optional_keys(overrides: Sequence[str], replaced: Mapping[str, set[str]]) -> list[str]:
    """Add ``+`` to settings that adamcmp knows but a file leaves out, and to keys of a custom class."""
    return [
        f"++{text}" if text[0] not in "+~" and _is_optional(text.partition("=")[0], replaced) else text
        for text in overrides
    ]


def _is_optional(key: str, replaced: Mapping[str, set[str]]) -> bool:
    section, _, name = key.partition(".")
    return (
        section in replaced
        or key in OPTIONAL_KEYS
        or (section in KNOWN_KEYS and name in KNOWN_KEYS[section])
        or key.startswith(("train.loss.", "params."))
    )


def expand_loss_name(overrides: Sequence[str]) -> list[str]:
    """Rewrite ``train.loss=huber`` as ``train.loss.name=huber``, so that other settings of it may follow."""
    return [re.sub(r"^(\+*)train\.loss=(\w+)$", r"\1train.loss.name=\2", text) for text in overrides]


def expand_init(overrides: Sequence[str]) -> list[str]:
    """Rewrite ``init=FILE`` as ``init.path=FILE`` if other settings of it are given."""
    if not any(text.lstrip("+").startswith("init.") for text in overrides):
        return list(overrides)
    return [re.sub(r"^(\+*)init=", "++init.path=", text) for text in overrides]


def replace_sections(replaced: Mapping[str, set[str]], values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the rest of a file's section if the command line replaces it by ``_target_``."""
    return {
        group: {key: value for key, value in values[group].items() if key in keys or key in KEPT_KEYS[group]}
        for group, keys in replaced.items()
    }


def drop_other_budget(overrides: Sequence[str]) -> list[str]:
    """Let a budget given in epochs take the place of one in steps, and the other way round."""
    overridden = {text.partition("=")[0].lstrip("+") for text in overrides}
    other = {"train.epochs": "train.steps", "train.steps": "train.epochs"}
    return [*overrides, *(f"{other[key]}=null" for key in other if key in overridden and other[key] not in overridden)]
