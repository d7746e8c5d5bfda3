"""The command that a page gives for a cell plans that cell's runs, and no others."""

from __future__ import annotations

import random
import shlex
from datetime import UTC, datetime

import pandas as pd
import pytest

from adamcmp.analysis import TRIAL_KEY, split_by_task
from adamcmp.engine.run_result import RunResult
from adamcmp.engine.strategy.types import Strategy
from adamcmp.execute.run_writer import Provenance, record_row
from adamcmp.execute.session import open_session
from adamcmp.report.commands import retraining_commands

COMMANDS = (
    "adamcmp sweep digits optimizer=adam,adamw optimizer.lr=1e-3,1e-2 optimizer.eps=1e-8,1e-4 study.seeds=3",
    "adamcmp run digits optimizer=sgdw seed=7 --report",
    "adamcmp sweep digits optimizer=adamw schedule=constant,cosine train.batch_size=50,100 'seed=range(3,6)' --extend",
    "adamcmp sweep digits optimizer._target_=torch.optim.NAdam optimizer.lr=1e-3,1e-2 study.seeds=2 --device cpu",
    "adamcmp sweep digits optimizer=adam 'optimizer.label=\"=1+1 | x\"' train.epochs=2,4 optimizer.lr=1e-3,1e-2",
    "adamcmp sweep digits optimizer._target_=adamcmp.optim.rules.lion.Lion 'optimizer.betas=[0.9,0.99]' seed=0,1",
    "adamcmp sweep digits model=mlp_mup optimizer=lion,muon optimizer.lr=1e-3,1e-2 optimizer.width_decay=0.5,1",
    "adamcmp reproduce figure2 scale=smoke",
    "adamcmp reproduce vision_transformer",  # a grid that holds single values
    "adamcmp reproduce figure4 data=digits",  # spaces that differ in labels and schedules
    pytest.param("adamcmp reproduce horizon", marks=pytest.mark.slow),
    pytest.param("adamcmp reproduce grokking", marks=pytest.mark.slow),
    pytest.param("adamcmp reproduce language_model", marks=pytest.mark.slow),
    pytest.param("adamcmp reproduce optimizers", marks=pytest.mark.slow),
    pytest.param("adamcmp reproduce supplement3", marks=pytest.mark.slow),
    pytest.param("adamcmp reproduce figure1", marks=pytest.mark.slow),
)
FLAGS = ("--report", "--extend")


def planned(command, folder):
    """The runs of a command, without its options."""
    words = [word for word in shlex.split(command)[2:] if word not in FLAGS]
    for option in ("--device", "--results-dir"):
        if option in words:
            at = words.index(option)
            del words[at : at + 2]
    session = open_session(words[0], words[1:], results_dir=folder, config_dir=None, device=None, dry_run=True)
    return session.plan.runs


def stored(runs, command):
    made = Provenance("mine", command, None, "0.1.0", "2.9", "3.12")
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    outcomes = [
        RunResult(run=run, status="failed", evaluations=(), error="", parameters=None, strategy=Strategy(),
                  device="cpu", seconds=0.0, finished_at=moment)
        for run in runs
    ]  # fmt: skip
    return pd.DataFrame([record_row(outcome, made) for outcome in outcomes])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_cells_command_plans_its_runs(command, tmp_path):
    records = stored(planned(command, tmp_path), command)
    cells = [runs for task in split_by_task(records) for _, runs in task.records.groupby(TRIAL_KEY)]
    draw = random.Random(0)
    some = draw.sample(cells, min(5, len(cells)))
    for runs, text in zip(
        some, retraining_commands(records, [list(runs["run_id"]) for runs in some], "mine"), strict=True
    ):
        assert text.endswith(" --results-dir again")
        assert {run.id for run in planned(text, tmp_path)} == set(runs["run_id"]), text


def test_cells_whose_command_or_settings_are_not_known_have_none(tmp_path):
    records = stored(planned("adamcmp run digits", tmp_path), "adamcmp run digits")
    for lost in ("command", "settings"):
        assert retraining_commands(records.assign(**{lost: None}), [list(records["run_id"])], "mine") == [""]
