"""Part files: each stored table is a folder of immutable Parquet files.

A part file is written to a temporary name, synced to disk and renamed. A run counts once its record is readable, and
its curve is written before its record. A process that is killed therefore never leaves half a run.
"""

from __future__ import annotations

import re
import shlex
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from adamcmp.errors import InputError, one_line, quote_value
from adamcmp.lazy_imports import LazyModule
from adamcmp.storage.backend import atomic_write, is_local, open_for_reading
from adamcmp.storage.schema import (
    CURVE,
    LINES,
    ON_ONE_LINE,
    OUTCOMES,
    RECORD,
    SCHEMA_VERSION,
    TEXT,
    Column,
    arrow_schema,
)
from adamcmp.text_safety import show_control_chars, to_one_line
from adamcmp.untrusted import load_object

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
else:
    np, pd = (LazyModule("numpy"), LazyModule("pandas"))
    pc, pq = (LazyModule("pyarrow.compute"), LazyModule("pyarrow.parquet"))


def append_runs(
    study_dir: Path,
    records: Sequence[Mapping[str, Any]],
    curves: Sequence[Mapping[str, Any]],
    outcomes: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Store finished runs as one immutable part of each table; the records last, since they make runs count.

    Raises:
        InputError: the folder cannot be written, or the disk is full; earlier part files stay intact.
    """
    name = new_part_name()
    tables = [("curves", CURVE, curves), ("records", RECORD, records)]
    if outcomes:
        tables.insert(0, ("outcomes", OUTCOMES, outcomes))
    for table, columns, rows in tables:
        texts = [column for column in columns if column.type == TEXT and column.form in (None, LINES)]
        safe = [
            {**row, **{column.name: _without_control_chars(row.get(column.name), column) for column in texts}}
            for row in rows
        ]
        write_part(study_dir / table / name, pa.Table.from_pylist(safe, arrow_schema(columns)))


def _without_control_chars(text: Any, column: Column) -> Any:
    """Return a text without control characters: messages and names of custom code may hold any."""
    if text is None or text.isprintable():
        return text
    return show_control_chars(text) if column.form == LINES else to_one_line(text)


def new_part_name() -> str:
    """Return a file name for a new part file; names sort by time."""
    return f"{pd.Timestamp.now('UTC'):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}.parquet"


def write_part(path: Path, table: pa.Table) -> None:
    """Write a part file: under a temporary name, synced to disk, then renamed."""
    with atomic_write(path, sync=True) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def read_frame(folder: Path, columns: Sequence[Column]) -> pd.DataFrame:
    """Return all rows of a table as a pandas frame."""
    frame = read_table(folder, columns).to_pandas()
    assert isinstance(frame, pd.DataFrame)
    return frame


def read_table(folder: Path, columns: Sequence[Column]) -> pa.Table:
    """Return all rows of a table, while other processes may merge its parts."""
    parts: dict[Path, pa.Table] = {}
    while paths := [path for path in list_part_files(folder) if path not in parts]:
        for path in paths:
            try:
                parts[path] = read_part(path, columns)
            except InputError:
                if path in list_part_files(folder):
                    raise
                parts.clear()  # a sweep has just merged it into a part that was not there yet
                break
    return pa.concat_tables([arrow_schema(columns).empty_table(), *parts.values()])


def list_part_files(folder: Path) -> list[Path]:
    """Return the part files of a table, from the oldest to the newest."""
    return sorted(folder.glob("*.parquet"))


def part_files(study_dir: Path) -> frozenset[tuple[str, int]]:
    """Return names and sizes of the parts of records: another name or size is news."""
    names = set()
    for path in list_part_files(study_dir / "records"):
        with suppress(FileNotFoundError):  # merged into a later one
            names.add((path.name, path.stat().st_size))
    return frozenset(names)


def stored_since(study_dir: Path, known: Collection[tuple[str, int]]) -> tuple[set[str], frozenset[tuple[str, int]]]:
    """Return the IDs of the runs in part files that are not ``known``, and the part files that are known now.

    Raises:
        InputError: a part is damaged.
    """
    seen, ids = frozenset(known), set[str]()
    while news := (now := part_files(study_dir)) - seen:
        for name, _ in sorted(news):
            path = study_dir / "records" / name
            try:
                table = _read_parquet(path, ["run_id"])
                ids.update(table["run_id"].to_pylist())
            except Exception as error:
                if path.exists():
                    raise _damaged(path, error) from error
                continue  # merged into a part that the next look shows
        seen = now
    return ids, now


def read_part(path: Path, columns: Sequence[Column]) -> pa.Table:
    """Return the rows of one part file, with columns that its version did not have filled with nulls.

    Raises:
        InputError: the file is damaged, or adamcmp did not write it.
    """
    try:
        if is_local(path) and path.is_symlink() and not path.exists():
            raise InputError(
                f"{path}: is a link to a file that is not here; fetch it (git annex get, dvc pull), or move the link "
                "out of the folder"
            )
        table = _read_parquet(path)
        table.validate(full=True)
        version = (table.schema.metadata or {}).get(b"adamcmp_schema", b"").decode()
        former = {column.former: column.name for column in columns if column.former}
        table = table.rename_columns([former.get(name, name) for name in table.schema.names])
        for column in columns:
            if column.younger and column.name not in table.schema.names:
                table = table.append_column(column.name, pa.nulls(len(table), column.type))
        schema = arrow_schema(columns)
        names = set(schema.names) == set(table.schema.names)
        is_ours = version == str(SCHEMA_VERSION) and names and table.select(schema.names).schema.equals(schema)
    except InputError:
        raise
    except Exception as error:  # damaged bytes make the library raise anything
        raise _damaged(path, error) from error
    if not is_ours:
        kind = f"written with record schema {version}, this adamcmp reads {SCHEMA_VERSION}" if version else "not ours"
        raise InputError(f"{path}: a foreign Parquet file ({kind}); move it out of the folder")
    table = table.select(schema.names).replace_schema_metadata(schema.metadata)
    stamp = _file_stamp(path)
    if stamp is None or stamp not in _sound_parts:
        _check_texts(path, table, columns)
        _sound_parts.add(stamp)
    return table


_sound_parts: set[tuple[str, int, int] | None] = set()
"""Parts that this process has checked: they are read several times, and never change."""


def _file_stamp(path: Path) -> tuple[str, int, int] | None:
    """Return path, size and time of a file, which change if another one takes its place.

    None in an object store, and for a file that has been merged into another one since it was read.
    """
    if not is_local(path):
        return None
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return str(path.absolute()), state.st_size, state.st_mtime_ns


def _read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a file with this thread alone: Arrow's pools of threads wait for ever where no thread can be started."""
    with pq.ParquetFile(open_for_reading(path), pre_buffer=False, page_checksum_verification=True) as file:
        return file.read(None if columns is None else list(columns), use_threads=False)


def _damaged(path: Path, error: Exception) -> InputError:
    """Return the error of a damaged part, with the consequence of moving it away."""
    then = {
        "records": "its runs will be trained again",
        "curves": "its runs still count, without their curves",
        "outcomes": "its runs still count, with intervals over seeds alone",
    }.get(path.parent.name, "")
    again = "" if path.parent.name == "records" else ", until `adamcmp remove --incomplete` has them trained again"
    return InputError(
        f"{path}: not a readable Parquet file ({one_line(error)}); restore it from a copy, or move it out of the "
        f"folder: {then}{again}"
    )


def _check_texts(path: Path, table: pa.Table, columns: Sequence[Column]) -> None:
    """Refuse texts that no adamcmp has written: a results folder may come from anybody, and they become code and paths.

    Raises:
        InputError: for the first one.
    """
    for column in columns:
        if column.type != TEXT:
            continue
        values = pc.unique(table[column.name]).drop_null().to_pylist()
        form = re.compile(column.form or ON_ONE_LINE)
        wrong = [text for text in values if not form.fullmatch(text)]
        is_sound = TEXT_CHECKS.get(column.name)
        if is_sound is not None and not wrong:
            wrong = [text for text in values if not is_sound(text)]
        if wrong:
            raise InputError(
                f"{path}: {column.name} is {quote_value(wrong[0])}, which adamcmp never writes; the file was changed "
                "or comes from another program; move it out of the folder"
            )


SETTINGS_SECTIONS = ("optimizer", "schedule", "model", "data_settings", "loss")


def _is_json_object(text: str) -> bool:
    """Return whether a text is a JSON object, whose sections, if it has some, are objects too."""
    try:
        content = load_object(text)
    except ValueError:
        return False
    return all(isinstance(content.get(name, {}), dict) for name in SETTINGS_SECTIONS)


def _is_json_of_numbers(text: str) -> bool:
    """Return whether a text is a JSON object of numbers."""
    try:
        return all(value is None or isinstance(value, int | float) for value in load_object(text).values())
    except ValueError:
        return False


def _is_command(text: str) -> bool:
    """Return whether a text is one command of adamcmp, quoted for a shell as ``shlex.join`` does."""
    try:
        words = shlex.split(text)
    except ValueError:
        return False
    return words[:1] == ["adamcmp"] and shlex.join(words) == text


TEXT_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "command": _is_command,
    "settings": _is_json_object,
    "engine_settings": _is_json_object,
    "metrics": _is_json_of_numbers,
}
"""Checks of the texts of some columns, next to their form."""
