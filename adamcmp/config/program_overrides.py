"""Overrides of a training script or function: commands as typed, and settings that a program does not have."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adamcmp.config.overrides import parse_override
from adamcmp.errors import InputError
from adamcmp.text_safety import quote_hydra

RAW_KEYS = ("command", "metrics.pattern", "metrics.file", "metrics.tensorboard", "metrics.examples")
"""Settings whose value is any text, which a user types without quotes for Hydra."""
QUOTED = re.compile(r""" "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' """, re.VERBOSE)
"""Pattern of a value that is in Hydra's quotes already."""
FOREIGN = {
    "script": ("data", "model", "schedule", "init"),
    "function": ("data", "model", "init"),
}
"""Sections that a program does not have."""
TRAIN_KEYS = ("train.steps", "train.epochs")


def quote_raw_value(text: str) -> str:
    """Return an override with its value in Hydra's quotes if it is a setting that takes any text.

    >>> quote_raw_value("command=python train.py --lr {lr}")
    'command="python train.py --lr {lr}"'
    """
    key, equals, value = text.partition("=")
    if not equals or key.lstrip("+") not in RAW_KEYS or value in ("null", "auto"):
        return text
    if QUOTED.fullmatch(value):
        return text
    return f"{key}={quote_hydra(value)}"


def check_program_keys(kind: str, overrides: Sequence[str]) -> None:
    """Refuse settings that would have no effect on a program.

    Raises:
        InputError: for the first one.
    """
    for text in overrides:
        key = parse_override(text).key_or_group
        group = key.partition(".")[0]
        if group in FOREIGN[kind] or (group == "train" and key not in TRAIN_KEYS):
            what = "command" if kind == "script" else "function"
            how = "{params.NAME} in the command and params.NAME=…" if kind == "script" else "params.NAME=…"
            raise InputError(f"{text}: a {kind} has its own {group} settings; pass them to your {what} by {how}")


def split_script_optimizer(overrides: Sequence[str]) -> tuple[list[str], str | None]:
    """Return the overrides without the choice of an optimizer, which a script knows by its name, and that name.

    Other settings of the optimizer may be new.

    Raises:
        InputError: an optimizer has a ``_target_``.
    """
    remaining, choice = list[str](), None
    for text in overrides:
        override = parse_override(text)
        if override.key_or_group == "optimizer":
            choice = str(override.value())
        elif override.key_or_group == "optimizer._target_":
            raise InputError(f"{text}: a script implements its optimizers; give the name that it takes: optimizer=NAME")
        elif override.key_or_group.startswith("optimizer.") and text[0] not in "+~":
            remaining.append(f"++{text}")
        else:
            remaining.append(text)
    return remaining, choice
