"""A study's report: reads its records, writes tables, figures and the page. The only module here that writes files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from adamcmp.analysis import (
    Task,
    basin,
    best_cells,
    by_task,
    cells,
    criteria_of,
    effects,
    leaderboard,
    ranks,
    requested,
    requested_curves,
    sensitivity,
    time_to_error,
)
from adamcmp.analysis.budget import best_of_k
from adamcmp.analysis.cuts import OverCuts, over_cuts
from adamcmp.analysis.intervals import Array
from adamcmp.analysis.verdicts import Verdict, frame
from adamcmp.errors import InputError
from adamcmp.records import write_file, writing
from adamcmp.report import tables
from adamcmp.report.judging import Judging, cuts_sentences, sentences
from adamcmp.report.labels import distinct, footer
from adamcmp.report.page import CAPTIONS, Bullets, Finding, Picture, Section, Table, Text, markdown_page, page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Drawings = dict[str, Callable[[], Figure]]

TABLES, FIGURES = ("md", "csv", "tex"), ("png", "svg", "pdf")
FORMATS = (*TABLES, *FIGURES)
DRAWN = (
    "verdicts",
    "heatmap",
    "learning_curves",
    "error_vs_decay",
    "error_vs_lr",
    "error_vs_train_loss",
    "basin",
    "budget",
    "ranks",
    "metrics",
    "layers",
)
TABULATED = (
    "leaderboard",
    "grid",
    "verdicts",
    "effects",
    "basin",
    "sensitivity",
    "best_of_k",
    "metrics",
    "time_to_error",
)
OF_TASKS = "profiles"
"""The table and the figure of all tasks together."""


@dataclass(frozen=True)
class Reported:
    """What a report is made of."""

    records: pd.DataFrame
    """Stored runs, columns ``records.RECORD``; of a comparison also those of ``analysis.comparing.compared``."""
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Their evaluations, columns ``records.CURVE``; only ``write_report`` needs them."""
    outcomes: Mapping[str, Array] = field(default_factory=dict)
    """What test examples say of confirming runs, ``records.read_outcomes``."""
    judging: Judging = Judging()  # noqa: RUF009  # frozen
    """How arms are judged."""
    findings: Sequence[Finding] = ()
    """What a study's own statistics say, for the page of the task or, of several, of the study."""
    target_error: float | None = None
    """A validation error; the report then tells how soon each optimizer gets there."""
    _told: dict[str, list[Verdict]] = field(default_factory=dict, repr=False, compare=False)

    def verdicts(self, task: Task) -> list[Verdict]:
        """Of one of its tasks; reckoned once."""
        if task.task not in self._told:
            self._told[task.task] = self.judging.verdicts(task, self.outcomes)
        return self._told[task.task]

    def over_cuts(self, tasks: Sequence[Task]) -> list[OverCuts]:
        """What tasks say together that are cuts of one data set."""
        margin = self.judging.margin
        return over_cuts(tasks, margin if margin is None else margin / criteria_of(self.records).error.factor)


def write_report(found: Reported, folder: Path, *, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write the report of stored runs and return the files, in the order they were written.

    Per task, each where there is something to show: the tables ``TABULATED`` (md, csv, tex; ``metrics`` where runs
    measured what ``train.metrics`` asks for, ``time_to_error`` where a target is given), the figures ``DRAWN`` (png,
    svg, pdf), and ``report.md`` (md), which shows them. The same records give the same bytes.

    A study with several tasks has one sub-folder a task and a ``report.md`` that links them.

    Args:
        found: What it is made of.
        folder: Where to write, such as ``results/<study>/report``.
        formats: Which of ``FORMATS``.

    Raises:
        InputError: an unknown format, no runs, or a folder that cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"format {name}: not known; allowed: {', '.join(FORMATS)}")
    tasks = by_task(found.records)
    if not tasks:
        raise InputError("no stored runs to report on; `adamcmp sweep` makes some")
    if len(tasks) == 1:
        return _write_task(tasks[0], found, [each.text for each in found.findings], folder, formats)
    for name in (*TABULATED, *DRAWN):  # of the time when there was one task
        for kind in FORMATS:
            with writing(folder):
                (folder / f"{name}.{kind}").unlink(missing_ok=True)
    written: list[Path] = []
    folders = [f"{_slug(task.label)}-{task.task[:8]}" for task in tasks]
    for task, name in zip(tasks, folders, strict=True):
        said = [each.text for each in found.findings if each.task == task.task]
        written += _write_task(task, found, said, folder / name, formats)
    ratios = ranks.to_targets(tasks, found.curves, found.target_error)
    several = ratios["task"].nunique() > 1
    if several:
        written += _write_tables([(OF_TASKS, ratios, tables.targets_display(ratios))], folder, formats)
    figures, _ = _write_figures(_of_tasks(ratios, found.records) if several else dict, folder, formats)
    written += [path for paths in figures.values() for path in paths]
    if "md" in formats:
        sections = _index(found, tasks, folders, ratios if several else None, figures)
        written.append(write_file(folder / "report.md", markdown_page(sections).encode()))
    return written


def _write_task(
    task: Task, reported: Reported, said: Sequence[str], folder: Path, formats: Sequence[str]
) -> list[Path]:
    records, curves, criteria = task.records, reported.curves, criteria_of(task.records)
    pronounced = reported.verdicts(task)
    table, board = cells(records), leaderboard(records)
    best = best_cells(table)
    found, sizes = requested(records, best), effects.effects(records, best, pronounced)
    basins, spans = basin.basins(records, table), sensitivity.sensitivities(records, table)
    best_of, order = best_of_k(records, table), ranks.ranks(curves, records, best)
    made = [
        ("leaderboard", board, tables.leaderboard_display(board)),
        ("grid", table, tables.grid_display(table)),
        ("verdicts", frame(pronounced), tables.verdicts_display(pronounced, criteria)),
        ("effects", effects.frame(sizes), tables.effects_display(sizes, criteria)),
        ("basin", basin.frame(basins), tables.basin_display(basins, criteria)),
        ("sensitivity", sensitivity.frame(spans), tables.sensitivity_display(spans, criteria)),
    ]
    if len(best_of) and best_of["k"].max() > 1:
        made.append(("best_of_k", best_of, tables.budget_display(best_of, criteria)))
    if len(found):
        made.append(("metrics", found, tables.requested_display(found)))
    if reported.target_error is not None:
        soon = time_to_error(curves, records, best, reported.target_error).assign(target=reported.target_error)
        made.append(("time_to_error", soon, tables.time_display(soon)))
    made = [(name, raw, tables.with_edges(shown, board)) for name, raw, shown in made if len(raw)]
    written = _write_tables(made, folder, formats)

    def drawings() -> Drawings:
        from adamcmp.report.budget import budget_figure, ranks_figure
        from adamcmp.report.forest import verdicts_figure
        from adamcmp.report.heatmap import heatmap
        from adamcmp.report.intervals import basin_figure
        from adamcmp.report.learning_curves import learning_curves
        from adamcmp.report.requested import layers, metrics
        from adamcmp.report.scatter import error_vs_train_loss
        from adamcmp.report.sensitivity import error_vs_decay, error_vs_lr

        from_ = footer(records, board)
        drawn: Drawings = {
            "verdicts": lambda: verdicts_figure(pronounced, criteria, footer=from_),
            "heatmap": lambda: heatmap(table, footer=from_),
            "learning_curves": lambda: learning_curves(curves, records, best, footer=from_),
            "error_vs_decay": lambda: error_vs_decay(table, footer=from_),
            "error_vs_lr": lambda: error_vs_lr(table, footer=from_),
            "error_vs_train_loss": lambda: error_vs_train_loss(table, footer=from_),
            "basin": lambda: basin_figure(basins, spans, criteria, footer=from_),
            "budget": lambda: budget_figure(best_of, criteria, footer=from_),
            "ranks": lambda: ranks_figure(order, footer=from_),
        }
        if len(found):
            along = requested_curves(curves, records, best)
            drawn |= {"metrics": lambda: metrics(along, footer=from_), "layers": lambda: layers(along, footer=from_)}
        return drawn

    figures, skipped = _write_figures(drawings, folder, formats)
    written += [path for paths in figures.values() for path in paths]
    if "md" in formats:
        files = {name: [path.name for path in paths] for name, paths in figures.items()}
        extra = {name: shown for name, _, shown in made[2:]}
        flips = ranks.flips(order)
        verdict = [*sentences(task, pronounced), *said, *([flips] if flips else [])]
        sections = page(task, board, table, files, skipped, verdict, extra, reported.target_error)
        written.append(write_file(folder / "report.md", markdown_page(sections).encode()))
    return written


def _write_tables(
    made: Sequence[tuple[str, pd.DataFrame, pd.DataFrame]], folder: Path, formats: Sequence[str]
) -> list[Path]:
    """The files of each table: its name, its numbers, and what people read."""
    written = []
    for name, raw, shown in made:
        for kind in (kind for kind in TABLES if kind in formats):
            text = (
                tables.csv(raw) if kind == "csv" else tables.latex(shown) if kind == "tex" else tables.markdown(shown)
            )
            written.append(write_file(folder / f"{name}.{kind}", text.encode()))
    return written


def _of_tasks(ratios: pd.DataFrame, records: pd.DataFrame) -> Callable[[], Drawings]:
    def drawings() -> Drawings:
        from adamcmp.report.budget import profiles_figure

        return {OF_TASKS: lambda: profiles_figure(ratios, footer=footer(records))}

    return drawings


def _write_figures(
    drawings: Callable[[], Drawings], folder: Path, formats: Sequence[str]
) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """The files of each figure that could be drawn, and why the others could not.

    ``drawings`` is not called where no figure is asked for: a report of tables alone must not pay for matplotlib.
    """
    kinds = [kind for kind in FIGURES if kind in formats]
    if not kinds:
        return {}, {}
    from adamcmp.report.parallel import each
    from adamcmp.report.style import NotDrawn, arrange, render

    def rendered(draw: Callable[[], Figure]) -> list[bytes]:
        fig = draw()
        arrange(fig)
        return [render(fig, kind) for kind in kinds]

    written: dict[str, list[Path]] = {}
    skipped: dict[str, str] = {}
    for name, drawn in each({name: partial(rendered, draw) for name, draw in drawings().items()}).items():
        if isinstance(drawn, NotDrawn):
            skipped[name] = str(drawn)
        elif isinstance(drawn, Exception):
            raise drawn
        else:
            pairs = zip(kinds, drawn, strict=True)
            written[name] = [write_file(folder / f"{name}.{kind}", content) for kind, content in pairs]
    return written, skipped


def _index(
    found: Reported,
    tasks: Sequence[Task],
    folders: Iterable[str],
    ratios: pd.DataFrame | None,
    figures: Mapping[str, Sequence[Path]],
) -> list[Section]:
    said = [each.text for each in found.findings if each.task is None]
    said += [line for each in found.over_cuts(tasks) for line in cuts_sentences(each)]
    links = [f"[{t.label}]({name}/report.md): {len(t.records)} runs" for t, name in zip(tasks, folders, strict=True)]
    apart = Text("Runs of different tasks are not comparable; each has a page of its own.")
    pictures = [Picture(name, [path.name for path in paths], CAPTIONS[name]) for name, paths in figures.items()]
    soon = [] if ratios is None else [Section("How soon", [Table(tables.targets_display(ratios)), *pictures])]
    return [
        Section(distinct(found.records["study"]), ()),
        *([Section("Verdict", [Bullets(said)])] if said else []),
        Section("Tasks", [apart, Bullets(links)]),
        *soon,
    ]


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.casefold()).strip("-")[:60].rstrip("-") or "task"
