"""Every model learns its natural data in seconds: its loss ends well below that of the best constant prediction."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from adamcmp.cli import app
from adamcmp.config.compose import options
from adamcmp.data.text import text
from adamcmp.records import read_records

CORPUS = ("data.max_bytes=150000", "data.context=32", "train.eval_examples=100")
CASES = {
    "mlp": ("digits", "model=mlp", "train.steps=200"),
    "cnn": ("digits", "model=cnn", "train.steps=60"),
    "resnet": ("digits", "model=resnet", "train.steps=30"),
    "resnet group": ("digits", "model=resnet", "model.norm=group", "train.steps=40"),
    "resnet none": ("digits", "model=resnet", "model.norm=none", "train.steps=60"),
    "shake_shake": ("digits", "model=shake_shake", "model.width=8", "train.steps=30"),
    "vit": ("digits", "model=vit", "model.patch=2", "model.depth=2", "train.steps=100"),
    "gpt": ("text", *CORPUS, "train.steps=700", "optimizer.lr=5e-3", "schedule.warmup_steps=20"),
    "modular_mlp": ("modular_addition", "data.p=11", "data.train_fraction=0.8", "train.steps=300"),
    "modular_transformer": (
        "modular_addition",
        "data.p=11",
        "data.train_fraction=0.8",
        "model=modular_transformer",
        "train.steps=200",
    ),
    "bag_of_words": ("sparse_words", "train.epochs=3", "optimizer.lr=1e-2"),
}


def trivial(case: str) -> float:
    """Nats of always saying how often each label occurs; all labels of the others are as good as equally frequent."""
    if case == "gpt":
        labels = text(max_bytes=150_000, context=32)["train"][1].ravel().tolist()
        return -sum(n / len(labels) * math.log(n / len(labels)) for n in Counter(labels).values())
    return math.log({"modular_mlp": 11, "modular_transformer": 11, "bag_of_words": 4}.get(case, 10))


def test_no_model_is_left_out():
    names = {case.partition(" ")[0] for case in CASES}
    presets = [name for name in options("model") if name not in names]
    assert all(any(name.startswith(f"{base}_") for base in names) for name in presets), presets


@pytest.mark.parametrize("case", CASES)
def test_it_learns(tmp_path, case):
    config, *overrides = CASES[case]
    app(
        ["run", config, "optimizer.lr=3e-3", "train.evaluations=2", *overrides, "--results-dir", str(tmp_path)],
        standalone_mode=False,
    )
    (record,) = read_records(tmp_path / config).to_dict("records")
    assert record["status"] == "completed"
    seen = "final_train_loss" if case.startswith("modular") else "final_test_loss"  # grokking comes much later
    assert record[seen] < 0.75 * trivial(case), (record[seen], trivial(case))
