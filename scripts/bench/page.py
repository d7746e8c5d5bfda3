#!/usr/bin/env python3
"""How large report.html is, and how soon a browser shows it: with the requested number of runs, or of stored studies.

    .venv/bin/python scripts/bench/page.py 2000 20000 results/reference/figure1

Needs Chromium. Printed is the median of five visits: first and largest contentful paint, until all is drawn, time in
which the page did not answer (what long tasks take beyond 50 ms), and the layout shift, 0 where nothing moves.
"""

from __future__ import annotations

import runpy
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from adamcmp.report import ReportInput, write_report
from adamcmp.storage.records import read

SYNTHETIC = Path(__file__).resolve().parents[2] / "tests" / "analysis" / "synthetic.py"
OBSERVE = """
    window.seen = {shift: 0, blocked: 0, largest: 0};
    const watch = (type, take) =>
      new PerformanceObserver(list => list.getEntries().forEach(take)).observe({type, buffered: true});
    watch("layout-shift", each => { window.seen.shift += each.value; });
    watch("longtask", each => { window.seen.blocked += Math.max(each.duration - 50, 0); });
    watch("largest-contentful-paint", each => { window.seen.largest = each.startTime; });
"""
VISITS = 5


def stored(runs: int, folder: Path) -> Path:
    """Return a study of about this many runs: 4 optimizers, 5 seeds, some diverged, curves of 20 evaluations."""
    made = runpy.run_path(str(SYNTHETIC))
    cells = runs // 20
    lrs = max(2, round(cells**0.5 * 0.8))
    decays = [0, *np.geomspace(1e-5, 1, max(2, cells // lrs - 1))]
    records = made["make_records"](lrs=list(np.geomspace(1e-4, 1, lrs)), lambdas=decays, seeds=range(5))
    records = made["end"](records, (records["lr"] > 0.6) & (records["seed"] < 2), "diverged")
    records = made["confirmed"](records)
    return made["store"](folder, records, made["make_curves"](records, 20))


def visit(browser: Browser, page: Path) -> dict[str, float]:
    """Open it once, as a first time."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.add_init_script(OBSERVE)
    began = time.perf_counter()
    tab.goto(page.as_uri())
    tab.wait_for_selector("html[data-ready=yes]")
    ready = 1000 * (time.perf_counter() - began)
    tab.wait_for_timeout(300)
    seen = tab.evaluate("window.seen")
    first = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    context.close()
    return {"first": first, "largest": seen["largest"], "ready": ready, **seen}


def main() -> None:
    """Print one line per page."""
    chromium = shutil.which("chromium") or sys.exit("no Chromium here; Debian: apt-get install chromium")
    print(f"{'page':>24} {'MB':>6} {'first':>9} {'largest':>9} {'all drawn':>10} {'blocked':>9} {'shift':>6}")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as temporary:
        browser = playwright.chromium.launch(executable_path=chromium)
        for asked in sys.argv[1:] or ["20000"]:
            folder = stored(int(asked), Path(temporary) / asked) if asked.isdigit() else Path(asked)
            found = ReportInput(*read(folder))
            out = Path(temporary) / "report"
            write_report(found, out, formats=["html"])
            page = out / "report.html"
            visits = [visit(browser, page) for _ in range(VISITS)]
            told = {name: statistics.median(each[name] for each in visits) for name in visits[0]}
            name = f"{len(found.records):,} runs" if asked.isdigit() else folder.name
            print(
                f"{name:>24} {page.stat().st_size / 1e6:>6.2f} {told['first']:>6.0f} ms {told['largest']:>6.0f} ms "
                f"{told['ready']:>7.0f} ms {told['blocked']:>6.0f} ms {told['shift']:>6.3f}"
            )
        browser.close()


if __name__ == "__main__":
    main()
