"""Roles of a table's columns: which is the optimizer, the seed, the validation metric."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pandas as pd

from adamcmp.errors import InputError, suggest_names
from adamcmp.metrics.names import is_higher_better, metric_of, split_of

GUESSES: Mapping[str, tuple[str, ...]] = {
    "optimizer": ("optimizer", "opt", "optim", "optimizer_name", "method", "algorithm", "algo", "rule"),
    "lr": ("lr", "learning_rate", "learningrate", "base_lr", "lr0", "alpha", "step_size", "eta"),
    "weight_decay": ("weight_decay", "wd", "weightdecay", "l2", "decay", "lambda", "weight_decay_rate"),
    "seed": ("seed", "random_seed", "random_state", "rng", "rep", "repeat", "replicate", "run_seed"),
    "task": ("task", "dataset", "data", "problem", "benchmark", "table", "experiment"),
    "step": ("step", "global_step", "epoch", "iteration"),
    "stage": ("stage",),
    "seconds": ("seconds", "duration", "runtime", "_runtime", "elapsed", "train_time"),
}
"""Names by which the column of a role is found, the likelier first."""
METRIC_ROLES = ("validation", "test", "train")


@dataclass(frozen=True)
class Roles:
    """Columns by role; None: there is none."""

    optimizer: str | None = None
    lr: str | None = None
    weight_decay: str | None = None
    seed: str | None = None
    task: str | None = None
    validation: str | None = None
    test: str | None = None
    train: str | None = None
    step: str | None = None
    stage: str | None = None
    seconds: str | None = None
    settings: tuple[str, ...] = ()
    """Further columns that distinguish variants of an optimizer."""

    @property
    def columns(self) -> dict[str, str]:
        """The columns of all roles that have one."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "settings"}
        return {role: column for role, column in named.items() if column is not None}


def option_text(role: str, column: str) -> str:
    """Return a role and its column as an option of ``adamcmp import``."""
    return f"--{role.replace('_', '-')} {column}"


def find_roles(
    frame: pd.DataFrame, requested: Mapping[str, Any], written: Callable[[str, str], str] = option_text
) -> tuple[Roles, set[str]]:
    """Return the roles of columns, and those that were guessed by name.

    Args:
        frame: the table.
        requested: columns by role as the user has named them; ``none`` for a role that no column has.
        written: returns a role and its column as the user writes them, for errors.

    Raises:
        InputError: a column does not exist, or there is no optimizer or no metric.
    """
    if frame.columns.nlevels > 1:
        raise InputError("the table has several levels of column names; give one name per column")
    if not frame.columns.is_unique:
        repeated = str(frame.columns[frame.columns.duplicated()][0])
        raise InputError(f"the table has several columns {repeated!r}; give each its own name")
    if frame.empty:
        raise InputError("the table has no rows")
    names = [str(name) for name in frame.columns if frame[name].notna().any()]
    roles, guessed = Roles(), set[str]()
    for role, column in requested.items():
        if role == "settings" or column is None or column == "none":
            continue
        if column not in frame.columns:
            raise InputError(f"{written(role, column)}: no such column; {suggest_names(column, names)}")
        roles = _with_role(roles, role, column)
    settings = tuple(requested.get("settings") or ())
    for column in settings:
        if column not in frame.columns:
            raise InputError(f"{written('setting', column)}: no such column; {suggest_names(column, names)}")
    roles = replace(roles, settings=settings)
    for role in GUESSES:
        if requested.get(role) is None and (column := _guess(names, GUESSES[role], set(roles.columns.values()))):
            roles, guessed = _with_role(roles, role, column), guessed | {role}
    roles, metric_guesses = _guess_metrics(frame, names, roles, requested)
    _check_texts(frame, names, roles, requested)
    if roles.optimizer is None:
        raise InputError(f"no column is known as the optimizer; give --optimizer COLUMN. {_columns_text(names)}")
    if roles.validation is None and roles.test is None:
        raise InputError(f"no column is known as a metric; give --validation and --test. {_columns_text(names)}")
    return roles, guessed | metric_guesses


def _with_role(roles: Roles, role: str, column: str) -> Roles:
    changes: dict[str, Any] = {role: column}
    return replace(roles, **changes)


def _columns_text(names: Sequence[str]) -> str:
    return f"Columns: {', '.join(names[:30])}{', …' if len(names) > 30 else ''}"


def last_words(name: str) -> str:
    """Return the last part of a name in small letters: ``config.Learning Rate`` is ``learning_rate``."""
    return re.sub(r"[\s-]+", "_", re.split(r"[./]", name)[-1].strip()).lower()


def _guess(names: Sequence[str], candidates: Sequence[str], taken: set[str]) -> str | None:
    free = [name for name in names if name not in taken]
    for candidate in candidates:
        for name in free:
            if last_words(name) == candidate:
                return name
    return None


def _guess_metrics(
    frame: pd.DataFrame, names: Sequence[str], roles: Roles, requested: Mapping[str, Any]
) -> tuple[Roles, set[str]]:
    """Return the roles with metrics: the same metric on each split, and not a loss if there is another."""
    guessed = set[str]()
    taken = set(roles.columns.values()) | set(roles.settings)
    free = [name for name in names if name not in taken and pd.api.types.is_numeric_dtype(frame[name])]
    known = roles.validation or roles.test
    wanted = metric_of(known) if known is not None else None
    if wanted is None:
        by_split = {split: [n for n in free if split_of(n) == split] for split in METRIC_ROLES}
        order = sorted(by_split["validation"] or by_split["test"], key=lambda name: _preference(metric_of(name)))
        wanted = metric_of(order[0]) if order else None
    for role in METRIC_ROLES:
        if getattr(roles, role) is None and requested.get(role) is None and wanted is not None:
            column = next((n for n in free if split_of(n) == role and metric_of(n) == wanted), None)
            if column is not None:
                roles, guessed = _with_role(roles, role, column), guessed | {role}
    return roles, guessed


def _check_texts(frame: pd.DataFrame, names: Sequence[str], roles: Roles, requested: Mapping[str, Any]) -> None:
    """Refuse a metric that is written as text, which would be left out.

    Raises:
        InputError: for the first one.
    """
    for name in names:
        role = split_of(name)
        if role not in ("validation", "test") or getattr(roles, role) is not None or requested.get(role) == "none":
            continue
        if is_higher_better(metric_of(name)) is not None and not pd.api.types.is_numeric_dtype(frame[name]):
            is_number = pd.to_numeric(frame[name], errors="coerce").notna()
            texts = frame.loc[frame[name].notna() & ~is_number, name]
            text = str((texts if len(texts) else frame[name].dropna()).iloc[0])
            raise InputError(
                f"{name}: holds texts such as {text!r}; write numbers such as 93.4, or give --{role} another column or "
                "none"
            )


def _preference(metric: str) -> tuple[bool, bool]:
    return is_higher_better(metric) is None, "loss" in metric
