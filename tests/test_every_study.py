"""Each study of ``reproduce`` at smoke: it trains, tells its claims and draws its figures; and all of them in order."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from adamcmp import studies
from adamcmp.analysis.claim import VERDICTS
from adamcmp.config.compose import compose
from adamcmp.config.lookup import find_config, find_file, list_group
from adamcmp.figures.csv_io import read_table
from adamcmp.figures.registry import FIGURES
from adamcmp.storage.records import read_records

from .execute.conftest import CommandLine

NAMES = [each.name for each in studies.ordered_studies()]
EXHIBITS = {
    "figure3": {"decay_curves"},
    "figure4": {"anytime", "restarts"},
    "supplement3": {"budgets"},
    "horizon": {"gains", "optima"},
    "grokking": {"steps_to_generalise"},
}
CLAIMS = {
    "figure1": 7, "figure2": 3, "figure3": 2, "figure4": 6, "supplement3": 0, "horizon": 1, "optimizers": 5, "cnn": 3,
    "resnet": 3, "vision_transformer": 3, "language_model": 3, "grokking": 6,
}  # fmt: skip
"""How many there are at least: at smoke a basin has no tilt, and an optimum lies on an edge."""


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def test_the_paper_comes_first_and_every_module_is_a_study():
    assert tuple(NAMES[: len(studies.ORDER)]) == studies.ORDER
    assert set(NAMES) == set(EXHIBITS) | set(CLAIMS)


QUICK = ("figure2", "figure4")
"""Which are run each time; the others with the slow tests."""


@pytest.mark.parametrize("name", [pytest.param(each, marks=[pytest.mark.slow] * (each not in QUICK)) for each in NAMES])
def test_a_study_runs_at_smoke_and_tells_what_it_is_there_to_tell(cli, name):
    page = ["--format", "html"] if name in EXHIBITS else []  # figures of its own stand on it
    ended = cli.as_given("reproduce", name, "--scale", "smoke", "--format", "csv", "-v", *page)
    assert ended.code == 0, ended.err
    folder = cli.folder / "results" / f"{name}_smoke"
    assert set(read_records(folder)["status"]) == {"completed"}
    report = folder / "report"
    written = {path.stem: path for path in report.rglob("*.csv")}
    assert EXHIBITS.get(name, set()) <= written.keys()
    for exhibit in EXHIBITS.get(name, set()) & FIGURES.keys():
        assert FIGURES[exhibit].draw(read_table(written[exhibit])).axes
    claims = [pd.read_csv(path) for path in report.rglob("claims.csv")]
    assert sum(map(len, claims)) >= CLAIMS[name]
    for table in claims:
        for statement in table["statement"]:
            assert statement in " ".join(ended.out.split())


def test_all_runs_everything_in_order_and_goes_on_where_it_was(cli, monkeypatch):
    few = [each for each in studies.ordered_studies() if each.name in ("figure2", "cnn")]
    monkeypatch.setattr(studies, "ordered_studies", lambda: few)
    first = cli.as_given("reproduce", "all", "--scale", "smoke", "--format", "csv")
    assert first.code == 0, first.err
    assert [line for line in first.err.splitlines() if " of 2)" in line] == ["figure2 (1 of 2)", "cnn (2 of 2)"]
    table = pd.read_csv(cli.folder / "results" / "claims.csv")
    parts = [pd.read_csv(cli.folder / "results" / f"{each.name}_smoke" / "report" / "claims.csv") for each in few]
    assert table["statement"].tolist() == pd.concat(parts)["statement"].tolist()
    assert set(table["verdict"]) <= {"supported", "refuted", "inconclusive", "none"}
    together = first.out.rpartition("Paper claims")[2]
    assert len(re.findall(rf"  (?:{'|'.join(VERDICTS.values())})\*?$", together, re.MULTILINE)) == len(table)
    for each in few:
        commands = set(read_records(cli.folder / "results" / f"{each.name}_smoke")["command"])
        assert commands == {f"adamcmp reproduce {each.name} scale=smoke --format csv"}
    again = cli.as_given("reproduce", "all", "--scale", "smoke", "--format", "csv")
    assert again.err.count("Tuning") == again.err.count("Held-out") == 2
    assert again.err.count("nothing to train") == 4
    assert pd.read_csv(cli.folder / "results" / "claims.csv").equals(table)


def test_optimizers_has_every_rule_at_the_same_budget(cli):
    ended = cli("sweep", "optimizers", "data=digits", "--dry-run")
    assert ended.code == 0, ended.err
    source = find_config("optimizers")
    spaces = compose(source, []).values["study"]["spaces"]
    swept = [name for space in spaces for name in space["optimizer"].split(",")]
    ours = [name for name in list_group("optimizer") if "rule:" in find_file(source, f"optimizer/{name}").read_text()]
    assert sorted(swept) == sorted(ours)
    assert {int(n) for n in re.findall(r" (\d+) +\d+$", ended.out, re.MULTILINE)} == {36 * 5}
