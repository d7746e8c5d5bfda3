"""A study's folder: its drivers, missing runs, matching runs, and files to remove.

Nothing here imports torch.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from adamcmp.errors import InputError
from adamcmp.execute.leases import Leases, exclusive_lock
from adamcmp.execute.temp_dirs import remove_abandoned, unsent_folder
from adamcmp.lazy_imports import LazyModule
from adamcmp.plan.runs import Run
from adamcmp.storage import merging
from adamcmp.storage.backend import is_local, write_file
from adamcmp.storage.merging import RunMetadata, copy_runs, merge_parts, merge_study, remove_leftovers
from adamcmp.storage.records import finished_ids, read_records, weights_path

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = LazyModule("pandas")


def match_run_ids(
    records: pd.DataFrame,
    *,
    status: str | None = None,
    arm: str | None = None,
    study: str | None = None,
    ids: Collection[str] = (),
) -> set[str]:
    """Return the IDs of the runs that match all given filters; ``ids`` may be beginnings of IDs."""
    matches = pd.Series(data=True, index=records.index)
    if status is not None:
        matches &= records["status"] == status
    if arm is not None:
        matches &= (records["arm"] == arm) | (records["optimizer"] == arm)
    if study is not None:
        matches &= records["study"] == study
    if ids:
        matches &= records["run_id"].str.startswith(tuple(ids))
    return set(records.loc[matches, "run_id"])


def merge_studies(target: Path, sources: Collection[Path]) -> None:
    """Join studies of one name into a folder, which may have runs of its own.

    Raises:
        InputError: another process trains it, a part is damaged or not ours, or it cannot be written.
    """
    with exclusive_lock(target):
        for source in sources:
            merge_study(source, target)
            described = source / "study.yaml"
            if described.is_file() and not (target / "study.yaml").exists():
                write_file(target / "study.yaml", described.read_bytes())
        merge_parts(target)


def remove_stored_runs(study_dir: Path, ids: Collection[str]) -> None:
    """Remove runs, with their curves, from a study.

    Raises:
        InputError: another process trains it, or it cannot be written.
    """
    with exclusive_lock(study_dir):
        merging.remove_runs(study_dir, ids)


@contextmanager
def join_as_driver(study_dir: Path) -> Iterator[Leases]:
    """Join the drivers of a study, and yield the leases; a driver that is alone cleans up before and after.

    Raises:
        InputError: the folder cannot be written.
    """
    with Leases(study_dir) as leases:
        if leases.is_alone:
            remove_leftovers(study_dir)
        store_unsent_runs(study_dir)
        yield leases
    with suppress(InputError), exclusive_lock(study_dir):
        clean_up(study_dir)
    if is_local(study_dir):
        remove_abandoned()


def store_unsent_runs(study_dir: Path) -> None:
    """Store the runs that an earlier command has kept on this machine, since the study's object store was away."""
    unsent = unsent_folder(study_dir)
    if not is_local(study_dir) and unsent.is_dir():
        merge_study(unsent, study_dir)
        shutil.rmtree(unsent)


def clean_up(study_dir: Path) -> None:
    """Remove checkpoints of which all runs are stored, and what killed processes left half written."""
    remove_leftovers(study_dir)
    folder = study_dir / "checkpoints"
    paths = list(folder.glob("*.pt"))
    done = finished_ids(study_dir) if paths else set()
    for path in paths:
        from adamcmp.engine.checkpoint import load_checkpoint  # imports torch, which a finished study does without

        state = load_checkpoint(path)
        if state is not None and done.issuperset(state.get("runs", ())):
            path.unlink()
    if is_local(folder) and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def write_config(study_dir: Path, resolved: str) -> None:
    """Write the study's resolved configuration to ``study.yaml``, whole or not at all."""
    write_file(study_dir / "study.yaml", resolved.encode())


def missing_runs(
    runs: Sequence[Run], study_dir: Path, *, only_failed: bool = False, records: pd.DataFrame | None = None
) -> list[Run]:
    """Return the runs that are not stored yet, have failed, or lack the weights that ``train.save`` asks for.

    Or those that have failed alone. ``records`` are those of the study, if they have been read.
    """
    if records is None and (study_dir / "records").is_dir():
        records = read_records(study_dir)
    status = {} if records is None else dict(zip(records["run_id"], records["status"], strict=True))
    if only_failed:
        return [run for run in runs if status.get(run.id) == "failed"]
    weights = (
        frozenset(path.name for path in (study_dir / "weights").glob("*.safetensors"))
        if any(run.task.train.save is not None for run in runs)
        else frozenset()
    )
    return [run for run in runs if _needs_training(run, status.get(run.id)) or _lacks_weights(run, status, weights)]


def _needs_training(run: Run, status: str | None) -> bool:
    """Return whether a run is to be trained; a run that one search pruned may be needed whole by another."""
    pruned = status == "pruned" and not (run.search or "").startswith("asha")
    return status in {"failed", None} or pruned


def copy_from_siblings(runs: Sequence[Run], study_dir: Path, say: Callable[[str], object] = print) -> int:
    """Copy runs that other studies in the same folder have finished; return their number.

    A run whose weights are requested is trained here, since other studies may lack them. ``say`` gets a line for each
    damaged study.
    """
    wanted = {
        run.id: RunMetadata(run.stage, run.optimizer.label, run.optimizer.name, run.search, run.comparison)
        for run in runs
        if run.task.train.save is None
    }
    siblings = [path.parent for path in sorted(study_dir.parent.glob("*/records")) if path.parent != study_dir]
    return copy_runs(study_dir, siblings, wanted, say) if wanted and siblings else 0


def _lacks_weights(run: Run, status: Mapping[str, str], weights: Collection[str]) -> bool:
    which = run.task.train.save
    return (
        which is not None and status[run.id] == "completed" and weights_path(Path(), run.id, which).name not in weights
    )
