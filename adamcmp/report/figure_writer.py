"""Draw the figures of a report and write their files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from adamcmp.report import table_formats
from adamcmp.report.report_input import ReportInput, ReportTable
from adamcmp.storage.backend import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from adamcmp.figures.style import FigureStyle


TABLE_FORMATS, FIGURE_FORMATS, PAGE = ("md", "csv", "tex"), ("png", "svg", "pdf"), "html"
PLOT_SCRIPT = "plot.py"
"""Script that redraws the figures from the tables next to it."""
PAGE_FIGURES = ("verdicts", "heatmap", "learning_curves", "error_vs_decay", "error_vs_lr", "basin", "budget")
"""Figures that ``report.html`` draws for itself; it holds the others as they are."""


class FigureFiles(NamedTuple):
    """Results of drawing figures."""

    files: Mapping[str, Sequence[Path]]
    """Files by figure, and those of ``plot.py``."""
    skipped: Mapping[str, str]
    """Why others could not be drawn."""
    pictures: Mapping[str, bytes]
    """SVG for the page."""


def write_figures(
    report_tables: Sequence[ReportTable],
    report: ReportInput,
    arms: set[str],
    footer_: str,
    folder: Path,
    formats: Sequence[str],
) -> FigureFiles:
    """Write every figure that can be drawn; return files, reasons for skipped figures, and the SVGs of the page.

    Figures are drawn from tables in the precision of CSV, so that ``plot.py`` draws the same. Without figures,
    matplotlib is not imported.
    """
    kinds = [kind for kind in FIGURE_FORMATS if kind in formats]
    raw = {table.name: table.raw for table in report_tables}
    if not (kinds or PAGE in formats) or not raw:
        return FigureFiles({}, {}, {})
    from adamcmp.figures.csv_io import read_table
    from adamcmp.figures.registry import FIGURES
    from adamcmp.figures.style import FigureStyle

    on = FigureStyle(report.width, tuple(sorted(arms)), footer_)
    for_page = [name for name in FIGURES if name not in PAGE_FIGURES] if PAGE in formats else []
    drawings = {
        name: drawing
        for name, drawing in FIGURES.items()
        if set(drawing.tables) <= raw.keys() and (kinds or name in for_page)
    }
    frames = {
        name: read_table(io.StringIO(table_formats.to_csv(raw[name]))) if len(raw[name]) else raw[name]
        for name in {table for drawing in drawings.values() for table in drawing.tables}
    }
    rendered, skipped = render_figures(
        {name: partial(drawing.draw, *map(frames.get, drawing.tables)) for name, drawing in drawings.items()},
        on,
        {name: [*kinds, *(["svg"] if name in for_page else [])] for name in drawings},
    )
    written = write_rendered(rendered, folder, kinds)
    pictures = {name: files["svg"] for name, files in rendered.items() if name in for_page}
    if written and "csv" in formats and report.has_plot_script:
        written[PLOT_SCRIPT] = [write_file(folder / PLOT_SCRIPT, _plot_script(on, written).encode())]
    return FigureFiles(written, skipped, pictures)


def render_figures(
    draw: Mapping[str, Callable[[], Figure]], style: FigureStyle, kinds: Mapping[str, Iterable[str]]
) -> tuple[dict[str, dict[str, bytes]], dict[str, str]]:
    """Draw figures in parallel processes.

    Args:
        draw: a function per figure, by its name.
        style: of all figures.
        kinds: file formats of each figure.

    Returns:
        The files of each figure by format, and why others were skipped.
    """
    from adamcmp.figures.style import FigureSkipped, layout, render_figure, use_style
    from adamcmp.report.parallel import map_forked

    def rendered(name: str) -> dict[str, bytes]:
        with use_style(style):
            fig = draw[name]()
            layout(fig)
            return {kind: render_figure(fig, kind) for kind in dict.fromkeys(kinds[name])}

    results = map_forked({name: partial(rendered, name) for name in draw})
    for result in results.values():
        if isinstance(result, Exception) and not isinstance(result, FigureSkipped):
            raise result
    files = {name: result for name, result in results.items() if not isinstance(result, Exception)}
    return files, {name: str(result) for name, result in results.items() if isinstance(result, FigureSkipped)}


def write_rendered(
    rendered: Mapping[str, Mapping[str, bytes]], folder: Path, kinds: Sequence[str]
) -> dict[str, list[Path]]:
    """Write the files of figures in some formats; return them by figure."""
    if not kinds:
        return {}
    return {
        name: [write_file(folder / f"{name}.{kind}", files[kind]) for kind in kinds] for name, files in rendered.items()
    }


def _plot_script(on: FigureStyle, figures: Iterable[str]) -> str:
    from adamcmp.report.plot_script import plot_script

    return plot_script(on, figures)
