"""What a sweep does with runs that fail, diverge or are stored already, and with own code that cannot work."""

from __future__ import annotations

import os
import sys

import pandas as pd
import pytest

from adamcmp.storage.records import read, read_records

from .conftest import QUICK, error_lines


def by_lr(records: pd.DataFrame) -> dict[float, str]:
    return dict(zip(records["lr"], records["status"], strict=True))


def test_a_failed_run_is_a_row_and_is_the_only_one_trained_again(cli, tmp_path, my_optimizers):
    sweep = ("sweep", "own.yaml", "optimizer=fragile", "optimizer.lr=0.1,0.5,0.7", *QUICK)
    (tmp_path / "broken").touch()
    first = cli(*sweep)
    assert first.code == 1, first.err
    study_dir = tmp_path / "results" / "own"
    records = read_records(study_dir)
    assert by_lr(records) == {0.1: "completed", 0.5: "failed", 0.7: "completed"}
    failed = records[records["status"] == "failed"].iloc[0]
    assert failed["error"] == "ArithmeticError: no step from here"
    assert pd.isna(failed["final_test_error"])
    assert f"1 failed (run {failed['run_id']}, …): ArithmeticError: no step from here" in first.err
    assert "Traceback" not in first.err

    (tmp_path / "broken").unlink()
    second = cli(*sweep)
    assert second.code == 0, second.err
    assert "2 stored, 1 trained" in second.err
    again = read_records(study_dir)
    assert by_lr(again) == {0.1: "completed", 0.5: "completed", 0.7: "completed"}
    trained = again.merge(records, on="run_id", suffixes=("", "_before")).query("finished_at > finished_at_before")
    assert trained["lr"].tolist() == [0.5]
    assert pd.isna(again["error"]).all()


def test_a_failed_single_run_exits_with_1(cli, tmp_path, my_optimizers):
    (tmp_path / "broken").touch()
    ended = cli("run", "own.yaml", "optimizer=fragile", "optimizer.lr=0.5", *QUICK)
    assert ended.code == 1, ended.err
    assert "no step from here" in ended.out


def test_a_diverged_run_is_a_row_with_its_step_and_final(cli, tmp_path):
    sweep = ("sweep", "digits", "optimizer=sgd", "optimizer.lr=1e30,0.1", *QUICK)
    first = cli(*sweep)
    assert first.code == 0, first.err
    study_dir = tmp_path / "results" / "digits"
    records, curves = read(study_dir)
    assert by_lr(records) == {1e30: "diverged", 0.1: "completed"}
    row = records[records["status"] == "diverged"].iloc[0]
    assert 2 <= row["diverged_step"] <= 5  # the first loss is that of the initial weights
    metrics = [column for column in records if column.startswith(("final_", "best_"))]
    assert row[metrics].isna().all()
    assert row["run_id"] not in set(curves["run_id"])
    second = cli(*sweep)
    assert second.code == 0, second.err
    assert "nothing to train" in second.err
    assert len(list((study_dir / "records").iterdir())) == 1


MODULE = """
import torch
from torch import nn


class Forward(nn.Linear):
    def __init__(self):
        super().__init__(64, 10)

    def forward(self, x):
        raise RuntimeError("cannot\\ngo forward")


class Build(nn.Module):
    def __init__(self):
        raise RuntimeError("cannot\\nbe built")


class NoParameters(nn.Module):
    def forward(self, x):
        return torch.zeros(len(x), 10)


class TooFewClasses(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 7))

    def forward(self, x):
        return self.layers(x)


def no_module():
    return 5


def labels(highest=10):
    x, y = torch.randn(200, 1, 8, 8), torch.arange(200) % 10
    y[0] = highest
    return {"train": (x, y), "num_classes": 10}


class Optimizer:
    def __init__(self, params, lr):
        pass
"""
BARE = ("~model.hidden", "~model.activation", "~model.dropout")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("data._target_=bad.labels",), "labels run from 0 to 10, allowed are 0 to 9"),
        (("data._target_=bad.labels", "+data.highest=-1"), "labels run from -1 to 9, allowed are 0 to 9"),
        (("data._target_=bad.labels", "+data.hihgest=-1"), "unexpected keyword argument 'hihgest'"),
        (("model._target_=bad.Forward", *BARE), "RuntimeError: cannot go forward"),
        (("model._target_=bad.Build", *BARE), "RuntimeError: cannot be built"),
        (("model._target_=bad.Build", "model.foo=1"), "unexpected keyword argument"),
        (("model._target_=bad.NoParameters", *BARE), "no parameters to train"),
        (("model._target_=bad.TooFewClasses", *BARE), "gives (2, 7) for two examples; needs logits of shape (2, 10)"),
        (("model._target_=bad.no_module", *BARE), "must be a torch nn.Module"),
        (("model._target_=bad.Buidl", *BARE), "did you mean Build?"),
        (("model._target_=absent.Net", *BARE), "there is no module 'absent'"),
        (("model._target_=broken.Net", *BARE), "cannot be imported: SyntaxError"),
        (("optimizer=mine",), "must be a torch.optim.Optimizer"),
        (("optimizer=mine", "+optimizer.betas=[0.9,0.99]"), "unexpected keyword argument 'betas'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_own_code_that_cannot_work_is_refused_before_anything_is_trained(cli, overrides, says):
    (cli.folder / "bad.py").write_text(MODULE)
    (cli.folder / "broken.py").write_text("def (:\n")
    sys.modules.pop("broken", None)  # of another test
    (cli.folder / "own.yaml").write_text("defaults: [digits, _self_]\n")
    (cli.folder / "optimizer").mkdir()
    (cli.folder / "optimizer" / "mine.yaml").write_text("_target_: bad.Optimizer\nlr: 0.1\n")
    ended = cli("sweep", "own.yaml", "study.seeds=2", *QUICK, *overrides)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert says in error_lines(ended.err)[0]
    assert not ended.out
    assert not (cli.folder / "results").exists()


def test_a_refused_command_leaves_the_stored_study_as_it_was(cli):
    assert cli("run", "digits", *QUICK).code == 0
    study = cli.folder / "results" / "digits" / "study.yaml"
    before = study.read_text()
    assert cli("run", "digits", "model.hidden=[0]", *QUICK).code == 2
    assert study.read_text() == before


def test_limit_trains_so_many_and_the_next_sweep_the_rest(cli):
    sweep = ("sweep", "digits", "optimizer.lr=geomspace(1e-3,1e-1,4)", "study.seeds=2", *QUICK)
    study_dir = cli.folder / "results" / "digits"
    limited = cli(*sweep, "--limit", "3")
    assert limited.code == 0
    assert "done in" in limited.err
    first = read_records(study_dir)
    assert len(first) == 3
    assert cli(*sweep, "--limit", "1").code == 0
    assert len(read_records(study_dir)) == 4
    assert cli(*sweep, "--limit", "99").code == 0
    rest = read_records(study_dir)
    assert len(rest) == 8
    kept = rest[rest["run_id"].isin(first["run_id"])]
    assert kept["finished_at"].tolist() == first["finished_at"].tolist()


def test_a_wider_grid_trains_only_its_new_cells(cli):
    study_dir = cli.folder / "results" / "digits"
    assert cli("sweep", "digits", "optimizer.lr=1e-3,1e-2", *QUICK).code == 0
    first = read_records(study_dir)
    ended = cli("sweep", "digits", "optimizer.lr=1e-3,1e-2,1e-1", *QUICK)
    assert "2 stored, 1 trained" in ended.err
    both = read_records(study_dir)
    assert set(first["run_id"]) < set(both["run_id"])
    assert len(both) == 3


def test_rows_that_name_one_run_twice_are_trained_once(cli):
    ended = cli("sweep", "digits", "optimizer.lr=1e-3,0.001,1e-2", *QUICK)
    assert ended.code == 0
    assert "1 run equals another one of the grid" in ended.err
    assert len(read_records(cli.folder / "results" / "digits")) == 2


def test_a_damaged_part_stops_a_sweep_before_it_trains(cli):
    sweep = ("sweep", "digits", "optimizer.lr=1e-3,1e-2", *QUICK)
    assert cli(*sweep).code == 0
    part = next((cli.folder / "results" / "digits" / "records").iterdir())
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    for command in (sweep, ("report", "results")):
        ended = cli(*command)
        assert ended.code == 2
        assert len(ended.err.splitlines()) == 1
        assert part.name in ended.err
    part.rename(cli.folder / "aside")
    assert cli(*sweep).code == 0
    assert len(read_records(cli.folder / "results" / "digits")) == 2


def test_records_say_where_they_come_from(cli):
    assert cli("run", "digits", "optimizer=adamw_paper", "seed=7", *QUICK).code == 0
    row = read_records(cli.folder / "results" / "digits").iloc[0]
    assert row["command"] == "adamcmp run digits optimizer=adamw_paper seed=7 train.steps=5 train.evaluations=1"
    assert (row["seed"], row["optimizer"], row["device"], row["steps"]) == (7, "adamw_paper", "cpu", 5)
    assert row["weight_decay_schedule_only"] == row["decay_per_step"] == row["weight_decay"]
    assert row["weight_decay_lr_scaled"] == pytest.approx(row["weight_decay"] / row["lr"])
    assert row["weight_decay_normalized"] == pytest.approx(row["weight_decay"] * 5**0.5)
    assert row["epochs"] == pytest.approx(5 / (row["train_examples"] // 100))


def test_a_cache_that_cannot_be_written_ends_nothing(cli, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("where the cache should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    ended = cli("sweep", "digits", "optimizer.lr=1e-3,1e-2", "train.steps=20", "execute.processes=2")
    assert ended.code == 0, ended.err
    again = cli("sweep", "digits", "optimizer.lr=1e-3,1e-2", "train.steps=20")
    assert "nothing to train" in again.err


TABLE = ("data=table", "data.path=rows.csv", "train.batch_size=4", "train.steps=4", "train.evaluations=1")


def write_rows(path, extra=""):
    path.write_text("a,b,label\n" + "".join(f"{i},{i % 7},{i % 2}\n" for i in range(40)) + extra)


def test_data_from_files_are_read_again_when_they_change_and_not_before(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_rows(tmp_path / "rows.csv")
    assert cli("sweep", "table", *TABLE).code == 0
    with monkeypatch.context() as patched:
        patched.setattr("adamcmp.engine.loading.load_data", None)
        again = cli("sweep", "table", *TABLE)
    assert "nothing to train" in again.err, again.err
    write_rows(tmp_path / "rows.csv", "5,5,1\n")
    changed = cli("sweep", "table", *TABLE)
    assert "1 of them stored" not in changed.err
    assert len(read_records(tmp_path / "results" / "table_rows")) == 2


def test_data_that_change_unseen_are_met_when_they_are_trained_on(cli, tmp_path, monkeypatch):
    """As many bytes, and the time of before: planned as what they were, refused when loaded, and read anew then."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "rows.csv"
    write_rows(path)
    assert cli("sweep", "table", *TABLE).code == 0
    status = path.stat()
    path.write_text(path.read_text().replace("7,0,1", "8,0,1"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    refused = cli("sweep", "table", *TABLE, "optimizer.lr=0.5")
    assert refused.code == 2
    assert "data=table: has changed since it was last loaded; run this again" in refused.err
    assert cli("sweep", "table", *TABLE, "optimizer.lr=0.5").code == 0
