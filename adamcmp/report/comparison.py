"""Comparison of stored sources (studies, folders, optimizers): find their records, and join them for one
leaderboard.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from adamcmp.analysis.selection import split_by_task
from adamcmp.errors import InputError, command_text, suggest_names
from adamcmp.storage.backend import open_path
from adamcmp.storage.records import find_studies, read_all, read_records


class Source(NamedTuple):
    """A compared group of stored runs: a study, a folder or an optimizer."""

    name: str
    records: pd.DataFrame
    prefix: str = ""
    """The folder that its optimizers are called after, where they are."""


def compare_sources(sides: Sequence[Source]) -> pd.DataFrame:
    """Return the records of the tasks that at least two sources have, with the columns ``side`` and ``own_arm``, its
    label.

    A report compares them in one leaderboard, and only pairs of different sources (``verdicts``).

    Raises:
        InputError: no two sources share a task.
    """
    prefix = {side.name: f"{side.prefix}: " if side.prefix else "" for side in sides}
    labeled = [side.records.assign(side=side.name, own_arm=side.records["arm"]) for side in sides]
    parts = [
        task.records.assign(arm=task.records["side"].map(prefix) + task.records["arm"])
        for task in split_by_task(pd.concat(labeled, ignore_index=True))
        if task.records["side"].nunique() > 1
    ]
    if not parts:
        tasks = "; ".join(f"{side.name} is {_tasks(side.records)}" for side in sides)
        raise InputError(
            f"compare: runs are compared where data, model and budget are the same, and no two of these share a task: "
            f"{tasks}. Sweep both on one task"
        )
    return pd.concat(parts, ignore_index=True)


def unmatched_runs(sides: Sequence[Source], records: pd.DataFrame) -> list[str]:
    """Return tasks of sides that no other side has, in words."""
    lines = []
    for side in sides:
        matched = set(records.loc[records["side"] == side.name, "run_id"])
        unmatched = side.records[~side.records["run_id"].isin(matched)]
        if len(unmatched):
            lines.append(
                f"{side.name}: {len(unmatched):,} runs of {_tasks(unmatched)} have nothing to be compared with"
            )
    return lines


def _tasks(records: pd.DataFrame) -> str:
    labels = [task.label for task in split_by_task(records)]
    return ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")


class ResolvedSources(NamedTuple):
    """The sides, and the studies that their runs lie in."""

    sides: list[Source]
    study_dirs: list[Path]


def resolve_sources(words: Sequence[str], results_dir: Path) -> ResolvedSources:
    """Resolve words to sources: a folder or a study, FOLDER:ARM, or an optimizer (in the given folders, or else in all
    studies).

    Raises:
        InputError: fewer than two words, one twice, or one that is none of these.
    """
    if len(set(words)) < max(2, len(words)):
        raise InputError(
            f"compare {' '.join(words)}: give two or more different optimizers, studies or results folders; "
            f"{command_text('report', words[0])} shows one folder"
        )
    scopes: dict[str, tuple[list[Path], str | None]] = {}
    prefixes: dict[str, str] = {}
    for word in words:
        head, colon, arm = word.rpartition(":")
        if (folder := _folder(word, results_dir)) is not None:
            scopes[word], prefixes[word] = (find_studies(folder), None), word.rstrip("/")
        elif colon and (folder := _folder(head, results_dir)) is not None:
            scopes[word], prefixes[word] = (find_studies(folder), arm), head.rstrip("/")
    named = [study_dir for study_dirs, _ in scopes.values() for study_dir in study_dirs]
    sources = [word for word in words if word not in scopes]
    everywhere = named or (find_studies(results_dir) if sources else [])
    if len(scopes) == 1 and len(sources) > 1:
        words = sources  # the one folder says where the optimizers are
    scopes |= {word: (everywhere, word) for word in sources}
    sides = []
    for word in words:
        study_dirs, optimizer = scopes[word]
        records = (
            read_all(study_dirs).records
            if optimizer is None
            else _source_of_optimizer(study_dirs, optimizer, word, results_dir)
        )
        sides.append(Source(word, records, prefixes.get(word, "")))
    return ResolvedSources(sides, list(dict.fromkeys([*named, *everywhere])))


def _folder(word: str, results_dir: Path) -> Path | None:
    return next((path for path in (open_path(word), results_dir / word) if word and path.is_dir()), None)


def _source_of_optimizer(study_dirs: Sequence[Path], arm: str, word: str, results_dir: Path) -> pd.DataFrame:
    """Return the runs of an optimizer, by its name in reports, its label or its optimizer's configuration."""
    records = pd.concat([read_records(study_dir) for study_dir in study_dirs], ignore_index=True)
    records = records.drop_duplicates("run_id", keep="last")
    named = pd.concat([task.records[["run_id", "arm"]] for task in split_by_task(records)]).set_index("run_id")["arm"]
    original_arm = records["run_id"].map(named)
    matches = records[(original_arm == arm) | (records["arm"] == arm) | (records["optimizer"] == arm)]
    if matches.empty:
        names = {*original_arm, *records["optimizer"], *(path.name for path in study_dirs)}
        raise InputError(
            f"compare {word}: no such folder, no study in {results_dir}, and no optimizer of "
            f"{', '.join(sorted({str(path) for path in study_dirs})[:3])}; {suggest_names(arm, map(str, names))}"
        )
    return matches.reset_index(drop=True)
