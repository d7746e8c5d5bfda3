"""One run ID, one set of numbers: whatever a model, a loss, a metric or a command does, and whoever trains it."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from adamcmp import load
from adamcmp.storage.records import read

MODELS = '''
import random

import numpy as np
import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(x.flatten(1))


class Overwrites(Plain):
    """Changes its input in place."""

    def forward(self, x):
        x.mul_(0.5)
        return super().forward(x.add_(0.1))


class ByPython(Plain):
    def forward(self, x):
        return super().forward(x) * (1 + 0.5 * random.random())


class ByNumpy(Plain):
    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.head.weight.mul_(float(np.random.uniform(0.5, 2)))

    def forward(self, x):
        return super().forward(x) + torch.from_numpy(np.random.normal(size=10)).to(x)


COUNT, CALLS = [0], {"n": 0}


class GlobalCount(Plain):
    def forward(self, x):
        if self.training:
            COUNT[0] += 1
        return super().forward(x) * (1 + 1 / (1 + COUNT[0]))


class ClassCount(Plain):
    passes = 0

    def forward(self, x):
        if self.training:
            type(self).passes += 1
        return super().forward(x) * (1 + 1 / (1 + self.passes))


def counting_loss(outputs, y):
    CALLS["n"] += 1
    return nn.functional.cross_entropy(outputs, y, reduction="none") * (1 + 5 / CALLS["n"])


def greedy_loss(outputs, y):
    """A loss that writes into what it is given."""
    loss = nn.functional.cross_entropy(outputs, y, reduction="none")
    if not torch.is_grad_enabled():
        outputs.zero_()
        y.zero_()
    return loss


def greedy_metric(y, outputs):
    """A metric that writes into what it is given."""
    right = float((outputs.argmax(1) == y).float().mean())
    y.zero_()
    outputs.zero_()
    return right


def freezes(model, outputs):
    for p in model.parameters():
        p.requires_grad_(False)
    return 0.0


def prunes(model, outputs):
    with torch.no_grad():
        next(model.parameters()).zero_()
    return 0.0


def noisy_metric(outputs):
    return random.random() + np.random.random() + float(torch.rand([]))


def noisy_data():
    draw = np.random.normal(size=(300, 1, 8, 8))
    return {"train": (draw + random.random(), np.arange(300) % 10)}
'''
SHORT = ("train.steps=12", "train.evaluations=3", "study.confirm.seeds=0", "optimizer.lr=1e-2")
NUMBERS = ["final_train_loss", "final_validation_error", "final_test_loss", "best_validation_loss"]


@pytest.fixture
def models(tmp_path):
    (tmp_path / "mine.py").write_text(MODELS)


def numbers(cli, *words, engine="auto"):
    """Numbers of the run with seed 2, by itself and among others; they have one ID."""
    alone = ("run", "digits", *words, *SHORT, "seed=2", f"execute.engine={engine}", "--results-dir", "alone")
    assert cli(*alone).code == 0
    ended = cli("sweep", "digits", *words, *SHORT, "seed=0,1,2", f"execute.engine={engine}", "--results-dir", "all")
    assert ended.code == 0, ended.err
    one, many = (read(cli.folder / name / "digits") for name in ("alone", "all"))
    both = one.records.merge(many.records, on="run_id", suffixes=("", "_among"))
    assert len(both) == 1
    for name in NUMBERS:
        assert both[name].item() == pytest.approx(both[f"{name}_among"].item(), rel=1e-6), name
    return many


@pytest.mark.parametrize("engine", ["sequential", "vectorised"])
@pytest.mark.parametrize(
    "words",
    [("model._target_=mine.Overwrites",), ("model._target_=mine.Overwrites", "train.batch_size=full"),
     ("model._target_=mine.GlobalCount",), ("model._target_=mine.ClassCount",),
     ("model._target_=mine.Plain", "train.loss._target_=mine.counting_loss"),
     ("model._target_=mine.ByPython",), ("model._target_=mine.ByNumpy",),
     ("train.loss._target_=mine.greedy_loss",), ("train.metrics=[mine.greedy_metric,mine.noisy_metric]",)],
    ids=" ".join,
)  # fmt: skip
def test_a_run_has_its_numbers_alone_and_among_others(cli, models, words, engine):
    found = numbers(cli, *words, engine=engine)
    if "metrics" in words[0]:
        measured = found.curves["metrics"].map(json.loads).map(lambda each: each["test_greedy_metric"])
        error = found.curves["test_error"]
        assert (1 - measured).to_numpy() == pytest.approx(error.to_numpy(), abs=1e-6)


def test_a_model_that_overwrites_its_input_has_the_numbers_of_one_that_does_not(cli, models, tmp_path):
    (tmp_path / "other.py").write_text(
        MODELS.replace("        x.mul_(0.5)\n        return super().forward(x.add_(0.1))",
                       "        return super().forward(x * 0.5 + 0.1)")
    )  # fmt: skip
    ends = []
    for module in ("mine", "other"):
        words = ("run", "digits", f"model._target_={module}.Overwrites", *SHORT, "--results-dir", module)
        assert cli(*words).code == 0
        ends.append(load(cli.folder / module)[0][NUMBERS])
    pd.testing.assert_frame_equal(*ends)


@pytest.mark.parametrize("name", ["prunes", "freezes"])
def test_a_metric_that_changes_the_model_is_refused_before_anything_is_trained(cli, models, name):
    ended = cli("run", "digits", f"train.metrics=[mine.{name}]", *SHORT)
    assert ended.code == 2
    assert f"mine.{name} changes the model" in ended.err


def test_data_that_are_drawn_are_the_same_each_time(cli, models):
    words = ("run", "digits", "data._target_=mine.noisy_data", "model._target_=mine.Plain", *SHORT)
    first = cli(*words)
    assert first.code == 0, first.err
    assert "nothing to train" in cli(*words).err


# what is swept reaches everything that depends on it


def test_a_swept_seed_reaches_what_is_interpolated(cli):
    words = ("data.split_seed=${seed}", "seed=0,1,2", *SHORT)
    assert cli("sweep", "digits", *words).code == 0
    records, _ = load(cli.folder / "results")
    split = records["settings"].map(json.loads).map(lambda each: each["data_settings"]["split_seed"])
    assert split.tolist() == records["seed"].tolist()
    assert records["task"].nunique() == 3


def test_seeds_of_a_study_and_values_of_an_optimizer_reach_it_too(cli, tmp_path):
    (tmp_path / "own.yaml").write_text(
        "defaults: [digits, _self_]\nschedule: {eta_min: '${optimizer.lr}'}\ndata: {split_seed: '${seed}'}\n"
    )
    assert cli("sweep", "own.yaml", "optimizer.lr=0.1,0.2", "study.seeds=2", "train.steps=3").code == 0
    records, _ = load(cli.folder / "results")
    settings = records["settings"].map(json.loads)
    assert settings.map(lambda each: each["schedule"]["eta_min"]).tolist() == records["lr"].tolist()
    assert settings.map(lambda each: each["data_settings"]["split_seed"]).tolist() == records["seed"].tolist()


# a custom optimizer is on record as it is built


def stored_of(cli, *words):
    ended = cli("run", "digits", *words, *SHORT[:3], "--results-dir", str(abs(hash(words))))
    assert ended.code == 0, ended.err
    (row,) = load(cli.folder / str(abs(hash(words))))[0].to_dict("records")
    return row, ended.out


def test_defaults_of_a_class_are_on_record_on_screen_and_in_the_id(cli):
    row, out = stored_of(cli, "optimizer._target_=torch.optim.AdamW")
    assert (row["weight_decay"], row["beta2"], row["eps"]) == (0.01, 0.999, 1e-8)
    assert "λ 0.01" in out
    assert (
        stored_of(cli, "optimizer._target_=torch.optim.AdamW", "optimizer.weight_decay=0.01")[0]["run_id"]
        == row["run_id"]
    )
    assert (
        stored_of(cli, "optimizer._target_=torch.optim.AdamW", "optimizer.weight_decay=0")[0]["run_id"] != row["run_id"]
    )


CLASS = """
import torch
from base import DECAY


class Mine(torch.optim.AdamW):
    def __init__(self, params, lr):
        super().__init__(params, lr, weight_decay=DECAY)
"""


def test_a_default_that_changes_makes_another_run(cli, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(CLASS)
    (tmp_path / "base.py").write_text("DECAY = 0.5\n")
    one, _ = stored_of(cli, "optimizer._target_=mine.Mine")
    (tmp_path / "base.py").write_text("DECAY = 0.25\n")
    other, _ = stored_of(cli, "optimizer._target_=mine.Mine", "seed=0")
    assert (one["weight_decay"], other["weight_decay"]) == (0.5, 0.25)
    assert one["run_id"] != other["run_id"]


def test_a_groups_decay_of_zero_reaches_a_custom_class(cli):
    groups = "optimizer.groups=[{params:'*.bias',weight_decay:0}]"
    huge = ("optimizer._target_=torch.optim.AdamW", "optimizer.lr=1e-9", "train.metrics=[weight_norms]")
    spared, _ = stored_of(cli, *huge, groups)
    decayed, _ = stored_of(cli, *huge, groups.replace("weight_decay:0", "weight_decay:9e7"))
    assert spared["run_id"] != decayed["run_id"]
    one, other = (json.loads(each["metrics"]) for each in (spared, decayed))
    assert other["weight_norms_layers.0.bias"] < 0.9 * one["weight_norms_layers.0.bias"]


# source files


BLOCK = """
import deeper
from torch import nn


class Block(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 10))
"""


def test_what_a_custom_model_imports_from_its_folder_is_part_of_its_id(cli, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from parts import blocks\nfrom torch import nn\n\nclass Net(blocks.Block):\n    pass\n"
    )
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("")
    (tmp_path / "parts" / "blocks.py").write_text(BLOCK)
    (tmp_path / "deeper.py").write_text("SCALE = 1\n")
    (tmp_path / "unrelated.py").write_text("X = 1\n")
    ids = []
    for path, text in (
        ("unrelated.py", "X = 2\n"),
        ("deeper.py", "SCALE = 2\n"),
        ("parts/blocks.py", f"{BLOCK}# more\n"),
    ):
        out = cli("run", "digits", "model._target_=mine.Net", *SHORT).out
        ids += re.findall(r"\(run (\w+)\)", out)
        (tmp_path / path).write_text(text)
    out = cli("run", "digits", "model._target_=mine.Net", *SHORT).out
    ids += re.findall(r"\(run (\w+)\)", out)
    assert ids[0] == ids[1]  # what it does not import
    assert len(set(ids)) == 3


OPTIMIZERS = '''
import torch
from torch import nn


class Parts(torch.optim.Optimizer):
    """Cannot be built on a single matrix; has defaults for everything."""

    def __init__(self, params, lr=0.02, weight_decay=0.0):
        params = list(params)
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        if len(params) < self.least:
            raise ValueError("more parameters are needed")

    least = 2

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * p.grad)


class NeedsMany(Parts):
    """Cannot be built on a matrix and a bias either."""

    least = 3


class Hidden(Parts):
    """Keeps λ where no parameter group shows it."""

    def __init__(self, params, lr, weight_decay=5.0):
        super().__init__(params, lr)
        del self.param_groups[0]["weight_decay"], self.defaults["weight_decay"]
        self.decay = weight_decay

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * self.decay).sub_(group["lr"] * p.grad)


class Options(torch.optim.SGD):
    """Takes a dictionary."""

    def __init__(self, params, lr, options=None):
        super().__init__(params, lr=lr, momentum=(options or {}).get("m", 0.0))


class Mean(nn.Module):
    """Changes a plain attribute during training."""

    def __init__(self):
        super().__init__()
        self.head, self.mean = nn.Sequential(nn.Linear(64, 10), nn.Linear(10, 10)), torch.zeros(64)

    def forward(self, x):
        x = x.flatten(1)
        if self.training:
            self.mean = 0.9 * self.mean.to(x) + 0.1 * x.detach().mean(0)
        return self.head(x - 20 * self.mean.to(x))
'''


@pytest.fixture
def optimizers(tmp_path):
    (tmp_path / "opts.py").write_text(OPTIMIZERS)


MLP = ("digits", "model=mlp_64")


def records_of(cli, *words):
    ended = cli("sweep", *words, "train.steps=10", "study.confirm.seeds=0")
    assert ended.code == 0, ended.err
    return read(cli.folder / "results" / "digits").records.sort_values(["lr", "weight_decay"])


@pytest.mark.parametrize("name", ["Parts", "NeedsMany"])
def test_given_settings_of_a_class_that_cannot_be_built_on_one_matrix_train(cli, optimizers, name):
    words = ("digits", "model._target_=opts.Mean", f"optimizer._target_=opts.{name}")
    found = records_of(cli, *words, "optimizer.lr=0.01,0.1", "optimizer.weight_decay=0,5")
    assert list(zip(found["lr"], found["weight_decay"], strict=True)) == [(0.01, 0), (0.01, 5), (0.1, 0), (0.1, 5)]
    assert found["run_id"].nunique() == found["final_train_loss"].nunique() == 4


def test_a_given_decay_that_no_group_shows_makes_another_run(cli, optimizers):
    words = ("digits", "optimizer._target_=opts.Hidden", "optimizer.lr=0.01")
    records_of(cli, *words)
    found = records_of(cli, *words, "optimizer.weight_decay=0")
    assert found["run_id"].nunique() == found["final_train_loss"].nunique() == 2


def test_nested_arguments_of_a_custom_class_are_swept(cli, optimizers):
    found = records_of(cli, "digits", "optimizer._target_=opts.Options", "+optimizer.options.m=0.0,0.9")
    assert found["run_id"].nunique() == found["final_train_loss"].nunique() == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "study: {grid: {optimizer.lr: [0.1, 0.01], optimizer.weight_decay: '${optimizer.lr}'}}",
            "study.grid refers to ${optimizer.lr}, which has one value for the whole grid",
        ),
        (
            "study: {grid: {optimizer.lr: [0.1, 0.01]}, seeds: 2, confirm: {seeds: 2}}\ndata: {split_seed: '${seed}'}",
            "runs on held-out seeds would keep the value of a tuning seed; set study.confirm.seeds=0",
        ),
    ],
)
def test_references_that_cannot_follow_are_refused(cli, tmp_path, text, told):
    (tmp_path / "st.yaml").write_text(f"defaults: [digits, _self_]\n{text}\ntrain: {{steps: 4}}\n")
    ended = cli.as_given("sweep", "st.yaml")
    assert ended.code == 2
    assert told in " ".join(ended.err.split())


def test_an_average_of_weights_is_judged_with_the_attributes_of_its_model(cli, optimizers):
    """train.ema=1e-12 averages nothing: the numbers are those without."""
    words = ("digits", "model._target_=opts.Mean", "train.precision=fp64")
    plain = records_of(cli, *words)["final_validation_loss"].iloc[0]
    both = records_of(cli, *words, "train.ema=1e-12")["final_validation_loss"]
    assert len(both) == 2
    assert both.tolist() == pytest.approx([plain] * 2, rel=1e-9)
