from __future__ import annotations

import json
import re
import subprocess
import sys

import pandas as pd
import pytest

from adamcmp import report
from adamcmp.errors import InputError
from adamcmp.report import FORMATS
from adamcmp.report.findings import Finding, StudyFindings
from adamcmp.storage.records import read

NAMES = (
    "verdicts", "heatmap", "learning_curves", "error_vs_decay", "error_vs_lr", "error_vs_train_loss", "basin", "budget",
    "ranks",
)  # fmt: skip
TABLES = ("leaderboard", "grid", "verdicts", "effects", "basin", "sensitivity", "best_of_k")
SMALL = {"arms": {"Adam + L2": "l2", "AdamW": "lr_scaled"}, "lrs": [1e-3, 1e-2, 1e-1], "lambdas": [0.0, 1e-3, 1e-2]}


def write_report(study, *, out=None, formats=report.FORMATS, **said):
    return report.write_report(report.ReportInput(*read(study), **said), out or study / "report", formats=formats)


@pytest.fixture
def study(synthetic, tmp_path):
    records = synthetic.confirmed(synthetic.make_records(**SMALL | {"lambdas": [0.0, 1e-4, 1e-3, 1e-2]}))
    return synthetic.store(tmp_path / "digits", records, synthetic.make_curves(records, 6))


@pytest.fixture(scope="module")
def whole(synthetic, tmp_path_factory):
    """A study whose report was written in all formats, for tests that only read; and the files."""
    records = synthetic.confirmed(synthetic.make_records(**SMALL | {"lambdas": [0.0, 1e-4, 1e-3, 1e-2]}))
    study = synthetic.store(tmp_path_factory.mktemp("whole") / "digits", records, synthetic.make_curves(records, 6))
    return study, write_report(
        study, study_findings=StudyFindings(findings=[Finding("AdamW and Adam + L2 do not differ.", None)])
    )


def test_everything_is_written_and_every_link_leads_somewhere(whole):
    study, files = whole
    folder = study / "report"
    expected = {f"{name}.{kind}" for name in TABLES for kind in ("md", "csv", "tex")}
    expected |= {f"{name}.{kind}" for name in NAMES for kind in ("png", "svg", "pdf")}
    expected |= {"report.md", "learning_curves.csv", "ranks.csv", "report.html", "MANIFEST.json"}
    expected |= {"leaderboard_appendix.tex"}
    assert {file.name for file in files} == expected == {path.name for path in folder.iterdir()}
    assert all(file.stat().st_size > 200 for file in files)
    page = (folder / "report.md").read_text()
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (folder / link).is_file()
    for text in (
        "adamcmp sweep study=synthetic",
        "## Verdict\n\n",
        "- AdamW and Adam + L2 do not differ.",
        "95 % Student t",
        "torch 2.9.0",
    ):
        assert text in page
    assert page.count("![") == len(NAMES)


def test_metrics_on_request_and_time_to_an_error_are_reported(synthetic, tmp_path):
    records = synthetic.make_records(**SMALL)
    asked = {"test_top5_error": 0.1, "weight_norms_a.weight": 2.0, "updates_a.weight_ratio": 1e-3}
    records["metrics"] = json.dumps(asked)
    curves = synthetic.make_curves(records, 6)
    curves["metrics"] = json.dumps(asked)
    study = synthetic.store(tmp_path / "digits", records, curves)
    names = {file.name for file in write_report(study, formats=("md", "csv", "svg"), target_error=0.3)}
    assert names >= {"metrics.md", "metrics.csv", "metrics.svg", "layers.svg", "time_to_error.md", "time_to_error.csv"}
    page = (study / "report" / "report.md").read_text()
    for text in (
        "## Steps and time to a validation error of 0.3\n\n| optimizer",
        "## Extra metrics",
        "| test_top5_error",
        "![layers](layers.svg)",
    ):
        assert text in page
    times = pd.read_csv(study / "report" / "time_to_error.csv")
    assert (times["target"] == 0.3).all()
    assert (times["reached"] == times["n"]).all()
    assert "weight_norms_a.weight" in (study / "report" / "metrics.md").read_text()


def test_the_same_records_give_the_same_bytes(whole, tmp_path):
    """Tables and SVG; test_figures.py has the same of PDF."""
    study, _ = whole
    again = write_report(study, formats=("csv", "tex", "svg"), out=tmp_path)
    for path in again:
        if path.suffix in (".csv", ".tex", ".svg"):
            assert path.read_bytes() == (study / "report" / path.name).read_bytes(), path.name
    assert len({path.suffix for path in again}) >= 3


def test_formats_are_what_is_written(synthetic, study, tmp_path):
    records = synthetic.make_records(**DEGENERATE["one cell"])
    few = synthetic.store(tmp_path / "few", records, synthetic.make_curves(records, 2))
    assert {file.suffix for file in write_report(few, formats=("csv", "pdf"))} == {".csv", ".pdf", ".json"}
    only = write_report(study, formats=("md",), out=study / "tables")
    assert {file.name for file in only} == {*(f"{name}.md" for name in TABLES), "report.md", "MANIFEST.json"}
    assert "## Figures" not in only[-2].read_text()


def test_an_unknown_format_names_the_allowed_ones_and_an_empty_study_what_to_do(study, tmp_path):
    with pytest.raises(InputError, match=r"jpg.*md, csv, tex, png, svg, pdf"):
        write_report(study, formats=("png", "jpg"))
    with pytest.raises(InputError, match="no stored runs"):
        write_report(tmp_path / "nothing")


def test_a_folder_that_cannot_be_written_is_one_clear_line(study, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(study, formats=("csv",), out=tmp_path / "taken")


def test_a_replaced_file_is_never_seen_half_written(study, monkeypatch):
    write_report(study, formats=("csv",))
    before = (study / "report" / "grid.csv").read_bytes()

    def full(path, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(InputError, match="the disk is full"):
        write_report(study, formats=("csv",))
    assert (study / "report" / "grid.csv").read_bytes() == before
    assert not list((study / "report").glob(".*"))


def test_each_task_has_its_own_folder_and_the_first_page_links_them(synthetic, tmp_path):
    one = synthetic.make_records(**SMALL)
    other = synthetic.make_records(**SMALL, task="bb", task_label="MNIST 1D, mlp")
    study = synthetic.store(tmp_path / "two", pd.concat([one, other]))
    files = write_report(study, formats=("md", "csv"))
    folders = {file.parent.name for file in files}
    assert folders == {"report", "mnist-1d-mlp", "digits-mlp-1000-steps-batch-100-fp32"}
    index = (study / "report" / "report.md").read_text()
    assert "(mnist-1d-mlp/report.md): 54 runs" in index
    board = pd.read_csv(study / "report" / "mnist-1d-mlp" / "leaderboard.csv")
    assert (board["runs"] == 27).all()


def test_what_was_written_when_there_was_one_task_goes_when_there_are_two(synthetic, tmp_path):
    one = synthetic.make_records(**SMALL)
    study = synthetic.store(tmp_path / "two", one)
    write_report(study, formats=("md", "csv", "png"))
    (study / "report" / "own.md").write_text("of the user")
    other = synthetic.make_records(**SMALL, task="bb", task_label="MNIST 1D, mlp")
    synthetic.store(study, pd.concat([one, other]))
    write_report(study, formats=("md",))
    assert {path.name for path in (study / "report").iterdir() if path.is_file()} == {
        *("report.md", "own.md", "MANIFEST.json")
    }


def test_a_study_of_several_tasks_has_one_statement_per_pair_and_a_table_of_all_errors(synthetic, tmp_path):
    tasks = [
        synthetic.confirmed(
            synthetic.make_records({"A": "lr_scaled", "B": "l2"}, lrs=[0.1, 0.2], lambdas=[0.001], task=f"a{i}",
                                   task_label=f"data {i}, mlp", noise=0.002)
        ).assign(
            run_id=lambda runs, i=i: f"{i}" + runs["run_id"].str[1:],
            settings=lambda runs, i=i: runs["settings"].str.replace('"digits"', f'"data {i}"'),
        )
        for i in range(3)
    ]  # fmt: skip
    study = synthetic.store(tmp_path / "three", pd.concat(tasks, ignore_index=True))
    write_report(study, formats=("md", "csv", "tex", "html"))
    whole = (study / "report" / "report.md").read_text()
    assert "Over 3 tasks: A " in whole
    assert "## Across tasks" in whole
    pooled = pd.read_csv(study / "report" / "across_tasks.csv")
    assert pooled[["a", "b", "tasks"]].to_numpy().tolist() == [["A", "B", 3]]
    assert pooled["wins"].item() + pooled["ties"].item() + pooled["losses"].item() == 3
    assert pooled["low"].item() < pooled["relative_difference"].item() < pooled["high"].item()
    errors = pd.read_csv(study / "report" / "optimizers_by_task.csv").set_index("optimizer")
    assert sorted(errors.columns) == ["data 0, mlp", "data 1, mlp", "data 2, mlp"]
    for folder in (study / "report").glob("data-*"):
        board = pd.read_csv(folder / "leaderboard.csv").set_index("arm")["final_test_error"]
        name = f"data {folder.name.split('-')[1]}, mlp"
        assert errors[name].to_dict() == pytest.approx(board.to_dict())
    assert {"across_tasks.tex", "optimizers_by_task.tex"} <= {path.name for path in (study / "report").iterdir()}
    assert "Across tasks" in (study / "report" / "report.html").read_text()


def test_a_finding_stands_on_its_tasks_page_and_one_of_several_tasks_on_the_studys(synthetic, tmp_path):
    one = synthetic.make_records(**SMALL)
    other = synthetic.make_records(**{**SMALL, "seeds": (0,)}, task="bb", task_label="other")
    study = synthetic.store(tmp_path, pd.concat([one, other]))
    findings = [Finding("Of one.", "bb"), Finding("Of both.", None)]
    write_report(study, formats=("md",), study_findings=StudyFindings(findings=findings))
    pages = {path.parent.name: path.read_text() for path in study.glob("report/*/report.md")}
    assert len(pages) == 2
    assert [name for name, page in pages.items() if "\n- Of one.\n" in page] == ["other"]
    assert not any("Of both" in page for page in pages.values())
    whole = (study / "report" / "report.md").read_text()
    assert "## Verdict\n\n- Of both.\n" in whole
    assert "Of one" not in whole


def test_failed_runs_are_listed_with_their_errors_and_edges_are_warned_of(synthetic, tmp_path):
    records = synthetic.make_records(**SMALL, best_lr=5.0)
    gone = (records["lr"] == 1e-3) & (records["seed"] == 1)
    records = synthetic.end(records, gone, "failed", "Traceback (most recent call last):\n  x\nValueError: a | b")
    records = synthetic.end(records, (records["lr"] == 1e-2) & (records["weight_decay"] == 0), "diverged")
    study = synthetic.store(tmp_path / "bad", records)
    page = write_report(study, formats=("md", "png"))[-2].read_text()
    assert "ValueError: a \\| b" in page
    assert "Errors of the 6 failed runs" in page
    assert "at the boundary of the grid (lr high" in page
    assert "`learning_curves` was not drawn: no optimizer has a best trial with stored curves." in page
    assert re.search(r"\| AdamW +\| +21 \| +3 \| +3 \|", page)


DEGENERATE = {
    "one run": {"arms": {"AdamW": "lr_scaled"}, "lrs": [1e-3], "lambdas": [0.01], "seeds": (0,)},
    "one cell": {"arms": {"AdamW": "lr_scaled"}, "lrs": [1e-3], "lambdas": [0.0]},
    "one seed": {**SMALL, "seeds": (0,)},
    "one decay": {**SMALL, "lambdas": [0.0]},
    "one lr": {**SMALL, "lrs": [1e-3]},
    "own optimizer": {**SMALL, "arms": {"Mine": "l2"}, "decay": None},
    "two cells": {"arms": {"A": "l2"}, "lrs": [1e-3, 1e-2], "lambdas": [1e-3, 1e-2], "seeds": (0,)},
}


@pytest.mark.parametrize(
    ("case", "fate"),
    [*((case, "completed") for case in DEGENERATE),
     *((case, fate) for case in ("one run", "two cells", "own optimizer") for fate in ("diverged", "failed"))],
)  # fmt: skip
def test_degenerate_studies_have_a_report_too(synthetic, tmp_path, case, fate):
    records = synthetic.make_records(**DEGENERATE[case])
    curves = synthetic.make_curves(records, 2) if fate == "completed" else None
    if fate != "completed":
        records = synthetic.end(records, records["seed"] >= 0, fate, "boom")
    drawn = fate == "completed" or (fate == "diverged" and case == "one run")
    formats = ("md", "csv", "tex", *(("svg",) if drawn else ()))
    files = write_report(synthetic.store(tmp_path, records, curves), formats=formats)
    assert files[-2].name == "report.md"
    board = pd.read_csv(tmp_path / "report" / "leaderboard.csv")
    assert len(board) == len(DEGENERATE[case]["arms"])
    assert board["final_test_error"].notna().all() == (fate == "completed")


def test_perfect_and_equal_results_are_drawn(synthetic, tmp_path):
    records = synthetic.make_records(**SMALL)
    numbers = [c for c in records if str(c).startswith(("final_", "best_")) and records[c].dtype == float]
    records[numbers] = 0.0
    study = synthetic.store(tmp_path, records, synthetic.make_curves(records, 3))
    drawn = {file.stem for file in write_report(study, formats=("svg",)) if file.suffix == ".svg"}
    assert drawn == set(NAMES) - {"verdicts", "basin"}  # no spread, and no three decays above 0


def test_no_report_imports_torch(study):
    """Of its figures, test_cli.py tests the same."""
    code = (
        "import sys, pathlib; from adamcmp.storage.records import read\n"
        "from adamcmp.report import ReportInput, write_report, terminal\n"
        "study = pathlib.Path(sys.argv[1]); stored = read(study)\n"
        "write_report(ReportInput(*stored), study / 'report', formats=('md', 'csv', 'tex'))\n"
        "assert not {'torch', 'pydantic', 'hydra'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(study)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_all_formats_are_known():
    assert FORMATS == ("md", "csv", "tex", "png", "svg", "pdf", "html")


def test_runs_that_were_trained_in_several_ways_are_named(synthetic, tmp_path):
    records = synthetic.make_records(**SMALL)
    study = synthetic.store(tmp_path / "one", records)
    assert "trained in several ways" not in write_report(study, formats=("md",))[-2].read_text()
    mixed = records.assign(torch_version=["2.14.1", *["2.13.0"] * (len(records) - 1)])
    mixed["engine"] = ["sequential", "vectorised"] * (len(records) // 2)
    study = synthetic.store(tmp_path / "two", mixed)
    *_, page, manifest = write_report(study, formats=("md",))
    assert f"engine: sequential {len(records) // 2}, vectorised {len(records) // 2}" in page.read_text()
    assert f"torch: 2.13.0 {len(records) - 1}, 2.14.1 1" in page.read_text()
    assert "torch: 2.13.0" in json.loads(manifest.read_text())["trained_in_several_ways"]
