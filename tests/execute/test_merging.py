"""Runs that are there already: in another study, on another machine."""

from __future__ import annotations

import shutil

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from adamcmp.storage.records import read, read_outcomes, read_records

from .conftest import QUICK

SHORT = ("train.steps=30", "train.evaluations=2", "optimizer=adam,adamw")


def test_a_sweep_takes_what_another_study_has_finished(cli, tmp_path):
    assert cli("sweep", "digits", *SHORT, "optimizer.lr=1e-3,1e-2", "study.name=first").code == 0
    ended = cli("sweep", "digits", *SHORT, "optimizer.lr=1e-2,3e-2", "study.name=second")
    assert "2 runs of other studies in the same folder are reused" in ended.err
    assert "2 stored, 2 trained" in ended.err
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
    assert "8 runs of other studies" in ended.err
    assert "6 runs of other studies" in ended.err
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


# what is damaged or does not agree is said


def test_runs_without_curves_are_told_and_trained_again_when_asked(cli):
    words = ("sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=1e-2,3e-2", *QUICK, "study.confirm.seeds=3")
    assert cli(*words).code == 0
    study_dir = cli.folder / "results" / "digits"
    for table in ("curves", "outcomes"):
        first, *_ = sorted((study_dir / table).glob("*.parquet"))
        first.write_bytes(first.read_bytes()[:-20])
        ended = cli("report", "results/digits", "--format", "csv")
        assert ended.code == 2
        assert "its runs still count" in ended.err
        first.unlink()
    ended = cli("report", "results/digits", "--format", "csv")
    assert ended.code == 0, ended.err
    told = " ".join(ended.err.split())
    assert "stored without the curve: they are missing from learning curves" in told
    assert "`adamcmp remove results/digits --incomplete` removes them" in told
    assert cli("remove", "results/digits", "--incomplete", "--yes").code == 0
    again = cli(*words)
    assert again.code == 0, again.err
    assert "done in" in again.err
    assert "stored without" not in cli("report", "results/digits", "--format", "csv").err


def test_a_damaged_study_beside_it_blocks_no_sweep(cli):
    assert cli("run", "digits", *QUICK, "study.name=other", "seed=1").code == 0
    (part,) = (cli.folder / "results" / "other" / "records").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-30])
    ended = cli("sweep", "digits", *QUICK, "seed=0,1")
    assert ended.code == 0, ended.err
    assert "other: not searched for runs that are wanted here, since it is damaged" in " ".join(ended.err.split())
    assert len(read_records(cli.folder / "results" / "digits")) == 2


def test_runs_that_two_machines_have_trained_to_other_numbers_are_named(cli):
    assert cli("run", "digits", *QUICK).code == 0
    (cli.folder / "results").rename(cli.folder / "a")
    assert cli("run", "digits", *QUICK).code == 0
    (cli.folder / "results").rename(cli.folder / "b")
    (part,) = (cli.folder / "b" / "digits" / "records").glob("*.parquet")
    table = pq.read_table(part)
    place = table.schema.get_field_index("final_validation_error")
    table = table.set_column(place, table.schema.field(place), pa.array([0.125]))
    part.unlink()
    pq.write_table(table, part.with_name("changed.parquet"))
    for words in (
        ("merge", "a", "b", "--out", "c"),
        ("report", "a/digits", "b/digits", "--out", "d", "--format", "csv"),
    ):
        ended = cli(*words)
        assert ended.code == 0, ended.err
        assert "1 run is stored several times with different numbers, such as" in " ".join(ended.err.split())
        assert "0.125" in ended.err
