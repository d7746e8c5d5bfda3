"""The page above several studies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adamcmp.cli import app
from adamcmp.errors import InputError

pytestmark = pytest.mark.needs("chromium")
AXE = (Path(__file__).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def root(synthetic, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    records = synthetic.make_records(arms={"AdamW": "lr_scaled"}, lrs=[1e-3, 1e-2], lambdas=[0.0, 1e-3])
    records = synthetic.end(records, records["lr"] > 0.005, "diverged")
    for name in ("one", "two + more"):
        synthetic.store(root / name, records.assign(study=name), synthetic.make_curves(records, 4))
    app(["report", str(root), "--format", "html"], standalone_mode=False)
    return root


def test_it_tells_of_every_study_and_leads_to_its_page(root, visit):
    page = visit(root / "index.html", ready=False)
    assert page.locator("h2 a").all_inner_texts() == ["one", "two + more"]
    assert page.locator(".lead").count() == 2
    assert page.locator(".sub", has_text="diverged").first.inner_text().endswith("UTC")
    page.evaluate(AXE)
    assert page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"] == []
    page.locator("h2 a", has_text="two + more").click()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.locator(".brand strong").inner_text() == "two + more"


def test_a_report_is_opened_in_the_users_browser(root, tmp_path):
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >{tmp_path}/opened\n')
    browser.chmod(0o755)
    words = [sys.executable, "-m", "adamcmp", "report", str(root / "one"), "--format", "html", "--open"]
    subprocess.run(words, check=True, env={**os.environ, "BROWSER": f"{browser} %s"}, stdout=subprocess.DEVNULL)
    assert (tmp_path / "opened").read_text().strip() == (root / "one" / "report" / "report.html").as_uri()
    with pytest.raises(InputError, match="leave --format out, or add --format html"):
        app(["report", str(root / "one"), "--format", "csv", "--open", "--out", str(tmp_path)], standalone_mode=False)
