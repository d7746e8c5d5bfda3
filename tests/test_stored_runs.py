"""What is done with stored runs: removed, trained again where they failed, reported on together; and the hints."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from adamcmp import load
from adamcmp.storage.records import read

from .execute.conftest import MY_OPTIMIZERS, QUICK, CommandLine

GRID = ("optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2", "study.seeds=2")


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture
def stored(cli):
    assert cli.stored("sweep", "digits", *GRID, *QUICK).code == 0
    return cli


def test_runs_are_removed_by_arm_and_id_with_their_curves(stored):
    records, curves = load(stored.folder / "results/digits")
    ended = stored("remove", "results/digits", "--arm", "adamw", "--yes")
    assert ended.code == 0
    assert "results/digits: 4 runs" in ended.out
    left = read(stored.folder / "results/digits")
    assert set(left.records["arm"]) == {"Adam + L2"}
    assert set(left.curves["run_id"]) == set(left.records["run_id"])
    assert len(left.curves) == len(curves) // 2
    first = left.records["run_id"].iloc[0]
    assert stored("remove", "results", "--id", first[:10], "--yes").out.startswith("results/digits: 1 run\n")
    again = stored("sweep", "digits", *GRID, *QUICK)
    assert "3 stored, 5 trained" in again.err
    records_again, _ = load(stored.folder / "results/digits")
    both = records.merge(records_again, on="run_id", suffixes=("", "_again"))
    assert len(both) == len(records) == len(records_again)
    assert (both["final_train_loss"] == both["final_train_loss_again"]).all()


def test_nothing_is_removed_without_a_yes_or_without_a_choice(stored, monkeypatch):
    before = len(load(stored.folder / "results").records)
    monkeypatch.setattr("typer.confirm", lambda _: False)
    assert "Nothing was removed." in stored("remove", "results", "--status", "completed").out
    assert stored("remove", "results").code == 2
    assert "No stored runs match these filters" in stored("remove", "results", "--status", "failed").out
    assert "No stored runs match these filters" in stored("remove", "results", "--study", "other", "--yes").out
    assert len(load(stored.folder / "results").records) == before


def test_only_failed_trains_what_has_failed_and_nothing_else(cli):
    (cli.folder / "my_optimizers.py").write_text(MY_OPTIMIZERS)
    (cli.folder / "broken").touch()
    words = ("sweep", "digits", "optimizer._target_=my_optimizers.Fragile", "optimizer.lr=0.1,0.5", *QUICK)
    ended = cli(*words)
    assert ended.code == 1
    assert "1 failed" in ended.err
    assert cli(*words[:3], "optimizer.lr=0.1,0.2", *QUICK, "--only-failed").err.count("nothing to train") == 1
    (cli.folder / "broken").unlink()
    again = cli(*words[:3], "optimizer.lr=0.1,0.2,0.5", *QUICK, "--only-failed")
    assert again.code == 0, again.err
    records, _ = load(cli.folder / "results/digits")
    assert sorted(records["lr"]) == [0.1, 0.5]
    assert set(records["status"]) == {"completed"}


def test_several_folders_make_one_report(stored):
    assert stored("sweep", "digits", "optimizer=sgd", "study.seeds=2", *QUICK, "--results-dir", "other").code == 0
    refused = stored("report", "results/digits", "other/digits")
    assert refused.code == 2
    assert "--out" in refused.err
    ended = stored("report", "results/digits", "other/digits", "--out", "both", "--format", "md")
    assert ended.code == 0, ended.err
    page = (stored.folder / "both" / "report.md").read_text()
    for arm in ("Adam + L2", "AdamW", "SGD + L2"):
        assert f"| {arm} " in page


def test_arms_studies_and_folders_are_compared(cli):
    grid = ("optimizer.lr=1e-3,1e-2", "study.seeds=2", *QUICK)
    confirmed = "study.confirm.seeds=3"
    assert cli("sweep", "digits", "optimizer=adam,adamw", *grid, confirmed).code == 0
    assert cli("sweep", "digits", "optimizer=adamw", *grid, confirmed, "--results-dir", "other").code == 0
    arms = cli("compare", "adam", "adamw")
    assert arms.code == 0, arms.err
    assert re.search(r"^Verdict   .*AdamW and Adam \+ L2|^Verdict   .*Adam \+ L2 and AdamW", arms.out, re.MULTILINE)
    of_one = cli("compare", "adam", "adamw", "results/digits")
    assert of_one.out.partition("Leaderboard")[2] == arms.out.partition("Leaderboard")[2]
    folders = cli("compare", "digits", "other/digits", "--out", "both", "--format", "md", "--margin", "2")
    assert folders.code == 0, folders.err
    assert "digits: AdamW and other/digits: AdamW are equivalent within ±2.00 pp" in " ".join(folders.out.split())
    assert "Adam + L2 vs." not in folders.out
    assert "2.00 pp" in (cli.folder / "both" / "verdicts.md").read_text()
    one = cli("compare", "results/digits:adam", "other/digits")
    assert "results/digits: Adam + L2" in one.out
    assert cli("sweep", "digits", "model=mlp_100_100", "study.seeds=2", *QUICK, "--results-dir", "third").code == 0
    mixed = cli("compare", "results/digits", "third/digits")
    assert (mixed.code, mixed.err.count("\n")) == (2, 1)
    assert "no two of these share a task" in mixed.err


def test_what_is_not_confirmed_has_no_verdict(stored):
    assert "No verdict: none of these pairs has held-out runs" in stored("compare", "adam", "adamw").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["digits"], "give two or more different optimizers, studies or results folders;"),
        (["digits", "digits"], "give two or more different"),
        (["adamw", "adamm"], "no study in results, and no optimizer of results/digits; did you mean adam"),
        (["results/digits:sgd", "adam"], "no optimizer of results/digits"),
    ],
)
def test_what_cannot_be_compared_is_one_line(stored, words, said):
    ended = stored("compare", *words)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_a_boundary_and_a_single_seed_come_with_settings_that_help(cli):
    words = ("digits", "optimizer=adamw", "optimizer.lr=1e-4,1e-3", "study.name=my study", *QUICK)
    ended = cli("sweep", *words)
    fixes = re.findall(r"(?:Extend the grid:|Use) (study\.\w+=\d)", " ".join(ended.out.split()))
    assert fixes == ["study.seeds=5", "study.extend=5"]
    for fix in fixes:
        assert cli("sweep", *words, fix).code == 0
    records, _ = load(cli.folder / "results/my study")
    assert len(set(records["lr"])) > 2
    assert set(records["seed"]) == set(range(5))


def test_what_goes_to_a_pipe_has_no_colour_and_no_trailing_blanks(stored, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    for words in (("report", "results/digits"), ("list",), ("show", "digits"), ("run", "digits", *QUICK)):
        ended = stored(*words)
        assert "\x1b[" not in ended.out + ended.err
        assert not [line for line in ended.out.splitlines() if line != line.rstrip()]


def test_no_interval_is_explained_where_there_is_none(cli):
    one = cli("sweep", "digits", "optimizer=adam,adamw", *QUICK).out
    assert "±" not in one.partition("Verdict")[0]
    assert "1 seed" in one
    several = cli("sweep", "digits", "optimizer=adam,adamw", "study.seeds=2", *QUICK).out
    assert "mean ± 95 % CI, 2 seeds" in several
    assert re.search(r"always the majority class +92\.2 ", several)


def test_two_writers_of_one_file_do_not_fail_each_other(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from adamcmp.storage.backend import write_file

    path = tmp_path / "shared.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: write_file(path, f"{i}".encode() * 1000), range(400)))
    assert len(set(path.read_text())) <= 3
    assert [each.name for each in tmp_path.iterdir()] == ["shared.json"]


def test_held_out_runs_without_their_tuning_runs_are_no_defect(cli):
    assert cli.stored("sweep", "digits", *GRID, *QUICK, "study.confirm.seeds=2").code == 0
    for path in (cli.folder / "results/digits/records").glob("*.parquet"):
        frame = pd.read_parquet(path)
        if (frame["stage"] == "tune").any():
            path.unlink()
    for words in (["report", "results/digits", "--format", "csv"], ["show", "results/digits", "--best", "adamw"]):
        ended = cli(*words)
        assert ended.code == 2, ended.err
    assert "4 held-out runs are stored without the tuning runs" in cli("report", "results/digits").err
