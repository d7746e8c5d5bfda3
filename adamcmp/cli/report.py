"""The command ``report``: write pages, tables and figures of stored studies."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from adamcmp.cli.app import Debug, Format, Formats, Json, Quiet, Verbose, Width, print_line, print_note
from adamcmp.cli.spinner import show_status
from adamcmp.cli.summary import report_on
from adamcmp.cli.verify import verify
from adamcmp.errors import InputError, command_text
from adamcmp.storage.backend import open_path


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
