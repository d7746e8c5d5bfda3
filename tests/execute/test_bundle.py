"""A bundle is unpacked elsewhere: its report is checked and made again, and its runs are trained again."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd

from adamcmp.storage.records import read_records

from .conftest import QUICK

NET = """from torch import nn

from helper import width


class Net(nn.Sequential):
    def __init__(self, input_shape, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(64, width()), nn.ReLU(), nn.Linear(width(), num_classes))
"""


def unpacked(archive: Path, folder: Path) -> list[str]:
    with zipfile.ZipFile(archive) as bundle:
        bundle.extractall(folder)
        return bundle.namelist()


def run_in(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "adamcmp", *words]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_bundle_reproduces_the_report_and_the_runs(cli, tmp_path):
    (cli.folder / "net.py").write_text(NET)
    (cli.folder / "helper.py").write_text("def width():\n    return 8\n")
    (cli.folder / "mine.yaml").write_text("defaults: [digits, _self_]\nstudy: {name: mine, confirm: {seeds: 3}}\n")
    words = ("mine.yaml", "model._target_=net.Net", "optimizer=adam,adamw", "optimizer.lr=1e-2,3e-2", "study.seeds=2")
    assert cli.as_given("sweep", *words, *QUICK).code == 0
    ended = cli("report", "results/mine", "--bundle", "--format", "csv", "--format", "png")
    assert ended.code == 0, ended.err
    archive = cli.folder / "results" / "mine" / "report" / "bundle.zip"
    assert str(archive.relative_to(cli.folder)) in ended.out
    again = archive.read_bytes()
    assert cli("report", "results/mine", "--bundle", "--format", "csv", "--format", "png").code == 0
    assert archive.read_bytes() == again

    there = tmp_path / "elsewhere"
    names = unpacked(archive, there)
    expected = ["README.md", "requirements.txt", "commands.sh", "code/net.py", "code/helper.py", "code/mine.yaml"]
    expected += [f"results/mine/{name}" for name in ("study.yaml", "report/leaderboard.csv", "report/plot.py")]
    assert set(expected) <= set(names)
    lock = (there / "requirements.txt").read_text()
    assert re.search(r"^torch==\d", lock, re.MULTILINE)
    assert re.search(r"^adamcmp==\d", lock, re.MULTILINE)
    commands = re.findall(r"\.venv/bin/adamcmp (.*)", (there / "README.md").read_text())
    before = {path.name: path.read_bytes() for path in (there / "results/mine/report").glob("*.csv")}
    for command in commands:
        run_in(there, *command.split())
    after = {path.name: path.read_bytes() for path in (there / "results/mine/report").glob("*.csv")}
    assert before.items() <= after.items()  # the same numbers from the same records

    (command,) = (there / "commands.sh").read_text().splitlines()
    run_in(there / "code", *command.replace("'", "").split()[1:])
    stored = read_records(there / "results" / "mine")
    trained = read_records(there / "code" / "results-again" / "mine")
    both = stored.merge(trained, on="run_id", suffixes=("", "_again"))
    assert len(both) == len(stored) == len(trained)
    pd.testing.assert_series_equal(both["final_test_error"], both["final_test_error_again"], check_names=False)


def test_a_bundle_of_several_studies(cli):
    for name in ("one", "two"):
        assert cli("sweep", "digits", "optimizer=adam,adamw", f"study.name={name}", *QUICK).code == 0
    ended = cli("report", "results/one", "results/two", "--out", "both", "--bundle", "--format", "csv")
    assert ended.code == 0, ended.err
    names = unpacked(cli.folder / "both" / "bundle.zip", cli.folder / "elsewhere")
    assert {"results/one/study.yaml", "results/two/study.yaml", "results/report/leaderboard.csv"} <= set(names)
    assert "The study uses no code but adamcmp's." in (cli.folder / "elsewhere" / "README.md").read_text()
