"""The command ``import``: results of other programs become a study."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adamcmp.cli.app import (
    DEFAULT_RESULTS,
    Debug,
    Formats,
    Json,
    Quiet,
    ResultsDir,
    Verbose,
    add_json,
    current_command,
    is_quiet,
    print_line,
    print_note,
)
from adamcmp.cli.summary import report_on, show_found
from adamcmp.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from adamcmp.importing.roles import Roles

Better = StrEnum("Better", ["auto", "lower", "higher"])
"""Which way a metric is better."""


def import_results(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE…",
            help="CSV, TSV, Parquet or JSON files, a folder of them, or a folder or store of W&B, MLflow, TensorBoard "
            "or Optuna.",
        ),
    ],
    study: Annotated[str | None, typer.Option(help="Name of the study. Default: that of the source.")] = None,
    optimizer: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column with the optimizer.")] = None,
    lr: Annotated[str | None, typer.Option("--lr", metavar="COLUMN", help="Column with the learning rate.")] = None,
    weight_decay: Annotated[
        str | None, typer.Option("--weight-decay", metavar="COLUMN", help="Column with the weight decay.")
    ] = None,
    seed: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column with the seed.")] = None,
    validation: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with the validation metric, which selects trials.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with the test metric, which compares optimizers.")
    ] = None,
    train: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column with the training metric.")] = None,
    task: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with the task, such as the data set.")
    ] = None,
    step: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with the step, if rows are evaluations.")
    ] = None,
    stage: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column that says tune or held-out for each run.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Column that distinguishes variants of an optimizer (repeatable)."),
    ] = None,
    better: Annotated[Better, typer.Option(help="Whether a lower or a higher metric is better.")] = Better.auto,
    unit: Annotated[
        str, typer.Option(help="Unit of the metric: share (0 to 1), percent, none, auto, or a unit to show.")
    ] = "auto",
    tuning_seeds: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="First N seeds that all trials have select trials, all others are held out."
        ),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help="Paths of files below a folder; names become columns: '{optimizer}/seed{seed}.json'."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether guessed columns are right.")] = False,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    report: Annotated[bool, typer.Option("--report", help="Also write the full report.")] = False,
    format_: Formats = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Import results of other programs, and compare their optimizers."""
    from adamcmp.cli.spinner import show_status

    with show_status("reading"):
        from adamcmp.config.schema import Study
        from adamcmp.config.validate import safe_stem
        from adamcmp.importing.roles import find_roles
        from adamcmp.importing.sources import read_runs
        from adamcmp.importing.to_records import ImportOptions, to_records

        runs = read_runs(sources, pattern)
        given = {
            "optimizer": optimizer, "lr": lr, "weight_decay": weight_decay, "seed": seed, "validation": validation,
            "test": test, "train": train, "task": task, "step": step, "stage": stage, "settings": setting,
        }  # fmt: skip
        roles, guessed = find_roles(runs.frame, given)
        name = study or safe_stem(sources[0].resolve().name) or "imported"
        try:
            Study(name=name, seeds=None)
        except ValueError as error:
            raise InputError(f"--study {name}: must be the name of a folder") from error
        direction = better.value if better != Better.auto else stated_direction(runs.frame)
        imported = to_records(runs.frame, roles, ImportOptions(name, direction, unit, tuning_seeds, current_command()))
    if not is_quiet():
        files = f"{runs.files:,} file{'s' if runs.files != 1 else ''}"
        print_note(f"{len(runs.frame):,} rows of {files} ({runs.kind})", err=False)
    show_roles(roles, guessed, imported.scales)
    if guessed and not yes and sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        typer.confirm("Are these columns right?", default=True, abort=True)
    for note in imported.notes:
        print_note(note, "yellow")
    study_dir = results_dir / name
    store_import(study_dir, imported.records, imported.curves)
    add_json(
        folder=str(study_dir), runs=len(imported.records), roles=roles.columns, guessed=sorted(guessed),
        notes=list(imported.notes),
    )  # fmt: skip
    print_line(f"{len(imported.records):,} runs are stored in {study_dir}")
    if report:
        report_on([study_dir], format_, None, title=False)
        return
    from adamcmp.report.report_input import ReportInput
    from adamcmp.storage.records import read

    show_found(ReportInput(*read(study_dir)))


def stated_direction(frame: pd.DataFrame) -> str:
    """Return which way is better if the source states it, as Optuna does; else ``auto``."""
    directions = set(frame["direction"].dropna()) if "direction" in frame else set()
    return {"minimize": "lower", "maximize": "higher"}.get(directions.pop(), "auto") if len(directions) == 1 else "auto"


def show_roles(roles: Roles, guessed: set[str], scales: Mapping[str, str]) -> None:
    """Print which column has which role, whether it was guessed by its name, and whether metrics are percentages."""
    from adamcmp.importing.to_records import describe_roles

    if is_quiet():
        return
    rows = describe_roles(roles, guessed)
    width = max(len(column) for _, column, _ in rows)
    for role, column, how in rows:
        scale = f", {scales[role]}" if role in scales else ""
        print_note(f"  {role:<13} {column:<{width}}  {how}{scale}", err=False, whole=True)


def store_import(study_dir: Path, records: list[dict[str, object]], curves: list[dict[str, object]]) -> None:
    """Store records in a study, in place of earlier imports of the same runs.

    Raises:
        InputError: the study has runs that adamcmp has trained, or cannot be written.
    """
    from adamcmp.execute.leases import exclusive_lock
    from adamcmp.storage.merging import merge_parts, remove_runs
    from adamcmp.storage.part_files import append_runs
    from adamcmp.storage.records import read_records

    study_dir.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(study_dir):
        if (study_dir / "records").is_dir():
            stored = read_records(study_dir)
            if (stored["engine"] != "imported").any():
                raise InputError(
                    f"{study_dir}: has runs that adamcmp has trained; give --study another name for the imported ones"
                )
            if replaced := set(stored["run_id"]) - {str(record["run_id"]) for record in records}:
                print_note(f"{len(replaced):,} runs of an earlier import to {study_dir} are replaced", "yellow")
            remove_runs(study_dir, set(stored["run_id"]))
        append_runs(study_dir, records, curves)
        merge_parts(study_dir)
