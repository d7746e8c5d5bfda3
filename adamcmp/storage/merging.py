"""Change stored studies: merge part files, merge studies, copy runs between them, and remove runs.

All functions expect that their caller holds the study's lock, except ``merge_parts``, which takes locks of its own.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
from filelock import Timeout

from adamcmp.errors import InputError
from adamcmp.lazy_imports import LazyModule
from adamcmp.storage.backend import lock, write_file
from adamcmp.storage.part_files import list_part_files, new_part_name, read_part, read_table, stored_since, write_part
from adamcmp.storage.schema import CURVE, OUTCOMES, RECORD, TABLES, TEXT, Column, Stage

if TYPE_CHECKING:
    import pyarrow.compute as pc
else:
    pc, pq = (LazyModule("pyarrow.compute"), LazyModule("pyarrow.parquet"))


TEMPORARY_NAME = re.compile(r"\..+\.(\d+|[0-9a-f]{12})\.tmp")
"""Names of files that are being written, as ``storage.backend.atomic_write`` and ``engine.checkpoint`` give them."""


def remove_leftovers(study_dir: Path) -> None:
    """Remove half-written files of killed writers; only the holder of the study's lock may."""
    for folder in (
        study_dir,
        *(study_dir / name for name in ("outcomes", "curves", "records", "checkpoints", "weights")),
    ):
        for path in folder.glob(".*.tmp"):
            if TEMPORARY_NAME.fullmatch(path.name):
                path.unlink(missing_ok=True)


def merge_parts(study_dir: Path, more_than: int = 64) -> None:
    """Rewrite the newest of many parts as one, so that reading stays quick, unless another process is at it.

    It takes in older parts for as long as one is no larger than all newer ones together. So n parts of equal size,
    merged as they come, leave about log₂(n / 64) besides the newest, and each row is rewritten about as often.

    The merged part is a new file, whose name takes the newest's place in the order; the others go once it is there.
    ``read`` drops what stands twice, so that a kill in between loses nothing.
    """
    many = [(table, columns) for table, columns in TABLES if len(list_part_files(study_dir / table)) > more_than]
    with suppress(Timeout):
        for table, columns in many:
            with lock(study_dir / f".merging_{table}", 0.0):
                _merge_newest(list_part_files(study_dir / table), columns, more_than // 2)


def _merge_newest(parts: Sequence[Path], columns: Sequence[Column], fewest: int) -> None:
    total, count = 0, 0
    for path in reversed(parts):
        size = path.stat().st_size
        if count > fewest and size > total:
            break
        total, count = total + size, count + 1
    newest = parts[-count:]
    merged = pa.concat_tables([read_part(path, columns) for path in newest])
    name = f"{newest[-1].stem.partition('_')[0]}_{uuid.uuid4().hex[:8]}.parquet"  # right after the newest
    write_part(newest[-1].with_name(name), merged.combine_chunks())
    for path in newest:
        path.unlink(missing_ok=True)


def merge_study(source: Path, target: Path) -> None:
    """Put a study's runs and weights beside those of another; only the holder of the target's lock may.

    Records that the target has already are left out, and with them their curves, so that joining again adds only what
    is new, however the source has been merged since.

    Raises:
        InputError: a part is damaged or not ours, or the target cannot be written.
    """
    there = {_training_key(row) for row in read_table(target / "records", RECORD).select(TRAINING_KEY).to_pylist()}
    records = read_table(source / "records", RECORD)
    is_new = [_training_key(row) not in there for row in records.select(TRAINING_KEY).to_pylist()]
    records = records.filter(pa.array(is_new, pa.bool_()))
    name, ids = new_part_name(), pc.unique(records["run_id"])
    for table, columns in TABLES:
        rows = records
        if table != "records":
            merged = read_table(source / table, columns)
            rows = merged.filter(pc.is_in(merged["run_id"], value_set=ids))
        if len(rows):
            write_part(target / table / name, rows.combine_chunks())
    for path in sorted((source / "weights").glob("*")):
        if path.suffix in (".safetensors", ".json") and not (target / "weights" / path.name).exists():
            write_file(target / "weights" / path.name, path.read_bytes())


TRAINING_KEY = ["run_id", "status", "finished_at"]
"""Columns that tell one training of a run from another."""


def _training_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in TRAINING_KEY)


class RunMetadata(NamedTuple):
    """Metadata of a run in a study, which are not part of its ID."""

    stage: Stage
    arm: str
    """The optimizer's label."""
    optimizer: str
    """Its configuration."""
    search: str | None
    comparison: str


def copy_runs(
    study_dir: Path, siblings: Sequence[Path], wanted: Mapping[str, RunMetadata], say: Callable[[str], object] = print
) -> int:
    """Copy completed and diverged runs from other studies into one part file; return their number.

    Args:
        study_dir: study that lacks them; its lock is held.
        siblings: studies that may have them; one that cannot be read is left out, with a line.
        wanted: IDs of the runs, and their metadata in this study.
        say: receives one line per study that is left out.
    """
    copied: dict[str, list[pa.Table]] = {table: [] for table, _ in TABLES}
    taken: set[str] = set()
    for other in siblings:
        try:
            if wanted.keys().isdisjoint(stored_since(other, ())[0]):
                continue
            records = read_table(other / "records", RECORD)
            more = {table: read_table(other / table, columns) for table, columns in TABLES[:-1]}
        except InputError as error:
            say(f"{other}: not searched for runs that are wanted here, since it is damaged: {error}")
            continue
        ids = records.column("run_id").to_pylist()
        done = [
            i not in taken and i in wanted and status in ("completed", "diverged")
            for i, status in zip(ids, records.column("status").to_pylist(), strict=True)
        ]
        if not any(done):
            continue
        fresh = pa.array({i for i, is_done in zip(ids, done, strict=True) if is_done}, TEXT)
        rows = records.filter(pa.array(done))
        here = [wanted[i] for i in rows.column("run_id").to_pylist()]
        for name in RunMetadata._fields:
            values = pa.array([getattr(run, name) for run in here], TEXT)
            rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
        copied["records"].append(rows)
        for table, table_rows in more.items():
            copied[table].append(table_rows.filter(pc.is_in(table_rows.column("run_id"), value_set=fresh)))
        taken |= set(fresh.to_pylist())
    name = new_part_name()
    for table, _ in TABLES:
        if sum(map(len, copied[table])):
            write_part(study_dir / table / name, pa.concat_tables(copied[table]))
    return len(taken)


def remove_runs(study_dir: Path, run_ids: Collection[str]) -> None:
    """Remove runs with their curves and weights; only the holder of the study's lock may.

    The records go first, since a run counts by its record: a kill in between leaves curves that are not read.
    """
    for table, columns in (("records", RECORD), ("curves", CURVE), ("outcomes", OUTCOMES)):
        parts = list_part_files(study_dir / table)
        if parts:
            merged = pa.concat_tables([read_part(path, columns) for path in parts])
            removed = pc.is_in(merged.column("run_id"), value_set=pa.array(run_ids, TEXT))
            write_part(study_dir / table / new_part_name(), merged.filter(pc.invert(removed)).combine_chunks())
            for path in parts:
                path.unlink()
    for run_id in run_ids:
        for path in (study_dir / "weights").glob(f"{run_id}-*"):
            path.unlink()
