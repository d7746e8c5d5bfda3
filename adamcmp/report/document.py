"""A study's report: reads its records, writes tables, figures and the page. The only module here that writes files."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
    mean_curves,
    ranks,
    requested,
    requested_curves,
    sensitivity,
    time_to_error,
)
from adamcmp.analysis import claims as claimed
from adamcmp.analysis.budget import best_of_k
from adamcmp.analysis.cuts import OverCuts, over_cuts
from adamcmp.analysis.intervals import Array
from adamcmp.analysis.verdicts import Verdict, frame
from adamcmp.criteria import Criteria
from adamcmp.errors import InputError
from adamcmp.records import write_file, writing
from adamcmp.report import manifest, tables
from adamcmp.report.judging import Judging, cuts_sentences, sentences
from adamcmp.report.labels import distinct, footer
from adamcmp.report.page import CAPTIONS, CLAIMED, Block, Bullets, Picture, Section, Table, Text, markdown_page, page
from adamcmp.report.told import Told, claims_display

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from adamcmp.drawing.style import Page

TABLES, FIGURES = ("md", "csv", "tex"), ("png", "svg", "pdf")
FORMATS = (*TABLES, *FIGURES)
TABULATED = (
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
"""The tables of a task that people read, as md, csv and tex; a study may have more, and figures have some as csv."""
OF_TASKS = "profiles"
"""The table and the figure of all tasks together."""
REDRAW = "plot.py"
"""The script that draws the figures again from the tables beside it."""


class Made(NamedTuple):
    """A table of a report."""

    name: str
    raw: pd.DataFrame
    """Its numbers, as csv has them."""
    shown: pd.DataFrame | None = None
    """What people read; None: it is there for a figure."""


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
    told: Told = Told()  # noqa: RUF009  # frozen
    """What a study says of its runs."""
    target_error: float | None = None
    """A validation error; the report then tells how soon each optimizer gets there."""
    width: str = "double"
    """That figures are drawn at: one column of a journal (``single``) or two."""
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

    Per task, each where there is something to show: the tables ``TABULATED`` (md, csv, tex), those that figures are
    drawn from (csv), the figures of ``drawing.FIGURES`` (png, svg, pdf) with ``plot.py`` (csv), which draws them again,
    and ``report.md`` (md), which shows them. The same records give the same bytes. ``MANIFEST.json`` tells what all of
    it was made from, and the SHA-256 of each file.

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
        written = _write_task(tasks[0], found, {tasks[0].task, None}, folder, formats)
    else:
        written = _write_tasks(tasks, found, folder, formats)
    return [*written, manifest.write(found.records, written, folder)]


def _write_tasks(tasks: Sequence[Task], found: Reported, folder: Path, formats: Sequence[str]) -> list[Path]:
    """A folder each, and a page of all."""
    with writing(folder):
        for name in manifest.listed(folder):  # of the time when there was one task
            if "/" not in name:
                (folder / name).unlink(missing_ok=True)
    written: list[Path] = []
    folders = [f"{_slug(task.label)}-{task.task[:8]}" for task in tasks]
    for task, name in zip(tasks, folders, strict=True):
        written += _write_task(task, found, {task.task}, folder / name, formats)
    criteria = criteria_of(found.records)
    said = found.told.about({None})
    exhibits = [each._replace(raw=_with_criteria(each.raw, criteria)) for each in _exhibits(said)]
    made = [_claims_table(said.claims), *exhibits]
    ratios = ranks.to_targets(tasks, found.curves, found.target_error)
    if ratios["task"].nunique() > 1:
        made.append(Made(OF_TASKS, ratios, tables.targets_display(ratios)))
    written += _write_tables(made, folder, formats)
    arms = {str(arm) for task in tasks for arm in task.records["arm"]}
    figures, skipped = _write_figures(made, found, arms, footer(found.records), folder, formats)
    written += [path for paths in figures.values() for path in paths]
    if "md" in formats:
        sections = _index(found, tasks, folders, made, figures, skipped)
        written.append(write_file(folder / "report.md", markdown_page(sections).encode()))
    return written


def _write_task(
    task: Task, reported: Reported, about: set[str | None], folder: Path, formats: Sequence[str]
) -> list[Path]:
    """The report of one task, with what is told ``about`` it."""
    records, curves, criteria = task.records, reported.curves, criteria_of(task.records)
    pronounced, told = reported.verdicts(task), reported.told.about(about)
    table, board = cells(records), leaderboard(records)
    best = best_cells(table)
    found, sizes = requested(records, best), effects.effects(records, best, pronounced)
    basins, spans = basin.basins(records, table), sensitivity.sensitivities(records, table)
    best_of, order = best_of_k(records, table), ranks.ranks(curves, records, best)
    made = [
        Made("leaderboard", board, tables.leaderboard_display(board)),
        Made("grid", table, tables.grid_display(table)),
        _claims_table(told.claims),
        Made("verdicts", frame(pronounced), tables.verdicts_display(pronounced, criteria)),
        Made("effects", effects.frame(sizes), tables.effects_display(sizes, criteria)),
        Made("basin", basin.frame(basins), tables.basin_display(basins, criteria)),
        Made("sensitivity", sensitivity.frame(spans), tables.sensitivity_display(spans, criteria)),
    ]
    if len(best_of) and best_of["k"].max() > 1:
        made.append(Made("best_of_k", best_of, tables.budget_display(best_of, criteria)))
    if len(found):
        made.append(Made("metrics", found, tables.requested_display(found)))
        made.append(Made("metrics_along", requested_curves(curves, records, best)))
    if reported.target_error is not None:
        soon = time_to_error(curves, records, best, reported.target_error).assign(target=reported.target_error)
        made.append(Made("time_to_error", soon, tables.time_display(soon)))
    made += [Made("learning_curves", mean_curves(curves, records, best)), Made("ranks", order)]
    made += _exhibits(told)
    made = [
        each._replace(
            raw=_with_criteria(each.raw, criteria),
            shown=None if each.shown is None else tables.with_edges(each.shown, board),
        )
        for each in made
    ]
    written = _write_tables(made, folder, formats)
    figures, skipped = _write_figures(made, reported, set(board["arm"]), footer(records, board), folder, formats)
    written += [path for paths in figures.values() for path in paths]
    if "md" in formats:
        files = {name: [path.name for path in paths] for name, paths in figures.items() if name != REDRAW}
        extra = {each.name: each.shown for each in made[2:] if each.shown is not None and len(each.raw)}
        flips = ranks.flips(order)
        said = [each.text for each in told.findings]
        verdict = [*sentences(task, pronounced), *said, *([flips] if flips else [])]
        captions = {each.name: each.caption for each in told.exhibits}
        sections = page(task, board, table, files, skipped, verdict, extra, reported.target_error, captions=captions)
        written.append(write_file(folder / "report.md", markdown_page(sections).encode()))
    return written


def write_claims(claims: Sequence[claimed.Claim], folder: Path, *, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write what several studies found of their statements as one table, ``claims``; its files."""
    return _write_tables([_claims_table(claims)], folder, formats)


def _claims_table(claims: Sequence[claimed.Claim]) -> Made:
    return Made("claims", claimed.frame(claims), claims_display(claims))


def _exhibits(told: Told) -> list[Made]:
    """The tables of a study's own."""
    return [Made(each.name, each.table) for each in told.exhibits]


def _with_criteria(raw: pd.DataFrame, criteria: Criteria) -> pd.DataFrame:
    """A table that says by what its errors are measured, so that a figure needs nothing else."""
    error = criteria.error
    told = {"loss": criteria.loss, "error_metric": error.name, "error_unit": error.stored_unit}
    return raw.assign(**{name: value for name, value in told.items() if name not in raw})


def _write_tables(made: Sequence[Made], folder: Path, formats: Sequence[str]) -> list[Path]:
    """The files of each table: its numbers, and what people read."""
    written = []
    for name, raw, shown in (each for each in made if len(each.raw)):
        texts = {"csv": partial(tables.csv, raw)}
        if shown is not None:
            texts = {"md": partial(tables.markdown, shown), **texts, "tex": partial(tables.latex, shown)}
        written += [
            write_file(folder / f"{name}.{kind}", text().encode()) for kind, text in texts.items() if kind in formats
        ]
    return written


def _write_figures(
    made: Sequence[Made], found: Reported, arms: set[str], footer_: str, folder: Path, formats: Sequence[str]
) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """The files of each figure that could be drawn, and why the others could not.

    Figures are drawn from tables as csv holds them, so that ``plot.py`` draws the same. Where no figure is asked for,
    matplotlib is not imported.
    """
    kinds = [kind for kind in FIGURES if kind in formats]
    raw = {each.name: each.raw for each in made}
    if not kinds or not raw:
        return {}, {}
    from adamcmp.drawing import FIGURES as DRAWN
    from adamcmp.drawing.reading import read_table
    from adamcmp.drawing.style import NotDrawn, Page, arrange, on_page, render
    from adamcmp.report.parallel import each

    on = Page(found.width, tuple(sorted(arms)), footer_)
    known = {name: drawing for name, drawing in DRAWN.items() if set(drawing.tables) <= raw.keys()}
    frames = {
        name: read_table(io.StringIO(tables.csv(raw[name]))) if len(raw[name]) else raw[name]
        for name in {table for drawing in known.values() for table in drawing.tables}
    }

    def rendered(name: str) -> list[bytes]:
        with on_page(on):
            fig: Figure = known[name].draw(*(frames[table] for table in known[name].tables))
            arrange(fig)
            return [render(fig, kind) for kind in kinds]

    written: dict[str, list[Path]] = {}
    skipped: dict[str, str] = {}
    for name, drawn in each({name: partial(rendered, name) for name in known}).items():
        if isinstance(drawn, NotDrawn):
            skipped[name] = str(drawn)
        elif isinstance(drawn, Exception):
            raise drawn
        else:
            pairs = zip(kinds, drawn, strict=True)
            written[name] = [write_file(folder / f"{name}.{kind}", content) for kind, content in pairs]
    if written and "csv" in formats:
        written[REDRAW] = [write_file(folder / REDRAW, _script(on, written).encode())]
    return written, skipped


def _script(on: Page, figures: Iterable[str]) -> str:
    from adamcmp.report.redraw import script

    return script(on, figures)


def _index(
    found: Reported,
    tasks: Sequence[Task],
    folders: Iterable[str],
    made: Sequence[Made],
    figures: Mapping[str, Sequence[Path]],
    skipped: Mapping[str, str],
) -> list[Section]:
    told = found.told.about({None})
    said = [each.text for each in told.findings]
    said += [line for each in found.over_cuts(tasks) for line in cuts_sentences(each)]
    shown = {each.name: each.shown for each in made if each.shown is not None and len(each.raw)}
    links = [f"[{t.label}]({name}/report.md): {len(t.records)} runs" for t, name in zip(tasks, folders, strict=True)]
    apart = Text("Runs of different tasks are not comparable; each has a page of its own.")
    error = criteria_of(found.records).error.label
    captions = CAPTIONS | {each.name: each.caption for each in told.exhibits}
    pictures = {
        name: Picture(name, [path.name for path in paths], captions[name].format(error=error))
        for name, paths in figures.items()
        if name != REDRAW
    }
    soon = [pictures.pop(OF_TASKS)] if OF_TASKS in pictures else []
    verdict: list[Block] = [Bullets(said)] if said else []
    verdict += [Table(shown["claims"]), CLAIMED] if "claims" in shown else []
    lacking = [f"`{name}` was not drawn: {why}." for name, why in skipped.items()]
    drawn: list[Block] = [*pictures.values(), *([Bullets(lacking)] if lacking else [])]
    return [
        Section(distinct(found.records["study"]), ()),
        *([Section("Verdict", verdict)] if verdict else []),
        *([Section("Figures", drawn)] if drawn else []),
        Section("Tasks", [apart, Bullets(links)]),
        *([Section("How soon", [Table(shown[OF_TASKS]), *soon])] if OF_TASKS in shown else []),
    ]


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.casefold()).strip("-")[:60].rstrip("-") or "task"
