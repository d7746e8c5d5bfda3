"""Weights that are kept, as a user sees them: files by run id, settings beside them, and runs that start from them."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from adamcmp.engine.weights import load_weights
from adamcmp.errors import InputError
from adamcmp.plan.runs import InitWeights
from adamcmp.storage.records import read

from .conftest import CommandLine

SWEEP = (
    "sweep",
    "digits",
    "optimizer=adam,adamw",
    "optimizer.lr=1e-3,3e-2",
    "train.steps=60",
    "train.evaluations=6",
    "train.eval_examples=2000",
)


def stored(folder):
    return read(folder / "results" / "digits")


@pytest.mark.parametrize("engine", ["sequential", pytest.param("vectorised", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "more", [pytest.param((), marks=pytest.mark.slow), ("train.ema=0.9", "model.dropout=0.2")], ids=["plain", "mean"]
)
def test_the_weights_that_are_kept_have_the_errors_that_are_told(cli, tmp_path, engine, more):
    how = ("execute.processes=1", f"execute.engine={engine}", "execute.compile=false", *more)
    for kept in ("best", "last"):
        assert cli(*SWEEP, *how, f"train.save={kept}").code == 0
        records, _ = stored(tmp_path)
        for row in records.to_dict("records"):
            path = tmp_path / "results" / "digits" / "weights" / f"{row['run_id']}-{kept}.safetensors"
            about = json.loads(path.with_suffix(".json").read_text())
            when = "final" if kept == "last" else "best"
            assert about["step"] == (row["steps"] if kept == "last" else row["best_step"])
            assert about["averaged"] == bool(more)
            assert about["test_error"] == row[f"{when}_test_error"]
            assert about["settings"] == json.loads(row["settings"])
            assert wrong(load_file(path)) == pytest.approx(row[f"{when}_test_error"])
    assert len(list((tmp_path / "results/digits/weights").iterdir())) == 2 * 2 * 4


def wrong(weights):
    """Share of wrong predictions on the test part."""
    from adamcmp.data import make_dataset
    from adamcmp.data.digits import digits
    from adamcmp.models.mlp import MLP

    model = MLP(input_shape=(1, 8, 8), num_classes=10)
    model.load_state_dict({name.replace("layers.3", "layers.2"): each for name, each in weights.items()})
    test = make_dataset(digits(), name="digits", validation_fraction=0.2).test
    return (model(test.x).argmax(1) != test.y).float().mean().item()


def test_runs_that_lack_their_weights_are_trained_again_and_end_as_before(cli, tmp_path):
    assert cli(*SWEEP).code == 0
    before, _ = stored(tmp_path)
    assert not (tmp_path / "results/digits/weights").exists()
    again = cli(*SWEEP, "train.save=last")
    assert "4 runs   2 optimizers × 2 trials × 1 seed              done in" in again.err
    after, _ = stored(tmp_path)
    assert set(before["run_id"]) == set(after["run_id"])
    merged = before.merge(after, on="run_id")
    assert (merged["final_test_error_x"] == merged["final_test_error_y"]).all()
    assert "nothing to train" in cli(*SWEEP, "train.save=last").err
    first = next((tmp_path / "results/digits/weights").glob("*.safetensors"))
    first.unlink()
    assert "3 stored, 1 trained" in cli(*SWEEP, "train.save=last").err
    assert cli("remove", "results/digits", "--id", first.name.partition("-")[0], "--yes").code == 0
    assert len(list((tmp_path / "results/digits/weights").iterdir())) == 6


def test_runs_start_from_weights(cli, tmp_path):
    short = ("run", "digits", "train.steps=40", "train.evaluations=4")
    assert cli(*short, "train.save=last").code == 0
    records, curves = stored(tmp_path)
    (path,) = (tmp_path / "results/digits/weights").glob("*.safetensors")
    again = (
        "sweep",
        "digits",
        "optimizer.lr=1e-9",
        "seed=3,4",
        "train.steps=40",
        "train.evaluations=4",
        f"init={path}",
    )
    assert cli(*again, "study.name=again", "schedule=constant").code == 0
    tuned = read(tmp_path / "results" / "again")
    assert tuned.records["final_test_error"].tolist() == [records["final_test_error"][0]] * 2
    assert tuned.curves["weight_norm"].to_numpy() == pytest.approx(curves["weight_norm"].iloc[-1], rel=1e-5)
    assert json.loads(tuned.records["settings"][0])["init"]
    assert len({*tuned.records["run_id"], *records["run_id"]}) == 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"layers.0.weight": torch.zeros(3)}, r"init=.*: does not fit the model"),
        ("text", r"init=.*: does not fit the model"),
        (None, r"init=.*: cannot be read \(No such file or directory\)"),
    ],
)
def test_other_weights_are_refused_in_one_line(cli, tmp_path, content, says):
    path = tmp_path / "other.safetensors"
    if isinstance(content, str):
        path.write_text(content)
    elif content is not None:
        save_file(content, path)
    ended = cli("run", "digits", f"init={path}")
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1
    assert re.search(says, ended.err)


def test_a_recipe_is_shown_for_an_arm_of_a_results_folder(cli, tmp_path):
    assert cli(*SWEEP).code == 0
    shown = cli("show", "results/digits", "--best", "AdamW", "--framework", "torch")
    assert shown.code == 0
    assert shown.out.startswith("# AdamW, lr ")
    assert "torch.optim.AdamW(model.parameters(), lr=" in shown.out
    assert "optax" not in shown.out
    every = cli("show", "results/digits", "--best", "adam").out
    assert all(word in every for word in ("torch.optim.Adam(", "optax.chain(", "keras.optimizers.Adam("))
    wrong_arm = cli("show", "results/digits", "--best", "AdamX")
    assert (wrong_arm.code, "did you mean Adam" in wrong_arm.err) == (2, True)
    assert cli("show", "nowhere", "--best", "AdamW").code == 2


HEADS = """
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes, head="head"):
        super().__init__()
        self.body = nn.Linear(64, 8)
        setattr(self, head, nn.Linear(8, num_classes))
        self.called = head

    def forward(self, x):
        return getattr(self, self.called)(self.body(x.flatten(1)).relu())
"""


def test_weights_are_loaded_without_the_head(tmp_path, monkeypatch, capsys):
    (tmp_path / "heads.py").write_text(HEADS)
    cli = CommandLine(tmp_path, monkeypatch, capsys)
    stored = {"body.weight": torch.full((8, 64), 0.5), "body.bias": torch.zeros(8), "head.weight": torch.zeros(3, 8),
              "head.bias": torch.zeros(3)}  # fmt: skip
    save_file(stored, tmp_path / "w.safetensors")
    words = ("show-data", "digits", "model._target_=heads.Net", "init=w.safetensors")
    whole = cli(*words)
    assert whole.code == 2
    assert "or leave parameters out by init.skip=head.* or init.strict=false" in whole.err
    skipped = cli(*words, "init.skip=head.*")
    assert "2 of 4 tensors" in skipped.out, skipped.err
    assert "new: head.weight, head.bias" in skipped.out
    assert "2 of 4 tensors" in cli(*words, "init.strict=false").out
    assert "matches no parameter; did you mean head.bias" in cli(*words, "init.skip=head.biass").err
    other = cli(*words, "model.head=other")
    assert other.code == 2
    assert "new: other.weight, other.bias" in cli(*words, "model.head=other", "init.strict=false").out
    strict = cli(*words, "model.head=other", "init.skip=other.*")
    assert "unlike the model; add it to init.skip, or set init.strict=false" in strict.err


def test_what_is_skipped_is_drawn_as_without_a_file(tmp_path):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    before = model[1].weight.detach().clone()
    save_file({"0.weight": torch.ones(3, 2), "0.bias": torch.ones(3)}, tmp_path / "w.safetensors")
    load_weights(InitWeights(str(tmp_path / "w.safetensors"), "0", ("1.*",)), model)
    assert torch.equal(model[0].weight, torch.ones(3, 2))
    assert torch.equal(model[1].weight, before)
    with pytest.raises(InputError, match="holds no parameter of the model"):
        load_weights(InitWeights(str(tmp_path / "w.safetensors"), "0", (), strict=False), nn.Linear(9, 9))
