from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from adamcmp import report
from adamcmp.storage.records import read

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def synthetic():
    path = Path(__file__).parents[1] / "analysis" / "synthetic.py"
    spec = importlib.util.spec_from_file_location("synthetic_records", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


class Opened:
    """A page in the browser, and all that went wrong on it."""

    def __init__(self, chromium, path, width=1280, ready=True, **context):
        self.context = chromium.new_context(viewport={"width": width, "height": 900}, **context)
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.served = path if str(path).startswith("http://127.0.0.1:") else None
        self.page.goto(self.served or Path(path).as_uri())
        if ready and context.get("java_script_enabled", True):
            self.page.wait_for_selector("html[data-ready=yes]")


@pytest.fixture
def visit(chromium):
    """Opens a page; at the end of the test nothing may have gone wrong on it, and nothing left it."""
    opened = []

    def visited(path, **given):
        opened.append(Opened(chromium, path, **given))
        return opened[-1].page

    yield visited
    for each in opened:
        assert each.complaints == []
        ours = ("file:", "blob:", *([each.served.rpartition("/")[0]] if each.served else []))
        assert [url for url in each.requests if not url.startswith(ours)] == []
        each.context.close()


@pytest.fixture(scope="session")
def records(synthetic):
    """Two arms, one of which diverges at its highest learning rate; a cell of failed runs; a metric on request."""
    made = synthetic.make_records(
        arms={"Adam + L2": "l2", "AdamW": "lr_scaled"}, lrs=[1e-3, 1e-2, 1e-1, 1.0], lambdas=[0.0, 1e-4, 1e-3, 1e-2]
    )
    made["schedule"] = made["arm"].map({"Adam + L2": "cosine", "AdamW": "constant"})
    made["metrics"] = json.dumps({"test_top5_error": 0.125})
    made = synthetic.end(made, (made["lr"] == 1.0) & (made["arm"] == "Adam + L2") & (made["seed"] < 2), "diverged")
    failed = (made["lr"] == 1e-3) & (made["weight_decay"] == 1e-2) & (made["arm"] == "AdamW")
    return synthetic.confirmed(synthetic.end(made, failed, "failed", "Traceback …\nRuntimeError: no more memory"))


@pytest.fixture(scope="session")
def study(synthetic, records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "digits"
    synthetic.store(folder, records, synthetic.make_curves(records, 6))
    report.write_report(report.ReportInput(*read(folder)), folder / "report", formats=["html"])
    return folder
