"""The command ``compare``: verdicts on optimizers or studies that are already trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adamcmp.cli.app import DEFAULT_RESULTS, Debug, Formats, Json, Margin, Quiet, ResultsDir, Verbose, print_note
from adamcmp.cli.spinner import show_status
from adamcmp.cli.summary import show_found, write_files
from adamcmp.storage.backend import open_path


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
        from adamcmp.report.report_input import ReportInput
        from adamcmp.report.verdict_text import ComparisonSettings
        from adamcmp.storage.records import read_all, read_outcomes
        from adamcmp.studies import comparison_settings

        sources = resolve_sources(sides, results_dir)
        records = compare_sources(sources.sides)
        comparison = comparison_settings(sources.study_dirs) if margin is None else ComparisonSettings(margin)
        curves = read_all(sources.study_dirs).curves
        report_input = ReportInput(records, curves, read_outcomes(sources.study_dirs), comparison)
    compared, within = sides[: len(sources.sides)], sides[len(sources.sides) :]
    show_found(report_input, " · ".join([" vs. ".join(compared), *within]))
    for line in unmatched_runs(sources.sides, records):
        print_note(line, err=False)
    if not any(report_input.verdicts(task) for task in split_by_task(records)):
        print_note("No verdict: none of these pairs has held-out runs. Sweep with study.confirm.seeds=8.", err=False)
    if out is not None:
        write_files(report_input, formats, out)
