"""A page that is no report of one study: sections, tables and figures, as Markdown and as one HTML file."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from adamcmp.report import manifest, table_formats
from adamcmp.report.figure_writer import FIGURE_FORMATS, PAGE, render_figures, write_rendered
from adamcmp.report.markdown import to_markdown
from adamcmp.report.report_input import ReportTable
from adamcmp.report.report_writer import write_tables
from adamcmp.report.sections import FigureBlock, Section
from adamcmp.report.web.article import article_page
from adamcmp.storage.backend import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Drawable(NamedTuple):
    """A figure, and the table that it is drawn from."""

    name: str
    table: pd.DataFrame
    draw: Callable[[pd.DataFrame], Figure]


@dataclass(frozen=True)
class Article:
    """A page with sections, tables and figures. Figures in its sections get their files when they are written."""

    title: str
    sections: Sequence[Section]
    tables: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]
    """Numbers and their text for readers, by name."""
    figures: Sequence[Drawable]
    footer: str
    """Provenance in the footer of figures."""
    facts: Mapping[str, Any]
    """Additional values of ``MANIFEST.json``."""


def write_article(article: Article, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write tables (md, csv, tex), figures with their tables, ``report.md`` and ``report.html``; the files.

    Raises:
        InputError: the folder cannot be written.
    """
    written = write_tables([ReportTable(name, *both) for name, both in article.tables.items()], folder, formats)
    files, pictures = _write_figures(article, folder, formats)
    written += [path for paths in files.values() for path in paths]
    if "csv" in formats:
        written += [
            write_file(folder / f"{figure.name}.csv", table_formats.to_csv(figure.table).encode())
            for figure in article.figures
            if figure.name not in article.tables
        ]
    sections = [_with_figure_files(section, {name: [p.name for p in paths] for name, paths in files.items()})
                for section in article.sections]  # fmt: skip
    if "md" in formats:
        written.append(write_file(folder / "report.md", to_markdown(sections).encode()))
    if PAGE in formats:
        page = article_page(article.title, article.sections, pictures)
        written.append(write_file(folder / "report.html", page.encode()))
    return [*written, manifest.write_listing(article.facts, written, folder)]


def _with_figure_files(section: Section, files: Mapping[str, Sequence[str]]) -> Section:
    blocks = [
        replace(block, files=files.get(block.name, ())) if isinstance(block, FigureBlock) else block
        for block in section.blocks
    ]
    return Section(section.title, [block for block in blocks if not isinstance(block, FigureBlock) or block.files])


def _write_figures(
    article: Article, folder: Path, formats: Sequence[str]
) -> tuple[dict[str, list[Path]], dict[str, bytes]]:
    """Return the files of each figure, and its SVG for the page; drawn from tables as csv holds them."""
    kinds = [kind for kind in FIGURE_FORMATS if kind in formats]
    wanted = [*kinds, *(["svg"] if PAGE in formats and "svg" not in kinds else [])]
    if not wanted:
        return {}, {}
    from adamcmp.figures.csv_io import read_table
    from adamcmp.figures.style import FigureStyle

    draw = {
        figure.name: partial(figure.draw, read_table(io.StringIO(table_formats.to_csv(figure.table))))
        for figure in article.figures
    }
    rendered, _ = render_figures(draw, FigureStyle(footer=article.footer), dict.fromkeys(draw, wanted))
    pictures = {name: files["svg"] for name, files in rendered.items()} if PAGE in formats else {}
    return write_rendered(rendered, folder, kinds), pictures
