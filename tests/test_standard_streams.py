"""Output that goes away, Python's switches, limits and names of any length: one line, and never a defect of ours."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from adamcmp.errors import InputError, explain_external
from adamcmp.untrusted import load_json, load_object, load_yaml

from .execute.conftest import CommandLine

LONG = "a" * 300
FULL = Path("/dev/full")


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def start(*words, environment=None, **how):
    return subprocess.run(
        [sys.executable, "-m", "adamcmp", *words],
        text=True,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        timeout=60,
        **how,
    )


@pytest.mark.parametrize(
    "words",
    [("run", LONG), ("run", f"{LONG}.yaml"), ("show", LONG), ("report", LONG), ("compare", LONG, "b"),
     ("run", "digits", "--config-dir", LONG), ("run", "digits", "--results-dir", LONG), ("work", LONG),
     ("run", "digits", f"optimizer={LONG}"), ("export", LONG, "--to", "csv"), ("merge", LONG, "--out", "x"),
     ("watch", LONG, "--once"), ("remove", LONG, "--arm", "x"), ("run", "digits", f"init={LONG}")],
)  # fmt: skip
def test_names_that_are_too_long_are_one_line(cli, words):
    ended = cli(*words)
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here. To run: use Linux")
def test_a_full_standard_output_is_one_line(tmp_path):
    with FULL.open("w") as full:
        ended = start("list", stdout=full, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "adamcmp: standard output cannot be written (No space left on device); finished runs are stored"
    ]


def test_a_reader_that_leaves_is_no_error(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "adamcmp", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert not process.stderr.read()
    assert process.returncode == 0


def test_without_assertions_python_is_started_again(tmp_path):
    words = ("show", "digits", "optimizer.lr=1e-2")
    ended = start(*words, environment={"PYTHONOPTIMIZE": "2"}, stdout=subprocess.PIPE, cwd=tmp_path)
    assert ended.returncode == 0
    assert ended.stderr.splitlines() == [
        "adamcmp: started again without PYTHONOPTIMIZE: Hydra needs Python's assertions"
    ]
    assert "0.01" in ended.stdout


def test_too_little_memory_is_one_line(tmp_path):
    limit = 900_000_000

    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    ended = start("run", "digits", "train.steps=2", stdout=subprocess.PIPE, cwd=tmp_path, preexec_fn=limited)
    assert ended.returncode == 2, ended.stderr
    assert "adamcmp: not enough memory (" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "says"),
    [(MemoryError(), "not enough memory"), (OSError(28, "No space left on device", "x"), "x: No space left on device"),
     (RuntimeError("can't start new thread"), "not enough memory"), (ValueError("other"), ""), (KeyError("a"), "")],
)  # fmt: skip
def test_errors_of_the_machine_are_told_from_ours(error, says):
    assert explain_external(error).startswith(says)
    assert bool(explain_external(error)) == bool(says)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [(BOMB, "aliases stand for more than"), ("a: &a [*a]", "nested too deeply, or contains itself"),
     ("[" * 5_000 + "]" * 5_000, "nested too deeply"), ("a: [", "expected"), ("!!python/object:os.system x", "tag")],
)  # fmt: skip
def test_yaml_that_grows_nests_or_builds_objects_is_refused(text, says):
    with pytest.raises(ValueError, match=says):
        load_yaml(text)
    assert load_yaml("a: &a [1]\nb: *a") == {"a": [1], "b": [1]}
    assert load_yaml("") is None


def test_json_that_nests_is_refused():
    with pytest.raises(ValueError, match="nested too deeply"):
        load_json("[" * 100_000)
    with pytest.raises(ValueError, match="not of an object"):
        load_object("[]")


@pytest.mark.parametrize(
    "content", [BOMB, "report: {width: [1]}", "report: 3", "[" * 5_000, "\0", "study: {margin: x}"]
)
def test_a_report_heeds_no_study_file_that_is_none(cli, content):
    from .analysis import synthetic

    records = synthetic.make_records({"AdamW": "lr_scaled"}, lrs=[1e-3, 1e-2], lambdas=[0.0])
    study_dir = synthetic.store(cli.folder / "results" / "digits", records)
    (study_dir / "study.yaml").write_text(content)
    ended = cli("report", "results/digits", "--format", "csv")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("content", [f"defaults: [digits, _self_]\n{BOMB}", "defaults: [digits]\na: &a [*a]"])
def test_a_configuration_that_grows_is_one_line(cli, content):
    (cli.folder / "own.yaml").write_text(content)
    ended = cli("sweep", "own.yaml", "--dry-run")
    assert ended.code == 2
    assert "own.yaml" in ended.err
    assert len(ended.err.strip().splitlines()) == 1


@pytest.mark.parametrize("content", ["1", "nan", "true", "!!binary aGk="])
def test_a_study_section_that_is_no_mapping_is_one_line(cli, content):
    (cli.folder / "own.yaml").write_text(f"defaults: [digits, _self_]\nstudy: {content}\n")
    ended = cli.as_given("sweep", "own.yaml", "--dry-run")
    assert ended.code == 2
    assert "study: a mapping is needed" in ended.err


def test_a_manifest_removes_nothing_outside_its_report(tmp_path):
    from adamcmp.report.manifest import listed_files

    (tmp_path / "report").mkdir()
    names = ["../victim.csv", "/etc/passwd.csv", "page.md", "sub/../../victim.csv", "x.parquet", "a/b.csv"]
    text = '{"files": {' + ", ".join(f'"{name}": ""' for name in names) + "}}"
    (tmp_path / "report" / "MANIFEST.json").write_text(text)
    assert listed_files(tmp_path / "report") == ["page.md", "a/b.csv"]


def test_an_input_error_is_none_of_the_machine():
    assert not explain_external(InputError("x"))
