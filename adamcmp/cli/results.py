"""Commands on stored runs: report, compare, watch, export, merge, remove, verify."""

from __future__ import annotations

import re
import time
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from adamcmp import signals
from adamcmp.cli.app import (
    DEFAULT_RESULTS,
    EXIT_OK,
    EXIT_RUN_FAILED,
    Debug,
    Format,
    Formats,
    Json,
    Margin,
    Quiet,
    ResultsDir,
    Verbose,
    Width,
    add_json,
    print_line,
    print_note,
    print_table,
)
from adamcmp.cli.spinner import show_status
from adamcmp.cli.summary import print_damage, report_on, show_found, write_files
from adamcmp.errors import InputError, command_text
from adamcmp.storage.backend import is_local, open_path

if TYPE_CHECKING:
    from rich.console import RenderableType


class Status(StrEnum):
    """How a run ended."""

    completed = "completed"
    diverged = "diverged"
    failed = "failed"


def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS…",
            help="results/STUDY, or the folder above studies. Several folders make one report.",
            parser=open_path,
        ),
    ],
    formats: Formats = None,
    out: Annotated[Path | None, typer.Option(help="Output folder. Default: RESULTS/report.", parser=open_path)] = None,
    target_error: Annotated[
        float | None,
        typer.Option(help="Add the time to reach this validation error (0.1 = 10 %)."),
    ] = None,
    width: Annotated[Width | None, typer.Option(help="Figure width: single or double journal column.")] = None,
    plot_script: Annotated[
        bool, typer.Option("--plot-script", help="Also write plot.py, which redraws the figures without adamcmp.")
    ] = False,
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Also write bundle.zip for reviewers: runs, code, versions and commands.")
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open report.html in the browser.")] = False,
    verify_: Annotated[bool, typer.Option("--verify", hidden=True)] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Write report.html, tables and figures for one or more studies."""
    if verify_:  # the name that `adamcmp verify` had
        verify(results)
    with show_status("reading"):
        from adamcmp.storage.records import find_studies

        study_dirs = [study_dir for path in results for study_dir in find_studies(path)]
    if len(results) > 1:
        if out is None:
            raise InputError(f"report {' '.join(map(str, results))}: several folders make one report; add --out FOLDER")
        report_on(study_dirs, formats, out, target_error, width, plot_script=plot_script, bundle=bundle)
        pages = [out / "report.html"]
    elif study_dirs == results:
        report_on(study_dirs, formats, out, target_error, width, plot_script=plot_script, bundle=bundle)
        pages = [(out or results[0] / "report") / "report.html"]
    else:
        if bundle:
            one = command_text("report", str(study_dirs[0]), "--bundle")
            raise InputError(f"report {results[0]} --bundle: holds {len(study_dirs)} studies; name one, such as {one}")
        pages = [_report_on_all(results[0], study_dirs, formats, out, target_error, width, plot_script)]
    if open_:
        _open_in_browser(pages[0])


def _report_on_all(
    root: Path,
    study_dirs: Sequence[Path],
    formats: list[Format] | None,
    out: Path | None,
    target_error: float | None,
    width: Width | None,
    plot_script: bool,
) -> Path:
    """Return the report of each study below a folder, and a page of all; that page."""
    from adamcmp.execute.progress_file import SweepProgress
    from adamcmp.report.report_writer import write_index
    from adamcmp.report.web.index_page import IndexEntry

    indexed = []
    for study_dir in study_dirs:
        folder = out / study_dir.name if out else None
        reported = report_on([study_dir], formats, folder, target_error, width, plot_script=plot_script)
        progress = SweepProgress.read(study_dir)
        state = progress.state if progress is not None else "done"
        link = f"{study_dir.name}/report.html" if out else f"{study_dir.name}/report/report.html"
        indexed.append(IndexEntry(study_dir.name, quote(link), reported, state))
    page = (out or root) / "index.html"
    if formats is None or Format.html in formats:
        print_line(f"\nall studies: {write_index(indexed, out or root)}")
    return page


def _open_in_browser(page: Path) -> None:
    if not page.is_file():
        raise InputError(f"--open: {page} is not there; leave --format out, or add --format html")
    if not webbrowser.open(page.resolve().as_uri()):
        print_note(f"no browser could be started; open {page} yourself", "yellow")


def verify(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS…", help="results/STUDY, or the folder above studies.", parser=open_path),
    ],
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Check report files against their checksums; write nothing."""
    from adamcmp.report import manifest

    verified = [manifest.verify_report(folder) for folder in results]
    for result in verified:
        for text, names in (
            ("changed", result.changed),
            ("missing", result.missing),
            ("not a file of the report", result.others),
        ):
            for name in names:
                print_line(f"{result.folder / name}: {text}")
        state = f"all {result.files} files are as they were written" if result.is_whole else "not as it was written"
        print_line(f"{result.folder}: {state}")
    add_json(reports=[{"folder": str(result.folder), "whole": result.is_whole, "changed": result.changed,
                     "missing": result.missing, "others": result.others} for result in verified])  # fmt: skip
    raise typer.Exit(EXIT_OK if all(result.is_whole for result in verified) else EXIT_RUN_FAILED)


def watch(
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RESULTS…]", help="results/STUDY, or the folder above studies. Default: results.", parser=open_path
        ),
    ] = None,
    every: Annotated[float, typer.Option(min=0.2, help="Refresh interval in seconds.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print once and exit.")] = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Show a live dashboard of running sweeps."""
    from rich.console import Console
    from rich.live import Live

    from adamcmp.cli.dashboard import StudyMonitor, find_monitors, render_dashboard

    monitors = [StudyMonitor(folder) for path in results or [DEFAULT_RESULTS] for folder in find_monitors(path)]

    def refresh_all() -> RenderableType:
        for monitor in monitors:
            monitor.refresh()
        return render_dashboard(monitors)

    console = Console(highlight=False)
    first = refresh_all()
    if not once and console.is_terminal:
        with signals.defer_signals(), Live(first, console=console, screen=True, auto_refresh=False) as live:
            while any(monitor.is_alive for monitor in monitors) and not signals.stop_requested():
                deadline = time.monotonic() + every
                while time.monotonic() < deadline and not signals.stop_requested():
                    time.sleep(0.05)
                live.update(refresh_all(), refresh=True)
    studies: list[dict[str, object]] = []
    for monitor in monitors:
        now = monitor.progress
        # told: the former name of updated_at
        fields = {**asdict(now), "told": now.updated_at, "state": now.state} if now else {"state": None}
        studies.append({"folder": str(monitor.folder), **fields})
    add_json(studies=studies)
    print_table(render_dashboard(monitors))


def compare(
    sides: Annotated[
        list[str],
        typer.Argument(metavar="A B…", help="Optimizers, studies, results folders, or FOLDER:OPTIMIZER."),
    ],
    margin: Margin = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for tables and figures of the comparison. Default: none are written.", parser=open_path
        ),
    ] = None,
    formats: Formats = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Compare optimizers or studies that are already trained."""
    with show_status("reading"):
        from adamcmp.analysis import split_by_task
        from adamcmp.report.comparison import compare_sources, resolve_sources, unmatched_runs
        from adamcmp.report.model import ReportInput
        from adamcmp.report.verdict_text import ComparisonSettings
        from adamcmp.storage.records import read_all, read_outcomes
        from adamcmp.studies import comparison_settings

        sources = resolve_sources(sides, results_dir)
        records = compare_sources(sources.sides)
        judging = comparison_settings(sources.study_dirs) if margin is None else ComparisonSettings(margin)
        curves = read_all(sources.study_dirs).curves
        report_input = ReportInput(records, curves, read_outcomes(sources.study_dirs), judging)
    show_found(report_input, " vs. ".join(sides))
    for line in unmatched_runs(sources.sides, records):
        print_note(line, err=False)
    if not any(report_input.verdicts(task) for task in split_by_task(records)):
        print_note("No verdict: none of these pairs has held-out runs. Sweep with study.confirm.seeds=8.", err=False)
    if out is not None:
        write_files(report_input, formats, out)


def merge(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS…", help="results/STUDY, or folders above studies.", parser=open_path),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the merged studies.", parser=open_path)],
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Merge results folders, for example from two machines."""
    from adamcmp.execute.study_dir import merge_studies
    from adamcmp.storage.records import find_studies, read_records

    by_name: dict[str, list[Path]] = {}
    for path in results:
        for folder in find_studies(path):
            by_name.setdefault(folder.resolve().name, []).append(folder)
    for name, folders in by_name.items():
        merge_studies(out / name, [folder for folder in folders if folder.resolve() != (out / name).resolve()])
        count = len(read_records(out / name))
        print_damage([out / name])
        add_json(merged=[{"folder": str(out / name), "runs": count}])
        print_line(f"{out / name}: {count:,} runs")


class ExportFormat(StrEnum):
    """Formats and trackers to which runs are exported."""

    csv = "csv"
    parquet = "parquet"
    mlflow = "mlflow"
    tensorboard = "tensorboard"
    wandb = "wandb"
    optuna = "optuna"


def export(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS…", help="results/STUDY, or the folder above studies.", parser=open_path),
    ],
    to: Annotated[ExportFormat, typer.Option(help="Target: files or a tracker.")],
    out: Annotated[Path | None, typer.Option(help="Output folder. Default: RESULTS/TARGET.", parser=open_path)] = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Export runs to CSV, Parquet, MLflow, TensorBoard, W&B, Optuna."""
    with show_status("writing"):
        from adamcmp.storage.records import find_studies, read_all
        from adamcmp.trackers import export as write

        folders = [folder for path in results for folder in find_studies(path)]
        where = out or results[0] / to.value
        if not is_local(where):
            raise InputError(f"export --to {to.value}: {where} is no folder of this machine; add --out FOLDER")
        count = write(read_all(folders), to.value, where)
    add_json(to=to.value, out=str(where), written=count)
    what = {"optuna": "trials"}.get(to.value, "runs")
    new = "new " if to.value in ("mlflow", "tensorboard", "wandb") else ""
    print_line(f"{where}: {count:,} {new}{what}; {EXPORT_HINTS[to.value].format(where=where)}")


EXPORT_HINTS = {
    "csv": "records.csv and curves.csv",
    "parquet": "records.parquet and curves.parquet",
    "optuna": "optuna-dashboard sqlite:///{where}/optuna.db shows them",
    "tensorboard": "tensorboard --logdir {where} shows them",
    "mlflow": "mlflow ui --backend-store-uri sqlite:///{where}/mlflow.db shows them, unless MLFLOW_TRACKING_URI is set",
    "wandb": "wandb sync {where}/wandb/offline-run-* uploads them",
}


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
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS…", help="results/STUDY, or the folder above studies.", parser=open_path),
    ],
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
    from adamcmp.storage.records import find_incomplete as lacking
    from adamcmp.storage.records import find_studies, read_records

    _check_filters({"--optimizer": arm, "--study": study}, id_ or ())
    if not (incomplete or any((status_, arm, study, id_))):
        raise InputError("remove: no filter given; use --status, --optimizer, --study, --id or --incomplete")
    matches = {
        folder: match_run_ids(read_records(folder), status=status_, arm=arm, study=study, ids=id_ or ())
        for path in results
        for folder in find_studies(path)
    }
    if incomplete:
        matches = {folder: ids & set[str]().union(*lacking(folder)) for folder, ids in matches.items()}
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
