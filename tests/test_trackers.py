"""Stored runs as other tools take them: what is read back there is what is stored here."""

from __future__ import annotations

import sys

import optuna
import pandas as pd
import pytest

import adamcmp
from adamcmp.cli import app
from adamcmp.trackers import export, to_tracked_runs

from .execute.conftest import CommandLine

WORDS = ("sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2,1e30", "train.steps=20",
         "train.evaluations=4", "study.confirm.seeds=0", "study.name=tracked")  # fmt: skip


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["adamcmp", *WORDS, "log=tensorboard"])
        app(list(sys.argv[1:]), standalone_mode=False)
    return folder / "results" / "tracked"


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    return CommandLine(tmp_path, monkeypatch, capsys)


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(each.step, each.value) for each in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_a_sweep_that_logs_to_tensorboard_has_an_event_file_for_each_run(stored):
    records, curves = adamcmp.load(stored)
    folders = sorted((stored / "tensorboard" / "tracked").iterdir())
    assert len(folders) == len(records) == 6
    for folder in folders:
        run = records[records["run_id"] == folder.name.split()[-1]].iloc[0]
        found, own = scalars(folder), curves[curves["run_id"] == run["run_id"]]
        assert [step for step, _ in found.get("validation/error", [])] == own["step"].tolist()
        assert [value for _, value in found.get("test/loss", [])] == pytest.approx(own["test_loss"].tolist(), rel=1e-6)
        if run["status"] == "completed":
            assert found["final_test_error"][-1][1] == pytest.approx(run["final_test_error"], rel=1e-6)


def test_what_a_tracker_has_is_not_told_again(stored, cli):
    ended = cli("export", str(stored), "--to", "tensorboard")
    assert ended.code == 0, ended.err
    assert "0 new runs" in ended.out
    assert "6 new runs" in cli("export", str(stored), "--to", "tensorboard", "--out", "elsewhere").out


@pytest.mark.parametrize(("to", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_tables_are_whole(stored, tmp_path, to, read):
    records, curves = adamcmp.load(stored)
    assert export(adamcmp.load(stored), to, tmp_path) == 6
    assert read(tmp_path / f"records.{to}")["run_id"].tolist() == records["run_id"].tolist()
    assert read(tmp_path / f"curves.{to}")["test_loss"].tolist() == pytest.approx(curves["test_loss"].tolist())


def test_optuna_sees_a_study_for_each_arm(stored, tmp_path):
    records, _ = adamcmp.load(stored)
    assert export(adamcmp.load(stored), "optuna", tmp_path) == 6
    assert export(adamcmp.load(stored), "optuna", tmp_path) == 6
    storage = f"sqlite:///{tmp_path}/optuna.db"
    names = [each.study_name for each in optuna.get_all_study_summaries(storage)]
    assert [name.rpartition("| ")[2] for name in names] == ["Adam + L2", "AdamW"]
    study = optuna.load_study(study_name=names[1], storage=storage)
    own = records[(records["arm"] == "AdamW") & (records["status"] == "completed")]
    assert study.best_value == own["final_validation_error"].min()
    assert [trial.state.name for trial in study.trials].count("FAIL") == 2 - 1


def test_runs_that_diverged_are_told_of_too(stored):
    found = list(to_tracked_runs(adamcmp.load(stored)))
    assert sorted({each.status for each in found}) == ["completed", "diverged"]
    assert {bool(each.ends) for each in found if each.status == "diverged"} == {False}
    assert all(each.settings["optimizer"] in ("adam", "adamw") for each in found)


@pytest.mark.needs("mlflow")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SQLAlchemy, about MLflow
def test_mlflow_has_a_run_for_each_run(stored, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert export(adamcmp.load(stored), "mlflow", tmp_path) == 6
    assert export(adamcmp.load(stored), "mlflow", tmp_path) == 0
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("tracked").experiment_id])
    records, curves = adamcmp.load(stored)
    by_id = {run.data.tags["adamcmp.run_id"]: run for run in runs}
    for row in records.to_dict("records"):
        run = by_id[row["run_id"]]
        assert run.data.tags["adamcmp.status"] == row["status"]
        assert run.data.params["lr"] == str(row["lr"])
        assert run.info.status == ("FINISHED" if row["status"] == "completed" else "FAILED")
        history = client.get_metric_history(run.info.run_id, "test_loss")
        own = curves[curves["run_id"] == row["run_id"]]
        assert [each.step for each in history] == own["step"].tolist()
        assert [each.value for each in history] == own["test_loss"].tolist()


@pytest.mark.slow
@pytest.mark.needs("wandb")
def test_wandb_writes_offline(stored, tmp_path):
    assert export(adamcmp.load(stored), "wandb", tmp_path) == 6
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 6
    assert export(adamcmp.load(stored), "wandb", tmp_path) == 0


@pytest.mark.parametrize("words", [("export", "nowhere", "--to", "csv"), ("export", "nowhere", "--to", "excel"),
                                   ("run", "digits", "log=comet")])  # fmt: skip
def test_what_is_not_there_is_one_line(cli, words):
    ended = cli(*words)
    assert ended.code == 2
    assert len([line for line in ended.err.splitlines() if line.startswith("adamcmp: ")]) == 1
