"""Results that an earlier version stored are read, reported, resumed and merged; see tests/earlier/README.md."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import torch

from adamcmp import load
from adamcmp.engine.checkpoint import load_checkpoint, version_mismatch
from adamcmp.execute.session import open_session
from adamcmp.plan.saved_plan import read_plan as read_plan

from .execute.conftest import CommandLine

pytestmark = pytest.mark.filterwarnings(
    "ignore:adamcmp.* has moved:FutureWarning", "ignore:.* is now adamcmp:FutureWarning"
)
EARLIER = Path(__file__).parent / "earlier"
QUICK = ("train.steps=5", "train.evaluations=1", "study.confirm.seeds=2", "model.hidden=[8]")
GRID = ("optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2", "study.seeds=2")
RUNS = {"plain": 12, "settled": 18, "measured": 4, "custom": 8, "searched": 5, "partial": 2}


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys) -> CommandLine:
    with zipfile.ZipFile(EARLIER / "results.zip") as archive:
        archive.extractall(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return CommandLine(tmp_path, monkeypatch, capsys)


def test_earlier_records_are_read(cli):
    for study, count in RUNS.items():
        records, curves = load(cli.folder / "results" / study)
        assert len(records) == count, study
        assert set(curves["run_id"]) == set(records["run_id"])


@pytest.mark.parametrize("study", ["plain", "settled", "measured", "custom", "searched"])
def test_earlier_results_give_the_same_report(cli, study):
    report = cli.folder / "results" / study / "report"
    before = {path.name: path.read_text() for path in report.iterdir() if path.suffix in (".csv", ".md")}
    ended = cli("report", f"results/{study}", "--format", "csv", "--format", "md")
    assert ended.code == 0, ended.err
    assert before.keys() == {path.name for path in report.iterdir() if path.suffix in (".csv", ".md")}
    for name in before:
        if name.endswith(".csv"):
            pd.testing.assert_frame_equal(
                pd.read_csv(report / name), pd.read_csv(pd.io.common.StringIO(before[name])), rtol=1e-9, atol=1e-12
            )
        elif name != "report.md":  # it names the versions that wrote it
            assert (report / name).read_text() == before[name]


@pytest.mark.parametrize(
    ("study", "words"),
    [
        ("plain", (*GRID, *QUICK)),
        (
            "measured",
            (
                "optimizer=adam_traced,adamw_traced",
                "train.metrics=[adamcmp.instruments.gradient_norms,my_parts.peak]",
                "optimizer.lr=1e-3",
                "study.seeds=2",
                *QUICK,
            ),
        ),
        ("custom", ("optimizer._target_=my_parts.SignDescent", "optimizer.lr=1e-3,1e-2", "model._target_=my_parts.Net",
                    *QUICK[:3])),
    ],
)  # fmt: skip
def test_earlier_runs_are_not_trained_again(cli, study, words):
    ended = cli("sweep", "digits", *words, f"study.name={study}")
    assert ended.code == 0, ended.err
    assert len(load(cli.folder / "results" / study).records) == RUNS[study]
    assert "nothing to train" in ended.err or "trained" not in ended.err


def test_an_earlier_sweep_is_completed(cli):
    first = load(cli.folder / "results/partial").records
    words = ("optimizer=sgd", "optimizer.lr=1e-3,1e-2", "study.seeds=2", *QUICK, "study.name=partial")
    ended = cli("sweep", "digits", *words)
    assert ended.code == 0, ended.err
    records = load(cli.folder / "results/partial").records
    assert len(records) == 8  # 4 tuning runs and 4 held-out runs: two trials may have been selected
    assert set(first["run_id"]) <= set(records["run_id"])
    assert (records.set_index("run_id")["finished_at"].loc[first["run_id"]].tolist()) == first["finished_at"].tolist()


def test_an_interrupted_earlier_run_resumes_from_its_checkpoint(cli):
    path = next((cli.folder / "results/interrupted/checkpoints").iterdir())
    state = load_checkpoint(path)
    assert state is not None
    wrote = state["versions"]
    assert version_mismatch({**state, "versions": {**wrote, "torch": str(torch.__version__)}}) is None
    words = ("optimizer=adamw", "optimizer.lr=1e-3", "study.seeds=1", "train.steps=30000", "train.evaluations=2",
             "model.hidden=[8]", "study.name=interrupted", "execute.engine=sequential",
             "execute.processes=1")  # fmt: skip
    ended = cli("sweep", "digits", *words)
    assert ended.code == 0, ended.err
    records = load(cli.folder / "results/interrupted").records
    assert records["status"].tolist() == ["completed"]
    assert not path.exists()
    folder = cli.folder / "results/interrupted"
    assert json.loads((folder / "leases.json").read_text()) == {}
    assert not (folder / "claims.json").exists()
    if version_mismatch(state) is None:
        assert state["step"] > 0


def test_earlier_studies_are_merged(cli):
    ended = cli("merge", "results/plain", "results/settled", "--out", "both")
    assert ended.code == 0, ended.err
    merged = [load(path.parent).records for path in (cli.folder / "both").rglob("study.yaml")]
    assert set(pd.concat(merged)["run_id"]) == set(load(cli.folder / "results/settled").records["run_id"])


def test_an_earlier_plan_is_read(cli):
    plan = read_plan(cli.folder / "plan.parquet", trust=False).plan
    assert [run.arm for run in plan.runs] == ["SGD + L2"] * 4
    assert set(load(cli.folder / "results/partial").records["run_id"]) <= {run.id for run in plan.runs}


def test_shipped_configurations_have_their_earlier_run_ids(tmp_path):
    """Otherwise stored runs would be trained again."""
    expected = json.loads((EARLIER / "run_ids.json").read_text())
    actual = {}
    for command in expected:
        config, override = command.split()
        session = open_session(config, [override], results_dir=tmp_path, config_dir=None, device="cpu", dry_run=True)
        ids = "\n".join(sorted(run.id for run in session.plan.runs))
        actual[command] = hashlib.sha256(ids.encode()).hexdigest()[:16]
    assert actual == expected
