"""The page of claims or of conformance: readable by all, without network, and text stays text."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from adamcmp.claims.evidence import PanelAxes
from adamcmp.figures.panels import panels_figure
from adamcmp.report.article import Article, Drawable, write_article
from adamcmp.report.sections import Bold, Bullets, Code, CodeBlock, FigureBlock, Link, Section, Table, Text

pytestmark = pytest.mark.needs("chromium")
AXE = (Path(__file__).parent / "axe.min.js").read_text(encoding="utf-8")
HOSTILE = "<img src=x onerror=alert(1)> <script>alert(2)</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("article")
    table = pd.DataFrame({"claim": ["one", HOSTILE], "verdict": ["supported", "refuted; 3 would be seen"]})
    line = PanelAxes("a panel", "x", "y").series(HOSTILE, "line", [1.0, 10.0], [1.0, 2.0])
    blocks = [
        Text((Bold("Bold"), " and ", Code("mono"), " and ", Link("elsewhere", "claims.csv"))),
        Bullets(["a", HOSTILE]),
        FigureBlock("drawn", (), "What it shows."),
        FigureBlock("not_drawn", (), "Never shown."),
        CodeBlock(["adamcmp reproduce claims --format md --format csv --format png --format html --results-dir there"]),
    ]
    sections = [Section("Statements", [Table(table)]), *(Section(f"Number {i}", blocks) for i in range(4))]
    nothing = line.iloc[:0]
    article = Article(
        "claims", sections, {"claims": (table, table)},
        [Drawable("drawn", line, panels_figure), Drawable("not_drawn", nothing, panels_figure)], "made of nothing",
        {"command": "adamcmp"},
    )  # fmt: skip
    write_article(article, folder, ["md", "csv", "html", "png"])
    return folder


def test_the_page_is_whole_and_accessible(folder, visit):
    page = visit(folder / "report.html", ready=False)
    assert page.locator("h1").inner_text() == "Statements"
    assert page.locator("h2").count() == 4
    assert page.locator("nav li a").count() == 4
    assert page.locator("td.supported").inner_text() == "supported"
    assert page.locator("td.refuted").count() == 1
    picture = page.locator("figure img").first
    assert picture.evaluate("each => each.complete && each.naturalWidth > 100")
    assert page.locator("figure").count() == 4
    assert page.get_by_text(HOSTILE).count() > 0
    assert page.locator("main script, main img[src=x]").count() == 0
    page.evaluate(AXE)
    assert page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"] == []


def test_no_part_is_wider_than_a_phone(folder, visit):
    page = visit(folder / "report.html", ready=False)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_markdown_and_files_beside_it(folder):
    text = (folder / "report.md").read_text()
    assert "![drawn](drawn.png)" in text
    assert "Never shown" not in text
    assert "**Bold** and `mono` and [elsewhere](claims.csv)" in text
    assert {path.name for path in folder.iterdir()} == {
        "claims.csv", "claims.md", "drawn.csv", "drawn.png", "not_drawn.csv", "report.md", "report.html",
        "MANIFEST.json",
    }  # fmt: skip
