"""A study's folder: its drivers, what is missing in it, and what must not stay in it. Never torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from adamcmp.errors import InputError
from adamcmp.execute.folders import remove_abandoned, unsent
from adamcmp.execute.leases import Leases, alone
from adamcmp.plan.runs import Run
from adamcmp.storage.backend import is_local, write_file
from adamcmp.storage.merging import RunMetadata, copy_runs, merge_study, remove_leftovers
from adamcmp.storage.records import finished_ids, read_records, weights_path

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def driving(study_dir: Path) -> Iterator[Leases]:
    """Be one of a study's drivers, with what claims its runs; the only one there tidies up before and after.

    Raises:
        InputError: the folder cannot be written.
    """
    with Leases(study_dir) as leases:
        if leases.is_alone:
            remove_leftovers(study_dir)
        deliver(study_dir)
        yield leases
    with suppress(InputError), alone(study_dir):
        tidy(study_dir)
    if is_local(study_dir):
        remove_abandoned()


def deliver(study_dir: Path) -> None:
    """Store the runs that an earlier command has kept on this machine, since the study's object store was away."""
    kept = unsent(study_dir)
    if not is_local(study_dir) and kept.is_dir():
        merge_study(kept, study_dir)
        shutil.rmtree(kept)


def tidy(study_dir: Path) -> None:
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


def describe(study_dir: Path, resolved: str) -> None:
    """Write the study's resolved configuration to ``study.yaml``, whole or not at all."""
    write_file(study_dir / "study.yaml", resolved.encode())


def missing(
    runs: Sequence[Run], study_dir: Path, *, only_failed: bool = False, records: pd.DataFrame | None = None
) -> list[Run]:
    """The runs that are not stored yet, have failed, or lack the weights that ``train.save`` asks for.

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
    return [run for run in runs if _is_open(run, status.get(run.id)) or _lacks_weights(run, status, weights)]


def _is_open(run: Run, status: str | None) -> bool:
    """Whether it is to be trained; what one search has ended early another one may want whole."""
    pruned = status == "pruned" and not (run.search or "").startswith("asha")
    return status in {"failed", None} or pruned


def adopted(runs: Sequence[Run], study_dir: Path, say: Callable[[str], object] = print) -> int:
    """Take those of some runs that other studies beside this one have finished; how many those are.

    A run whose weights are requested is trained here, since other studies may lack them. ``say`` gets a line for each
    damaged study.
    """
    wanted = {
        run.id: RunMetadata(run.stage, run.optimizer.label, run.optimizer.name, run.search, run.comparison)
        for run in runs
        if run.task.train.save is None
    }
    others = [path.parent for path in sorted(study_dir.parent.glob("*/records")) if path.parent != study_dir]
    return copy_runs(study_dir, others, wanted, say) if wanted and others else 0


def _lacks_weights(run: Run, status: Mapping[str, str], weights: Collection[str]) -> bool:
    kept = run.task.train.save
    return kept is not None and status[run.id] == "completed" and weights_path(Path(), run.id, kept).name not in weights
