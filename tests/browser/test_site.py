"""The documentation site in a browser, opened as files and from a server: widths, colors, search, requests."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("chromium")
ROOT = Path(__file__).parents[2]
PAGES = [
    "index.html", "tutorial/first-verdict.html", "howto/commands.html", "reference/commands.html",
    "reference/settings.html", "reference/python.html", "reference/claims-table.html", "explanation/protocol.html",
    "explanation/conventions.html", "results/reference/figure1/report/index.html", "changelog.html",
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documentation") / "site"
    build = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    subprocess.run(build, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def served(site):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def open_page(chromium):
    """Opens a page; its requests to other hosts and its errors are in ``faults``."""
    contexts = []

    def opened(url, width=1280, scheme="light"):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.faults = []
        ours = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:")
        page.on("request", lambda r: None if r.url.startswith(ours) else page.faults.append(r.url))
        page.on("console", lambda m: page.faults.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (375, "dark"), (1280, "light"), (1280, "dark")])
def test_a_page_fits_and_asks_no_other_host(site, open_page, name, width, scheme):
    page = open_page((site / name).as_uri(), width, scheme)
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("h1").first.is_visible()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, background.removeprefix("rgb(").removesuffix(")").split(",")[:3])) > 3 * 128
    assert light == (scheme == "light")
    assert page.faults == []


@pytest.mark.parametrize("how", ["file", "server"])
@pytest.mark.parametrize(("query", "title"), [("settle", "adamcmp settle"), ("clip_norm", "train"), ("lion", "lion")])
def test_search_finds_a_section(site, served, open_page, how, query, title):
    page = open_page((site / "index.html").as_uri() if how == "file" else f"{served}/index.html")
    page.fill(".md-search__input", query)
    results = page.locator(".md-search-result__article h1, .md-search-result__article h2")
    results.first.wait_for()
    assert any(title in text for text in results.all_inner_texts()), results.all_inner_texts()
    page.locator(".md-search-result__link").first.click()
    page.wait_for_timeout(200)
    assert query in page.locator(".md-content").inner_text().lower()
    assert page.faults == []


def test_a_page_of_results_leads_to_its_interactive_report(site, open_page):
    page = open_page((site / "results" / "reference" / "figure2_mnist1d" / "report" / "index.html").as_uri())
    page.get_by_role("link", name="Open the interactive report").click()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.url.endswith("/report.html")
    assert page.locator("table[role=grid]").count() > 0
    assert page.faults == []
