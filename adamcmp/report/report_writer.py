"""A study's report: reads its records, writes tables, figures and pages. The only module here that writes files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from adamcmp.analysis import TaskRecords, rank_over_time, task_metrics
from adamcmp.errors import InputError
from adamcmp.report import manifest, table_formats, tables
from adamcmp.report.figure_writer import FIGURE_FORMATS, PAGE, PLOT_SCRIPT, TABLE_FORMATS, FigureFiles, write_figures
from adamcmp.report.formatting import figure_footer
from adamcmp.report.markdown import to_markdown as markdown
from adamcmp.report.report_input import (
    ReportInput,
    ReportTable,
    TaskReport,
    across_tables,
    claims_report_table,
    study_tables,
)
from adamcmp.report.sections import (
    CAPTIONS,
    CLAIM_LEGEND,
    Block,
    Bullets,
    Code,
    FigureBlock,
    Link,
    Section,
    Table,
    Text,
    report_sections,
)
from adamcmp.report.verdict_text import ACROSS, MAX_SENTENCES, format_pooled, format_split_verdicts
from adamcmp.storage.backend import open_for_writing, write_file

if TYPE_CHECKING:
    from adamcmp.report.web.index_page import IndexEntry


FORMATS = (*TABLE_FORMATS, *FIGURE_FORMATS, PAGE)
LISTED_TABLES = (
    "leaderboard",
    "grid",
    "claims",
    "verdicts",
    "effects",
    "basin",
    "sensitivity",
    "best_of_k",
    "metrics",
    "time_to_error",
)
"""Tables of a task that readers see as md, csv and tex; a study may have more, and figures have some as csv."""
CROSS_TASK_FIGURE = "profiles"
"""The table and the figure of all tasks together."""


def write_report(report: ReportInput, folder: Path, *, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write the report of stored runs and return the files, in the order they were written.

    Per task, each if it has content: the tables ``LISTED_TABLES`` (md, csv, tex), those that figures are
    drawn from (csv), the figures of ``figures.registry`` (png, svg, pdf) with ``plot.py`` (csv), which redraws them,
    and ``report.md`` (md) with all of them. ``report.html`` (html) shows all tasks in one file. The same records give
    the same bytes. ``MANIFEST.json`` holds the sources of the report, and the SHA-256 of each file.

    A study with several tasks has one sub-folder a task and a ``report.md`` that links them.

    Args:
        report: Input of the report.
        folder: Where to write, such as ``results/<study>/report``.
        formats: Which of ``FORMATS``.

    Raises:
        InputError: an unknown format, no runs, or a folder that cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"format {name}: not known; allowed: {', '.join(FORMATS)}")
    reports, earlier = report.reports, manifest.listed_files(folder)
    if not reports:
        raise InputError("no stored runs to report on; `adamcmp sweep` makes some")
    drawn: list[FigureFiles] = []
    written: list[Path] = []
    if len(reports) == 1:
        drawn.append(_write_task(reports[0], report, folder, formats, written))
    else:
        drawn += _write_tasks(reports, report, folder, formats, written)
    if PAGE in formats:
        from adamcmp.report.web.report_page import html_page

        pictures = [paths.pictures for paths in drawn]
        written.append(write_file(folder / "report.html", html_page(report, reports, pictures).encode()))
    _remove_stale_files(folder, earlier, written)
    return [*written, manifest.write_manifest(report.records, written, folder)]


def _remove_stale_files(folder: Path, earlier: Iterable[str], written: Sequence[Path]) -> None:
    """Remove the files of an earlier report in sub-folders that this one does not write, and its plot scripts."""
    used = {path.parent for path in written}
    for name in earlier:
        path = folder / name
        is_script = path.name == PLOT_SCRIPT and path not in written  # it would not fit the new tables
        if is_script or ("/" in name and path.parent not in used):
            path.unlink(missing_ok=True)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()


def _write_tasks(
    reports: Sequence[TaskReport], report_input: ReportInput, folder: Path, formats: Sequence[str], written: list[Path]
) -> list[FigureFiles]:
    """Write one folder per task, and a page of all; return the figures of each task, and last of all together."""
    with open_for_writing(folder):
        for name in manifest.listed_files(folder):  # of the time when there was one task
            if "/" not in name:
                (folder / name).unlink(missing_ok=True)
    tasks = [report.task for report in reports]
    slugs = [_folder_name(task.label) for task in tasks]
    hashes = ["" if slugs.count(slug) == 1 else f"-{task.task[:8]}" for slug, task in zip(slugs, tasks, strict=True)]
    folders = [f"{slug}{digits}" for slug, digits in zip(slugs, hashes, strict=True)]
    drawn = [
        _write_task(report, report_input, folder / name, formats, written)
        for report, name in zip(reports, folders, strict=True)
    ]
    said = report_input.study_findings.about({None})
    report_tables = [
        *across_tables(report_input),
        claims_report_table(said.claims),
        *study_tables(said, task_metrics(report_input.records)),
    ]
    ratios = rank_over_time.targets_table(tasks, report_input.curves, report_input.target_error)
    if ratios["task"].nunique() > 1:
        report_tables.append(ReportTable(CROSS_TASK_FIGURE, ratios, tables.targets_display(ratios)))
    written += write_tables(report_tables, folder, formats)
    arms = {str(arm) for task in tasks for arm in task.records["arm"]}
    figures = write_figures(report_tables, report_input, arms, figure_footer(report_input.records), folder, formats)
    written += [path for paths in figures.files.values() for path in paths]
    if "md" in formats:
        sections = _index(report_input, tasks, folders, report_tables, figures)
        written.append(write_file(folder / "report.md", markdown(sections).encode()))
    return [*drawn, figures]


def _write_task(
    report: TaskReport, report_input: ReportInput, folder: Path, formats: Sequence[str], written: list[Path]
) -> FigureFiles:
    """Write tables, figures and page of one task."""
    written += write_tables(report.tables, folder, formats)
    note = figure_footer(report.task.records, report.board)
    drawn = write_figures(report.tables, report_input, set(report.board["arm"]), note, folder, formats)
    written += [path for paths in drawn.files.values() for path in paths]
    if "md" in formats:
        files = {name: [path.name for path in paths] for name, paths in drawn.files.items() if name != PLOT_SCRIPT}
        sections = report_sections(report, files, drawn.skipped, report_input.target_error)
        written.append(write_file(folder / "report.md", markdown(sections).encode()))
    return drawn


def write_index(studies: Sequence[IndexEntry], folder: Path) -> Path:
    """Write ``index.html``: studies, their states and verdicts, with links to their pages; its path.

    Raises:
        InputError: it cannot be written.
    """
    from adamcmp.report.web.index_page import index_page

    return write_file(folder / "index.html", index_page(studies).encode())


def write_tables(report_tables: Sequence[ReportTable], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write the files of each table: its numbers, and the text for readers."""
    written = []
    for name, raw, display in (table for table in report_tables if len(table.raw)):
        texts = {"csv": partial(table_formats.to_csv, raw)}
        if display is not None:
            texts = {
                "md": partial(table_formats.to_markdown_table, display),
                **texts,
                "tex": partial(table_formats.to_latex, display),
            }
        if name == "leaderboard" and display is not None and "tex" in formats:
            main, rest = table_formats.latex_leaderboard(display, raw)
            texts["tex"] = partial(str, main)
            written.append(write_file(folder / "leaderboard_appendix.tex", rest.encode()))
        written += [
            write_file(folder / f"{name}.{kind}", text().encode()) for kind, text in texts.items() if kind in formats
        ]
    return written


def _index(
    report: ReportInput,
    tasks: Sequence[TaskRecords],
    folders: Iterable[str],
    report_tables: Sequence[ReportTable],
    drawn: FigureFiles,
) -> list[Section]:
    findings = report.study_findings.about({None})
    said = [finding.text for finding in findings.findings]
    said += [line for blocks in report.over_splits(tasks) for line in format_split_verdicts(blocks)]
    said += [format_pooled(pooled) for pooled in report.pooled[:MAX_SENTENCES]]
    displays = {table.name: table.shown for table in report_tables if table.shown is not None and len(table.raw)}
    links = [
        (Link(task.label, f"{name}/report.md"), f": {len(task.records)} runs")
        for task, name in zip(tasks, folders, strict=True)
    ]
    apart = Text("Runs of different tasks are not comparable; each task has its own page.")
    error = task_metrics(report.records).error.label
    captions = CAPTIONS | {exhibit.name: exhibit.caption for exhibit in findings.exhibits}
    pictures = {
        name: FigureBlock(name, [path.name for path in paths], captions[name].format(error=error))
        for name, paths in drawn.files.items()
        if name != PLOT_SCRIPT
    }
    soon = [pictures.pop(CROSS_TASK_FIGURE)] if CROSS_TASK_FIGURE in pictures else []
    verdict: list[Block] = [Bullets(said)] if said else []
    verdict += [Table(displays["claims"]), CLAIM_LEGEND] if "claims" in displays else []
    lacking = [(Code(name), f" was not drawn: {why}.") for name, why in drawn.skipped.items()]
    blocks: list[Block] = [*pictures.values(), *([Bullets(lacking)] if lacking else [])]
    across = [name for name in ("optimizers_by_task", "across_tasks") if name in displays]
    return [
        Section(report.title, ()),
        *([Section("Verdict", verdict)] if verdict else []),
        *([Section("Across tasks", [*(Table(displays[name]) for name in across), Text(ACROSS)])] if across else []),
        *([Section("Figures", blocks)] if blocks else []),
        Section("Tasks", [apart, Bullets(links)]),
        *(
            [Section("Time to target", [Table(displays[CROSS_TASK_FIGURE]), *soon])]
            if CROSS_TASK_FIGURE in displays
            else []
        ),
    ]


def _folder_name(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.casefold()).strip("-")[:60].rstrip("-") or "task"
