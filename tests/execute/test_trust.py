"""A results folder may come from anybody: nothing in it runs, nothing outside it is written or removed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adamcmp.config.trust import can_run_code
from adamcmp.execute import temp_dirs
from adamcmp.plan import saved_plan
from adamcmp.storage.records import read_records
from adamcmp.storage.schema import RECORD, arrow_schema

from .conftest import QUICK

SWEEP = ("sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2", *QUICK)
SPY = """
from pathlib import Path

from torch import nn

Path(__file__).with_name("has_run").touch()


class Net(nn.Sequential):
    def __init__(self, input_shape, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(64, num_classes))


def metric(outputs):
    return 0.0


def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets)
"""


def changed(study_dir: Path, **columns: str) -> None:
    """Write all records of a study again, with other texts in some columns."""
    frame = read_records(study_dir).assign(**columns)
    for path in (study_dir / "records").iterdir():
        path.unlink()
    pq.write_table(
        pa.Table.from_pandas(frame, schema=arrow_schema(RECORD), preserve_index=False),
        study_dir / "records" / "part.parquet",
    )


def add_word(study_dir: Path, word: str) -> None:
    """Have the stored commands name one more word."""
    import shlex

    (command,) = set(read_records(study_dir)["command"])
    changed(study_dir, command=shlex.join([*shlex.split(command), word]))


@pytest.mark.parametrize(
    "word",
    ["model._target_=spy.Net", "+model._target_=spy.Net", "model={_target_:spy.Net}", "data._target_=spy.Net",
     "train.loss._target_=spy.loss", "train.loss=spy.loss", "train.metrics=[spy.metric]",
     "train={metrics:[spy.metric]}",
     "schedule._target_=spy.loss", "optimizer._target_=spy.Net", "execute=ray", "execute.ray.address=other:1",
     "execute.slurm.setup=[x]", "execute={where:ray}", "log=mlflow", "hydra.searchpath=[x]", "--config-dir=spy"],
)  # fmt: skip
def test_settling_runs_nothing_that_a_stored_command_names(cli, word):
    assert cli.stored(*SWEEP).code == 0
    spy = cli.folder / "spy.py"
    spy.write_text(SPY)
    (cli.folder / "spy").mkdir()
    study_dir = cli.folder / "results" / "digits"
    add_word(study_dir, word)
    ended = cli("settle", "adam", "adamw")
    assert ended.code == 2
    assert f"the command stored in {Path('results') / 'digits'} names" in ended.err
    assert "add --trust" in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (cli.folder / "has_run").exists()


def test_settling_runs_it_where_that_is_trusted(cli):
    (cli.folder / "spy.py").write_text(SPY)
    words = ("sweep", "digits", "model._target_=spy.Net", "optimizer=adam,sgd", "optimizer.lr=1e-2", *QUICK)
    assert cli(*words, "study.seeds=4").code == 0
    refused = cli("settle", "adam", "sgd")
    assert refused.code == 2
    assert "'model._target_=spy.Net', which could run code here" in refused.err
    settled = cli("settle", "adam", "sgd", "--trust", "--max-seeds", "8")
    assert settled.code == 0, settled.err
    named = cli("settle", "adam", "sgd", "digits", *words[2:], "study.seeds=4", "--max-seeds", "8")  # as typed
    assert named.code == 0, named.err


@pytest.mark.parametrize(
    "word",
    ["optimizer=adam,adamw", "optimizer.lr=geomspace(1e-3,1,4)", "train.loss=huber", "train.loss.delta=0.5",
     "train.metrics=[top5_error,weight_norms]", "execute.compile=false", "model.width=8", "study.seeds=3",
     "execute=local", "data.path=rows.csv", "optimizer.groups=[{params:'*.bias',lr_scale:2.5}]", "schedule=cosine",
     "data.split_seed=${seed}"],
)  # fmt: skip
def test_words_that_choose_and_set_values_need_no_trust(word):
    assert not can_run_code(word)


@pytest.mark.parametrize("section", ["model", "data", "metrics", "loss", "optimizer"])
def test_a_plan_that_was_changed_runs_nothing(cli, section):
    from adamcmp.config.lookup import find_config
    from adamcmp.engine.loading import dataset_metadata, load_data
    from adamcmp.plan.expand import plan_study

    (cli.folder / "spy.py").write_text(SPY)
    study_dir = cli.folder / "results" / "digits"
    study_dir.mkdir(parents=True)
    whole = plan_study(find_config("digits"), list(QUICK), lambda settings, _: dataset_metadata(load_data(settings)))
    digest = saved_plan.write_plan(saved_plan.SavedPlan(whole, ("sweep", "digits")), study_dir / "plan.parquet")
    assert saved_plan.read_plan(study_dir / "plan.parquet", trust=False).plan.runs == whole.runs
    table = pq.read_table(study_dir / "plan.parquet")
    shared = json.loads(table.schema.metadata[saved_plan.METADATA_KEY])
    task = shared["tasks"][0]
    if section in ("model", "data"):
        task[section]["target"] = "spy.Net"
    elif section == "optimizer":
        own = json.dumps({"target": "spy.Net", "name": "x", "label": "x", "lr": 1.0, "arguments": {}})
        place = table.schema.get_field_index("optimizer")
        table = table.set_column(place, "optimizer", pa.array([own] * len(table)))
    else:
        task["train"][section] = {"metrics": ["spy.metric"], "loss": {"name": "own", "target": "spy.loss"}}[section]
    pq.write_table(
        table.replace_schema_metadata({saved_plan.METADATA_KEY: json.dumps(shared).encode()}),
        study_dir / "plan.parquet",
    )
    for words in ((), ("--plan", digest)):  # which no longer is the plan's
        ended = cli("work", "results/digits", *words)
        assert ended.code == 2
        assert "names 'spy." in ended.err
        assert "add --trust" in ended.err
    assert not (cli.folder / "has_run").exists()


def test_a_plan_of_own_code_is_trusted_by_who_wrote_it(cli):
    from adamcmp.config.lookup import find_config
    from adamcmp.engine.loading import dataset_metadata, load_data
    from adamcmp.plan.expand import plan_study

    (cli.folder / "spy.py").write_text(SPY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cli.folder)
        patch.syspath_prepend(str(cli.folder))
        words = ["model._target_=spy.Net", "study.confirm.seeds=0", *QUICK]
        whole = plan_study(find_config("digits"), words, lambda settings, _: dataset_metadata(load_data(settings)))
        study_dir = cli.folder / "results" / "digits"
        study_dir.mkdir(parents=True)
        digest = saved_plan.write_plan(saved_plan.SavedPlan(whole, ("sweep", "digits")), study_dir / "plan.parquet")
    assert cli("work", "results/digits").code == 2
    ended = cli("work", "results/digits", "--plan", digest)
    assert ended.code == 0, ended.err
    assert read_records(study_dir)["status"].tolist() == ["completed"]


@pytest.mark.parametrize(
    ("path", "value"),
    [(("schedule", "warmup_steps"), "0) or __import__('os').system('x'"), (("clip_norm",), "1); import os"),
     (("optimizer", "groups"), [{"params": "*", "lr_scale": "print(1)", "weight_decay": None}]),
     (("optimizer",), {"target": "os.system('x');a.b", "name": "x", "arguments": {}, "groups": []}),
     (("optimizer",), {"target": "a.b", "name": "x", "arguments": {"x=1); print(": 2}, "groups": []})],
)  # fmt: skip
def test_no_code_is_made_of_settings_that_adamcmp_never_writes(cli, path, value):
    assert cli.stored(*SWEEP).code == 0
    study_dir = cli.folder / "results" / "digits"
    settings = json.loads(read_records(study_dir)["settings"].iloc[0])
    part = settings
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    changed(study_dir, settings=json.dumps(settings))
    ended = cli("show", "--best", "adamw", "results/digits")
    assert ended.code == 2, ended.out
    assert "are none that adamcmp writes" in ended.err


def test_runs_are_removed_by_ids_that_are_whole_and_inside_the_folder(cli):
    assert cli.stored(*SWEEP).code == 0
    study_dir = cli.folder / "results" / "digits"
    stored = len(read_records(study_dir))
    for words, says in (
        (("--id", ""), "remove --id '': is empty"),
        (("--arm", ""), "remove --optimizer '': is empty"),
        (("--study", " "), "remove --study ' ': is empty"),
        (("--id", "abcde"), "at least the first 6"),
        (("--id", "*"), "at least the first 6"),
        (("--id", "../../x"), "hexadecimal digits"),
    ):
        ended = cli("remove", "results", *words, "--yes")
        assert ended.code == 2
        assert says in ended.err
    assert len(read_records(study_dir)) == stored
    assert cli("remove", "results", "--id", read_records(study_dir)["run_id"].iloc[0][:6], "--yes").code == 0
    assert len(read_records(study_dir)) == stored - 1


def test_a_record_with_a_path_for_an_id_removes_nothing(cli):
    assert cli.stored(*SWEEP).code == 0
    victim = cli.folder / "victim"
    victim.mkdir()
    (victim / "x-last.safetensors").touch()
    changed(cli.folder / "results" / "digits", run_id="../../../victim/x")
    ended = cli("remove", "results", "--status", "completed", "--yes")
    assert ended.code == 2
    assert "run_id is '../../../victim/x', which adamcmp never writes" in ended.err
    assert (victim / "x-last.safetensors").exists()


def test_spreadsheets_take_no_text_of_an_export_for_a_formula(cli):
    assert cli.stored(*SWEEP).code == 0
    changed(cli.folder / "results" / "digits", arm="=HYPERLINK(1)", error="@x")
    assert cli("export", "results", "--to", "csv", "--out", "out").code == 0
    found = pd.read_csv(cli.folder / "out" / "records.csv")
    assert set(found["arm"]) == {"'=HYPERLINK(1)"}
    assert set(found["error"]) == {"'@x"}
    assert found["lr"].dtype == float


# temporary folders


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files of this test alone, and the process that a killed command was."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(temp_dirs, "SHORT_FOLDER", tmp_path)
    return tmp_path


def abandoned(parent: Path, name: str) -> Path:
    """What a killed command leaves."""
    folder = parent / name
    folder.mkdir()
    (folder / temp_dirs.LOCK_FILE).touch()
    (folder / temp_dirs.MARKER_FILE).write_text(str(folder.resolve()))
    return folder


def test_folders_of_killed_commands_go_and_nothing_else_does(temporary):
    gone = abandoned(temporary, "adamcmp-gone")
    kept = [temporary / f"adamcmp-{name}" for name in ("study", "empty", "copy", "renamed", "link", "of-others")]
    study, empty, copy, renamed, link, others = kept
    (study / "records").mkdir(parents=True)
    (study / ".lock").touch()  # what a study has, and what used to mark temporary folders
    empty.mkdir()
    shutil.copytree(gone, copy)
    abandoned(temporary, "adamcmp-before").rename(renamed)
    target = abandoned(temporary, "elsewhere")
    link.symlink_to(target)
    abandoned(temporary, "adamcmp-of-others")
    if os.geteuid() == 0:
        os.chown(others, 12345, 12345)
    else:
        shutil.rmtree(others)
        others.mkdir()
    temp_dirs.remove_abandoned()
    assert not gone.exists()
    assert all(each.exists() for each in kept)
    assert target.exists()


def test_a_command_leaves_studies_whose_names_look_like_temporary_folders(cli, temporary):
    words = ("run", "digits", *QUICK, "study.name=adamcmp-x", "--results-dir", str(temporary))
    assert cli(*words).code == 0
    assert cli("run", "digits", *QUICK, "seed=1").code == 0
    assert len(read_records(temporary / "adamcmp-x")) == 1


def test_folders_of_programs_go_only_where_adamcmp_made_them(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    programs = temp_dirs.compiled_programs_folder()
    assert programs is not None
    old, mine = programs.parent / "1.0", programs.parent / "mine"
    for folder in (old, mine):
        folder.mkdir()
    (old / temp_dirs.MARKER_FILE).write_text(str(old.resolve()))
    for folder in (old, mine):
        os.utime(folder, (0, 0))
    temp_dirs.compiled_programs_folder()
    assert not old.exists()
    assert mine.exists()
