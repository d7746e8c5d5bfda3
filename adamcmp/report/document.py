"""A study's report: reads its records, writes tables, figures and the page. The only module here that writes files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from adamcmp.analysis import (
    Task,
    best_cells,
    by_task,
    cells,
    criteria_of,
    leaderboard,
    requested,
    requested_curves,
    time_to_error,
)
from adamcmp.analysis.intervals import Array
from adamcmp.analysis.verdicts import Verdict, frame
from adamcmp.errors import InputError
from adamcmp.records import write_file, writing
from adamcmp.report import tables
from adamcmp.report.judging import Judging, sentences
from adamcmp.report.labels import distinct, footer
from adamcmp.report.page import Bullets, Finding, Section, Text, markdown_page, page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLES, FIGURES = ("md", "csv", "tex"), ("png", "svg", "pdf")
FORMATS = (*TABLES, *FIGURES)
DRAWN = ("heatmap", "learning_curves", "error_vs_decay", "error_vs_lr", "error_vs_train_loss", "metrics", "layers")
TABULATED = ("leaderboard", "verdicts", "grid", "metrics", "time_to_error")


def write_report(
    records: pd.DataFrame,
    curves: pd.DataFrame,
    folder: Path,
    *,
    formats: Sequence[str] = FORMATS,
    findings: Sequence[Finding] = (),
    target_error: float | None = None,
    judging: Judging = Judging(),  # noqa: B008  # frozen
    outcomes: Mapping[str, Array] | None = None,
) -> list[Path]:
    """Write the report of stored runs and return the files, in the order they were written.

    Per task: ``leaderboard.*``, ``verdicts.*`` and ``grid.*`` (md, csv, tex), ``metrics.*`` where runs measured what
    ``train.metrics`` asks for, and ``time_to_error.*`` where a target is given; ``heatmap.*``, ``learning_curves.*``,
    ``error_vs_decay.*``, ``error_vs_lr.*``, ``error_vs_train_loss.*``, ``metrics.*`` and ``layers.*`` (png, svg,
    pdf), each where there is something to draw; ``report.md`` (md), which shows them. The same records give the same
    bytes.

    A study with several tasks has one sub-folder a task and a ``report.md`` that links them.

    Args:
        records: Stored runs, columns ``records.RECORD``.
        curves: Their evaluations, columns ``records.CURVE``.
        folder: Where to write, such as ``results/<study>/report``.
        formats: Which of ``FORMATS``.
        findings: What a study's own statistics say, for the page of the task or, of several, of the study.
        target_error: A validation error; the report then tells how soon each optimizer gets there.
        judging: How arms are judged.
        outcomes: What test examples say of confirming runs, ``records.read_outcomes``.

    Raises:
        InputError: an unknown format, no runs, or a folder that cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"format {name}: not known; allowed: {', '.join(FORMATS)}")
    tasks = by_task(records)
    if not tasks:
        raise InputError("no stored runs to report on; `adamcmp sweep` makes some")
    if len(tasks) == 1:
        said = [each.text for each in findings]
        pronounced = judging.verdicts(tasks[0], outcomes or {})
        return _write_task(tasks[0], curves, folder, formats, said, target_error, pronounced)
    for name in (*TABULATED, *DRAWN):  # of the time when there was one task
        for kind in FORMATS:
            with writing(folder):
                (folder / f"{name}.{kind}").unlink(missing_ok=True)
    written: list[Path] = []
    folders = [f"{_slug(task.label)}-{task.task[:8]}" for task in tasks]
    for task, name in zip(tasks, folders, strict=True):
        said = [each.text for each in findings if each.task == task.task]
        pronounced = judging.verdicts(task, outcomes or {})
        written += _write_task(task, curves, folder / name, formats, said, target_error, pronounced)
    if "md" in formats:
        written.append(
            write_file(folder / "report.md", markdown_page(_index(records, tasks, folders, findings)).encode())
        )
    return written


def _write_task(
    task: Task,
    curves: pd.DataFrame,
    folder: Path,
    formats: Sequence[str],
    said: Sequence[str],
    target_error: float | None,
    pronounced: list[Verdict],
) -> list[Path]:
    table, board = cells(task.records), leaderboard(task.records)
    best = best_cells(table)
    found = requested(task.records, best)
    pairs = [
        ("leaderboard", board, tables.leaderboard_display(board)),
        ("grid", table, tables.grid_display(table)),
    ]
    if pronounced:
        shown = tables.verdicts_display(pronounced, criteria_of(task.records))
        pairs.append(("verdicts", frame(pronounced), shown))
    if len(found):
        pairs.append(("metrics", found, tables.requested_display(found)))
    if target_error is not None:
        soon = time_to_error(curves, task.records, best, target_error).assign(target=target_error)
        pairs.append(("time_to_error", soon, tables.time_display(soon)))
    written: list[Path] = []
    for name, raw, shown in pairs:
        for kind in (kind for kind in TABLES if kind in formats):
            text = (
                tables.csv(raw) if kind == "csv" else tables.latex(shown) if kind == "tex" else tables.markdown(shown)
            )
            written.append(write_file(folder / f"{name}.{kind}", text.encode()))
    figures, skipped = _write_figures(task, curves, table, found, folder, [kind for kind in FIGURES if kind in formats])
    written += [path for paths in figures.values() for path in paths]
    if "md" in formats:
        files = {name: [path.name for path in paths] for name, paths in figures.items()}
        extra = {name: shown for name, _, shown in pairs[2:]}
        verdict = [*sentences(task, pronounced), *said]
        sections = page(task, board, table, files, skipped, verdict, extra, target_error)
        written.append(write_file(folder / "report.md", markdown_page(sections).encode()))
    return written


def _write_figures(
    task: Task,
    curves: pd.DataFrame,
    table: pd.DataFrame,
    found: pd.DataFrame,
    folder: Path,
    kinds: Sequence[str],
) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """The files of each figure that could be drawn, and why the others could not."""
    if not kinds:
        return {}, {}
    # Here, not above: a report of tables alone must not pay for matplotlib.
    from adamcmp.report.heatmap import heatmap
    from adamcmp.report.learning_curves import learning_curves
    from adamcmp.report.parallel import each
    from adamcmp.report.requested import layers, metrics
    from adamcmp.report.scatter import error_vs_train_loss
    from adamcmp.report.sensitivity import error_vs_decay, error_vs_lr
    from adamcmp.report.style import NotDrawn, render

    made_from = footer(task.records)
    drawings: dict[str, Callable[[], Figure]] = {
        "heatmap": lambda: heatmap(table, footer=made_from),
        "learning_curves": lambda: learning_curves(curves, task.records, best_cells(table), footer=made_from),
        "error_vs_decay": lambda: error_vs_decay(table, footer=made_from),
        "error_vs_lr": lambda: error_vs_lr(table, footer=made_from),
        "error_vs_train_loss": lambda: error_vs_train_loss(table, footer=made_from),
    }
    if len(found):
        along = requested_curves(curves, task.records, best_cells(table))
        drawings["metrics"] = lambda: metrics(along, footer=made_from)
        drawings["layers"] = lambda: layers(along, footer=made_from)

    def rendered(draw: Callable[[], Figure]) -> list[bytes]:
        fig = draw()
        return [render(fig, kind) for kind in kinds]

    written: dict[str, list[Path]] = {}
    skipped: dict[str, str] = {}
    for name, drawn in each({name: partial(rendered, draw) for name, draw in drawings.items()}).items():
        if isinstance(drawn, NotDrawn):
            skipped[name] = str(drawn)
        elif isinstance(drawn, Exception):
            raise drawn
        else:
            pairs = zip(kinds, drawn, strict=True)
            written[name] = [write_file(folder / f"{name}.{kind}", content) for kind, content in pairs]
    return written, skipped


def _index(
    records: pd.DataFrame, tasks: Sequence[Task], folders: Iterable[str], findings: Sequence[Finding]
) -> list[Section]:
    said = [each.text for each in findings if each.task is None]
    links = [f"[{t.label}]({name}/report.md): {len(t.records)} runs" for t, name in zip(tasks, folders, strict=True)]
    apart = Text("Runs of different tasks are not comparable; each has a page of its own.")
    return [
        Section(distinct(records["study"]), ()),
        *([Section("Verdict", [Bullets(said)])] if said else []),
        Section("Tasks", [apart, Bullets(links)]),
    ]


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.casefold()).strip("-")[:60].rstrip("-") or "task"
