"""Runs that are there already: in another study, on another machine."""

from __future__ import annotations

import shutil

import pandas as pd

from adamcmp.records import read, read_outcomes

SHORT = ("train.steps=30", "train.evaluations=2", "optimizer=adam,adamw")


def test_a_sweep_takes_what_another_study_has_finished(cli, tmp_path):
    assert cli("sweep", "digits", *SHORT, "optimizer.lr=1e-3,1e-2", "study.name=first").code == 0
    ended = cli("sweep", "digits", *SHORT, "optimizer.lr=1e-2,3e-2", "study.name=second")
    assert "2 runs were found in other studies beside it, and are not trained again" in ended.err
    assert "2 to train" in ended.err
    first, second = (read(tmp_path / "results" / name) for name in ("first", "second"))
    shared = first.records.merge(second.records, on="run_id", suffixes=("", "_here"))
    assert len(shared) == 2
    assert (shared["study_here"] == "first").all()  # which trained it
    assert (shared["final_test_error"] == shared["final_test_error_here"]).all()
    assert set(second.curves["run_id"]) == set(second.records["run_id"])
    again = cli("sweep", "digits", *SHORT, "optimizer.lr=1e-2,3e-2", "study.name=second")
    assert "nothing to train" in again.err


def test_confirmed_runs_are_taken_for_what_they_are_wanted_for(cli, tmp_path):
    grid = ("sweep", "digits", *SHORT, "optimizer.lr=1e-3,1e-2", "study.seeds=2", "study.confirm.seeds=3")
    assert cli.as_given(*grid, "study.name=first").code == 0
    ended = cli.as_given(*grid, "study.name=second")
    assert "8 runs were found" in ended.err
    assert "6 runs were found" in ended.err
    one, other = (read(tmp_path / "results" / name).records for name in ("first", "second"))
    assert one["stage"].value_counts().to_dict() == other["stage"].value_counts().to_dict() == {"tune": 8, "confirm": 6}
    outcomes = [read_outcomes([tmp_path / "results" / name]) for name in ("first", "second")]
    assert outcomes[0].keys() == outcomes[1].keys()
    assert len(outcomes[0]) == 6


def test_failed_runs_are_not_taken(cli, tmp_path, my_optimizers):
    (tmp_path / "broken").touch()
    assert cli("sweep", "own.yaml", "optimizer=fragile", "optimizer.lr=0.5", "study.name=first").code == 1
    (tmp_path / "broken").unlink()
    ended = cli("sweep", "own.yaml", "optimizer=fragile", "optimizer.lr=0.5", "study.name=second")
    assert ended.code == 0
    assert "were found" not in ended.err


def test_results_of_two_machines_are_joined_without_loss_or_doubling(cli, tmp_path):
    for lrs in ("1e-3,1e-2", "1e-2,3e-2"):
        assert cli("sweep", "digits", *SHORT, f"optimizer.lr={lrs}", "train.save=last").code == 0
        shutil.move(tmp_path / "results", tmp_path / f"machine {lrs[:4]}")
    machines = [str(path) for path in sorted(tmp_path.glob("machine*"))]
    for _ in range(2):  # joining again changes nothing
        ended = cli("merge", *machines, "--out", "both")
        assert ended.code == 0, ended.err
        assert "both/digits: 6 runs" in ended.out
    records, curves = read(tmp_path / "both" / "digits")
    expected = pd.concat([read(path).records for path in sorted(tmp_path.glob("machine*/digits"))])
    assert set(records["run_id"]) == set(expected["run_id"])
    assert curves.groupby("run_id").size().eq(2).all()
    assert len(list((tmp_path / "both/digits/weights").glob("*.safetensors"))) == 6
    assert (
        "nothing to train"
        in cli("sweep", "digits", *SHORT, "optimizer.lr=1e-3,1e-2,3e-2", "train.save=last", "--results-dir", "both").err
    )
    assert cli("merge", "nowhere", "--out", "both").code == 2
