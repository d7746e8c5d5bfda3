"""Choose stored runs, and remove them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from adamcmp.execute.leases import alone
from adamcmp.storage import merging
from adamcmp.storage.backend import write_file
from adamcmp.storage.merging import merge_parts, merge_study


def chosen(
    records: pd.DataFrame,
    *,
    status: str | None = None,
    arm: str | None = None,
    study: str | None = None,
    ids: Collection[str] = (),
) -> set[str]:
    """Ids of the runs to which all of this applies, as far as it is given; ``ids`` may be beginnings of ids."""
    found = pd.Series(data=True, index=records.index)
    if status is not None:
        found &= records["status"] == status
    if arm is not None:
        found &= (records["arm"] == arm) | (records["optimizer"] == arm)
    if study is not None:
        found &= records["study"] == study
    if ids:
        found &= records["run_id"].str.startswith(tuple(ids))
    return set(records.loc[found, "run_id"])


def merge_into(target: Path, sources: Collection[Path]) -> None:
    """Join studies of one name into a folder, which may have runs of its own.

    Raises:
        InputError: another process trains it, a part is damaged or not ours, or it cannot be written.
    """
    with alone(target):
        for source in sources:
            merge_study(source, target)
            described = source / "study.yaml"
            if described.is_file() and not (target / "study.yaml").exists():
                write_file(target / "study.yaml", described.read_bytes())
        merge_parts(target)


def remove_runs(study_dir: Path, ids: Collection[str]) -> None:
    """Remove runs, with their curves, from a study.

    Raises:
        InputError: another process trains it, or it cannot be written.
    """
    with alone(study_dir):
        merging.remove_runs(study_dir, ids)
