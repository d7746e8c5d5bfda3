"""What is recommended within a budget: said with its uncertainty, in time, and continued where more is given."""

from __future__ import annotations

import time

import pytest

from adamcmp.cli.recommend import parse_budget
from adamcmp.storage.records import read_records

from .execute.conftest import CommandLine, error_lines

WORDS = ("recommend", "digits", "train.steps=20", "train.evaluations=2", "execute.engine=sequential")


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.mark.slow
def test_a_budget_is_kept_and_the_next_one_goes_on(cli, monkeypatch):
    began = time.time()  # this process is older than the command
    monkeypatch.setattr("psutil.Process.create_time", lambda _: began)
    first = cli.as_given(*WORDS, "--budget", "30s")
    assert first.code == 0, first.err
    assert time.time() - began < 1.05 * 30
    assert "Use Adam" in first.out
    folder = cli.folder / "results" / "recommend_digits"
    before = read_records(folder)
    assert set(before["stage"]) == {"tune", "confirm"}
    tuned = before[before["stage"] == "tune"].groupby("arm")["run_id"].count()
    assert tuned["AdamW"] == tuned["Adam + L2"]
    names = {path.name for path in (folder / "recommendation").iterdir()}
    assert names == {"recommendation.md", "basin.png", "recipe_torch.py", "recipe_optax.py", "recipe_keras.py"}
    again_at = time.time()
    monkeypatch.setattr("psutil.Process.create_time", lambda _: again_at)
    second = cli.as_given(*WORDS, "--budget", "30s")
    assert second.code == 0, second.err
    after = read_records(folder)
    assert set(before["run_id"]) < set(after["run_id"])
    again = after[after["run_id"].isin(before["run_id"])].set_index("run_id")["finished_at"]
    assert (again == before.set_index("run_id")["finished_at"].reindex(again.index)).all()


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("0.5h", 1800), ("3", 180)])
def test_budgets_are_times(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("recommend", "digits", "--budget", "soon"), "give a time such as 90s"),
        (("recommend", "digits", "--budget", "0s"), "give a time such as 90s"),
        (("recommend", "digits", "search=grid", "--budget", "60s"), "search=grid has no budget"),
        (("recommend", "digits", "--optimizers", "adamm", "--budget", "60s"), "no such optimizer"),
        (("recommend", "nothing", "--budget", "60s"), "nothing"),
    ],
)
def test_what_cannot_be_is_one_clear_line(cli, words, told):
    ended = cli.as_given(*words)
    assert ended.code == 2
    assert told in error_lines(ended.err)[0]


SLOW = """
import time

from torch import nn


class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        if self.training:
            time.sleep(0.02)
        return self.head(x.flatten(1))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "budget"), [(150, "40s"), (15_000, "25s")])
def test_one_finished_run_is_an_answer_and_none_is_said_without_a_guess(cli, monkeypatch, steps, budget):
    """A batch of trials takes minutes here: a first run of each optimizer is trained before it."""
    began = time.time()
    monkeypatch.setattr("psutil.Process.create_time", lambda _: began)
    (cli.folder / "slow.py").write_text(SLOW)
    ended = cli.as_given("recommend", "digits", "model._target_=slow.Slow", f"train.steps={steps}", "--budget", budget)
    assert time.time() - began < 1.05 * parse_budget(budget)
    if steps == 150:
        assert ended.code == 0, ended.err
        assert "Use Adam" in ended.out
    else:
        assert ended.code == 2
        (line,) = error_lines(ended.err)
        assert "no run has completed within" in line
        assert "--budget 3m" not in line
