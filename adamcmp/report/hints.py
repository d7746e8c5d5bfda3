"""What to run next: commands that widen a grid whose best cell lies on its edge, or add seeds where there is one."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from adamcmp.analysis import Task, best_cells, beyond, edge
from adamcmp.config.trust import runs_code
from adamcmp.errors import command

KEYS = {"lr": ("optimizer.lr", "lr"), "λ": ("optimizer.weight_decay", "weight_decay")}
TRAINING = ("run", "sweep", "reproduce")
"""Commands whose words say what was trained."""
FEW_SEEDS = 5
"""What is proposed where there is no interval."""
BEYOND = 2
"""Values beyond an edge that are proposed."""


def hints(tasks: Sequence[tuple[Task, pd.DataFrame]], study: str) -> list[str]:
    """Return a line per grid to widen, and one if seeds are missing; each with a command to paste.

    The command is the one that trained the runs, with other values; it resumes in the same folder.

    Args:
        tasks: each task with ``cells`` of its records.
        study: the name of the study's folder.
    """
    found: list[str] = []
    wider: dict[str, list[str]] = {}
    for task, table in tasks:
        words = _words(task.records, study)
        for _, row in best_cells(table).iterrows():
            own = table[table["arm"] == row["arm"]]
            for side in edge(own, row):
                name, _, end = side.partition(" ")
                key, column = KEYS[name]
                values = beyond(sorted(set(own[column])), end, BEYOND)
                if values:
                    swept = f"{key}={','.join(f'{value:.6g}' for value in values)}"
                    named = any(word.startswith("optimizer._target_=") for word in words)  # by its class alone
                    optimizer = [] if named else [f"optimizer={row['optimizer']}"]
                    line = command(*_without(words, {"optimizer", key}), *optimizer, swept) + _warning(words)
                    wider.setdefault(f"({side}); wider: {line}", []).append(str(row["arm"]))
        if (table["runs"] < 2).all() and len(table) > 1:
            kept = _without(words, {"study.seeds", "seed"})
            found.append(
                f"one seed tells no spread; more: {command(*kept, f'study.seeds={FEW_SEEDS}')}{_warning(words)}"
            )
    return [f"{_names(arms)} best cell lies on the edge of the grid {rest}" for rest, arms in wider.items()] + found


def _warning(words: Sequence[str]) -> str:
    """Return a clause that names the code in a stored command: a results folder may come from anybody."""
    named = [word for word in words if runs_code(word)]
    return f" (it runs {named[0]}, as the stored command did)" if named else ""


def _names(arms: Sequence[str]) -> str:
    """Whose best cell: one arm, or one of several that one command would widen."""
    more = f" and {len(arms) - 1} more: their" if len(arms) > 1 else ": its"
    return f"{arms[0]}{more}"


def _words(records: pd.DataFrame, study: str) -> list[str]:
    """Of the command that trained the latest of these runs, as a sweep."""
    latest = records.sort_values("finished_at")["command"].dropna()
    words = shlex.split(latest.iloc[-1])[1:] if len(latest) else []
    if not words or words[0] not in TRAINING:
        return ["sweep", study]
    return ["sweep", *_this_time_only().parse_known_args(words[1:])[1]]


class Trained(NamedTuple):
    """What a stored study was trained with, as words of a command line."""

    study: str
    overrides: list[str]
    config_dir: Path | None


def trained_with(records: pd.DataFrame, arms: tuple[str, str]) -> Trained | None:
    """By the latest command that trained both arms, which are told by label or optimizer; None where there is none."""
    ordered = records.sort_values("finished_at")
    names = pd.concat(
        [ordered[["command", "arm"]], ordered[["command", "optimizer"]].set_axis(["command", "arm"], axis=1)]
    )
    known = names.dropna().groupby("command")["arm"].agg(set)
    trained = ordered.loc[ordered["command"].str.split().str[1].isin(TRAINING), "command"]
    latest = [each for each in trained if set(arms) <= known[each]]
    if not latest:
        return None
    found = words_of(ordered[ordered["command"] == latest[-1]], "")
    return found if found.study else None


def words_of(records: pd.DataFrame, study: str) -> Trained:
    """What the latest of these runs was trained with; the study alone where that is not known."""
    parser = _this_time_only()
    for option in ("--results-dir", "--config-dir", "--device"):
        parser.add_argument(option)
    given, words = parser.parse_known_args(_words(records, study)[1:])
    return Trained(words[0] if words else study, words[1:], Path(given.config_dir) if given.config_dir else None)


def _this_time_only() -> argparse.ArgumentParser:
    """Takes the options out that tell nothing of what is to be trained."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--report", "--only-failed", "--extend", "--debug", "--json", "--collect"):
        parser.add_argument(flag, action="store_true")
    for option in ("--format", "--limit"):
        parser.add_argument(option, action="append")
    return parser


def _without(words: Sequence[str], keys: set[str]) -> list[str]:
    return [word for word in words if word.lstrip("+").partition("=")[0] not in keys]
