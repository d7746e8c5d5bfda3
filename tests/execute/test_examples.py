"""The commands of examples/README.md, as they stand there, in a copy of the folder."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from adamcmp.storage.records import read_records

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = re.findall(r"^adamcmp (.*?) *# (\w+)\.py$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)


def test_every_example_has_its_command():
    parts = sorted(EXAMPLES.glob("own_*.py"))
    assert sorted(name for _, name in COMMANDS) == [path.stem for path in parts]
    for path in parts:
        assert len(path.read_text().splitlines()) < 25
    for path in set(EXAMPLES.glob("*.py")) - set(parts):  # training functions: tests/programs runs them
        text = path.read_text()
        assert f"adamcmp sweep function target={path.stem}.train " in text.splitlines()[0]
        assert len(text.splitlines()) <= 60
        assert f"[{path.name}]" in (EXAMPLES / "README.md").read_text()


@pytest.mark.parametrize(("words", "name"), COMMANDS, ids=[name for _, name in COMMANDS])
def test_the_command_trains_it(cli, tmp_path, words, name):
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    ended = cli(*shlex.split(words), "train.steps=60", "execute.engine=vectorised")
    assert ended.code == 0, ended.err
    study = "own_data" if name == "own_data" else "digits"
    records = read_records(tmp_path / "results" / study)
    assert len(records) >= 2
    assert (records["status"] == "completed").all()
    assert (records["final_train_loss"] < {"own_data": 0.69}.get(name, 2.0)).all()
    if name == "own_optimizer":
        own = records[records["optimizer"] == name]
        assert set(own["engine"]) == {"sequential"}
        assert set(own["engine_reason"]) == {"a custom optimizer trains one run at a time"}
    else:
        assert set(records["engine"]) == {"vectorised"}
    if name == "own_metric":
        assert all(0.1 < json.loads(each)["test_confidence"] < 1 for each in records["metrics"])
