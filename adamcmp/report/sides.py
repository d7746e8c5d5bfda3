"""What ``adamcmp compare`` is asked to compare: words in, sides with their records out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from adamcmp.analysis import split_by_task
from adamcmp.analysis.comparing import Source
from adamcmp.errors import InputError, command_text, suggest_names
from adamcmp.storage.backend import open_path
from adamcmp.storage.records import find_studies, read_all, read_records


class Found(NamedTuple):
    """The sides, and the studies that their runs lie in."""

    sides: list[Source]
    study_dirs: list[Path]


def find(words: Sequence[str], results_dir: Path) -> Found:
    """Look words up: a folder or a study; FOLDER:ARM; or an arm, in the folders named beside it or else in all studies.

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
    others = [word for word in words if word not in scopes]
    everywhere = named or (find_studies(results_dir) if others else [])
    if len(scopes) == 1 and len(others) > 1:
        words = others  # the one folder says where the optimizers are
    scopes |= {word: (everywhere, word) for word in others}
    sides = []
    for word in words:
        study_dirs, own = scopes[word]
        records = read_all(study_dirs).records if own is None else _of_arm(study_dirs, own, word, results_dir)
        sides.append(Source(word, records, prefixes.get(word, "")))
    return Found(sides, list(dict.fromkeys([*named, *everywhere])))


def _folder(word: str, results_dir: Path) -> Path | None:
    return next((path for path in (open_path(word), results_dir / word) if word and path.is_dir()), None)


def _of_arm(study_dirs: Sequence[Path], arm: str, word: str, results_dir: Path) -> pd.DataFrame:
    """The runs of an arm, by its name in reports, its label or its optimizer's configuration."""
    records = pd.concat([read_records(study_dir) for study_dir in study_dirs], ignore_index=True)
    records = records.drop_duplicates("run_id", keep="last")
    named = pd.concat([task.records[["run_id", "arm"]] for task in split_by_task(records)]).set_index("run_id")["arm"]
    own = records["run_id"].map(named)
    found = records[(own == arm) | (records["arm"] == arm) | (records["optimizer"] == arm)]
    if found.empty:
        known = {*own, *records["optimizer"], *(path.name for path in study_dirs)}
        raise InputError(
            f"compare {word}: no such folder, no study in {results_dir}, and no optimizer of "
            f"{', '.join(sorted({str(path) for path in study_dirs})[:3])}; {suggest_names(arm, map(str, known))}"
        )
    return found.reset_index(drop=True)
