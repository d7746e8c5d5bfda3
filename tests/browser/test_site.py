"""The documentation site in a browser, opened as files and from a server: widths, colors, search, requests."""

import functools
import http.server
import threading

import pytest

pytestmark = pytest.mark.needs("chromium")
PAGES = [
    "index.html", "tutorial/first-verdict.html", "howto/commands.html", "reference/commands.html",
    "reference/settings.html", "reference/python.html", "reference/claims-table.html", "explanation/protocol.html",
    "explanation/conventions.html", "results/reference/figure1/report/index.html", "changelog.html",
]  # fmt: skip


@pytest.fixture(scope="module")
def served(strict_site):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(strict_site))
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (375, "dark"), (1280, "light"), (1280, "dark")])
def test_a_page_fits_and_asks_no_other_host(strict_site, visit, name, width, scheme):
    page = visit(strict_site / name, width=width, ready=False, color_scheme=scheme)
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("h1").first.is_visible()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, background.removeprefix("rgb(").removesuffix(")").split(",")[:3])) > 3 * 128
    assert light == (scheme == "light")


@pytest.mark.parametrize("how", ["file", "server"])
@pytest.mark.parametrize(("query", "title"), [("settle", "adamcmp settle"), ("clip_norm", "train"), ("lion", "lion")])
def test_search_finds_a_section(strict_site, served, visit, how, query, title):
    page = visit(strict_site / "index.html" if how == "file" else f"{served}/index.html", ready=False)
    page.fill(".md-search__input", query)
    results = page.locator(".md-search-result__article h1, .md-search-result__article h2")
    results.first.wait_for()
    assert any(title in text for text in results.all_inner_texts()), results.all_inner_texts()
    page.locator(".md-search-result__link").first.click()
    page.wait_for_timeout(200)
    assert query in page.locator(".md-content").inner_text().lower()


def test_a_page_of_results_leads_to_its_interactive_report(strict_site, visit):
    page = visit(strict_site / "results" / "reference" / "figure2_mnist1d" / "report" / "index.html", ready=False)
    page.get_by_role("link", name="Open the interactive report").click()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.url.endswith("/report.html")
    assert page.locator("table[role=grid]").count() > 0
