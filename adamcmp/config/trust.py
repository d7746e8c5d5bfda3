"""Limits of stored commands and plans: a results folder may come from anybody, and its classes would run here.

Configurations are built from the words of the user, and from files found by name. Words stored in a study take part
as long as they only choose among these files and set values; what imports code or leaves this machine needs
``--trust``. docs/howto/trust.md has the whole boundary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from adamcmp.config.instantiate import nested_targets
from adamcmp.config.lookup import list_group
from adamcmp.errors import InputError, quote_value

DOTTED = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]")
"""A name with dots, as of a class; no number has it."""
REMOTE_SETTINGS = ("execute.ray", "execute.slurm", "execute={", "execute=ray", "execute=slurm", "log=", "hydra")
"""Beginnings of words that lead to other machines, to shell commands, or around adamcmp."""


PROGRAM_SETTINGS = ("command", "target", "shell", "files", "metrics.file", "metrics.tensorboard", "metrics.examples")
"""Beginnings of words that run a script or function, or read files."""


def check_stored_words(study: str, words: Sequence[str], config_dir: Path | None, whose: str) -> None:
    """Refuse stored words of a command that could run code here.

    Args:
        study: the configuration that they name.
        words: the overrides.
        config_dir: the folder of YAML files that they name.
        whose: where they are stored, for the error.

    Raises:
        InputError: one of them needs ``--trust``.
    """
    options = [f"--config-dir {config_dir}"] if config_dir is not None else []
    if not re.fullmatch(r"[\w-]+", study):
        options.append(study)
    require_trust([*options, *filter(can_run_code, words)], whose)


def can_run_code(word: str) -> bool:
    """Return whether an override could import code, or lead to another machine."""
    text = word.lstrip("+~")
    if text.startswith(PROGRAM_SETTINGS):
        return True
    if "_target_" in text or "${oc." in text or text.startswith(REMOTE_SETTINGS):
        return True
    key, _, value = text.partition("=")
    return key.startswith("train") and ("metrics" in text or "loss" in text) and DOTTED.search(value) is not None


def check_programs(programs: Sequence[Mapping[str, Any]], whose: str) -> None:
    """Refuse scripts and functions of a stored plan.

    Raises:
        InputError: there is one; it needs ``--trust``.
    """
    require_trust([" ".join(program["command"]) or program["target"] for program in programs], whose)


def check_targets(targets: Iterable[str], whose: str) -> None:
    """Refuse classes and functions of a stored plan that no shipped configuration names.

    Raises:
        InputError: one of them needs ``--trust``.
    """
    require_trust(sorted(set(targets) - shipped_targets()), whose)


def require_trust(untrusted: Sequence[str], whose: str) -> None:
    """Refuse stored code that needs ``--trust``, if there is any.

    Raises:
        InputError: something does.
    """
    if untrusted:
        raise InputError(
            f"{whose} names {quote_value(untrusted[0])}, which could run code here; if you trust who made that folder, "
            "add --trust"
        )


@cache
def shipped_targets() -> frozenset[str]:
    """Return the classes and functions that the YAML files of adamcmp name by ``_target_``."""
    paths = [path for group in ("data", "model", "optimizer", "schedule") for path in list_group(group).values()]
    return frozenset(
        target for path in paths for target in nested_targets(yaml.safe_load(path.read_text(encoding="utf-8")))
    )
