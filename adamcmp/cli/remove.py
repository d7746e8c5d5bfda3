"""The command ``remove``: delete stored runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import typer

from adamcmp.cli.app import Debug, Json, ResultFolders, add_json, print_line
from adamcmp.errors import InputError

Status = StrEnum("Status", ["completed", "diverged", "failed"])
"""How a run ended."""


MIN_ID_CHARS = 6
"""Characters of a run's ID that ``remove`` asks for, at least."""


def _check_filters(filters: Mapping[str, str | None], ids: Sequence[str]) -> None:
    """Refuse empty filters, which an unset shell variable leaves: they would match every run.

    Raises:
        InputError: a filter is empty, or an ID's beginning is too short or no such thing.
    """
    for option, text in [*filters.items(), *(("--id", id_) for id_ in ids)]:
        if text is not None and not text.strip():
            raise InputError(f"remove {option} {text!r}: is empty; give a value, or leave {option} out")
    for id_ in ids:
        if len(id_) < MIN_ID_CHARS or not re.fullmatch("[0-9a-f]+", id_):
            raise InputError(
                f"remove --id {id_}: give at least the first {MIN_ID_CHARS} of an ID's hexadecimal digits; "
                "`adamcmp export --to csv` lists them"
            )


def remove(
    results: ResultFolders,
    status_: Annotated[
        Status | None, typer.Option("--status", help="Only runs with this status: completed, diverged or failed.")
    ] = None,
    arm: Annotated[
        str | None,
        typer.Option("--optimizer", "--arm", help="Only runs of this optimizer (label or configuration name)."),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Only runs that this study trained.")] = None,
    id_: Annotated[
        list[str] | None, typer.Option("--id", help="Only the run with this ID or beginning of an ID (repeatable).")
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Only runs whose curve or per-example errors are lost.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Delete stored runs by status, optimizer, study or ID."""
    from adamcmp.execute.study_dir import match_run_ids, remove_stored_runs
    from adamcmp.storage.records import find_incomplete, find_studies, read_records

    _check_filters({"--optimizer": arm, "--study": study}, id_ or ())
    if not (incomplete or any((status_, arm, study, id_))):
        raise InputError("remove: no filter given; use --status, --optimizer, --study, --id or --incomplete")
    matches = {
        folder: match_run_ids(read_records(folder), status=status_, arm=arm, study=study, ids=id_ or ())
        for path in results
        for folder in find_studies(path)
    }
    if incomplete:
        matches = {folder: ids & set[str]().union(*find_incomplete(folder)) for folder, ids in matches.items()}
    matches = {folder: ids for folder, ids in matches.items() if ids}
    for folder, ids in matches.items():
        print_line(f"{folder}: {len(ids):,} run{'' if len(ids) == 1 else 's'}")
    if not matches:
        print_line("No stored runs match these filters. Nothing was removed.")
        return
    if not yes and not typer.confirm("Remove these runs?"):
        print_line("Nothing was removed.")
        return
    for folder, ids in matches.items():
        remove_stored_runs(folder, ids)
        add_json(removed=[{"folder": str(folder), "runs": sorted(ids)}])
    print_line("Removed.")
