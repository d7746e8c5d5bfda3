"""Every model learns its natural data at ``scale=smoke``: its loss ends well below the best constant prediction's."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from adamcmp.cli import app
from adamcmp.config.lookup import list_group
from adamcmp.data.text import text
from adamcmp.storage.records import read_records

CASES = {
    "mlp": ("digits",),
    "cnn": ("image_folder",),
    "resnet": ("image_folder",),
    "resnet group": ("image_folder", "model.norm=group"),
    "resnet none": ("image_folder", "model.norm=none"),
    "shake_shake": ("image_folder",),
    "vit": ("image_folder",),
    "gpt": ("text",),
    "gpt short": ("text", "data.context=16", "train.steps=250"),
    "modular_mlp": ("modular_addition",),
    "modular_transformer": ("modular_addition",),
    "bag_of_words": ("sparse_words",),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The digits as a folder of pictures of 16×16."""
    folder = tmp_path_factory.mktemp("pictures")
    digits = load_digits()
    for name in digits.target_names:
        (folder / str(name)).mkdir()
    for i, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        large = np.kron(255 * pixels / 16, np.ones((2, 2))).astype(np.uint8)
        Image.fromarray(large).save(folder / str(label) / f"{i:04}.png")
    return folder


def trivial(config: str) -> float:
    """Nats of always saying how often each label occurs; all labels of the others are as good as equally frequent."""
    if config == "text":
        labels = text(max_bytes=500_000, context=32)["train"][1].ravel().tolist()
        return -sum(n / len(labels) * math.log(n / len(labels)) for n in Counter(labels).values())
    return math.log({"modular_addition": 11, "sparse_words": 4}.get(config, 10))


def test_no_model_is_left_out():
    names = {case.partition(" ")[0] for case in CASES}
    presets = [name for name in list_group("model") if name not in names]
    assert all(any(name.startswith(f"{base}_") for base in names) for name in presets), presets


SLOW = {"gpt", "gpt short", "resnet", "resnet group", "resnet none", "shake_shake", "vit", "modular_transformer"}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case in SLOW else case for case in CASES]
)
def test_it_learns(tmp_path, case, pictures):
    config, *overrides = CASES[case]
    path = [f"data.path={pictures}"] if config == "image_folder" else []
    words = ["run", config, f"model={case.partition(' ')[0]}", "scale=smoke", *overrides, *path]
    app([*words, "--results-dir", str(tmp_path)], standalone_mode=False)
    (folder,) = tmp_path.iterdir()
    (record,) = read_records(folder).to_dict("records")
    assert record["status"] == "completed"
    seen = "final_train_loss" if config == "modular_addition" else "final_test_loss"  # grokking comes much later
    assert record[seen] < 0.75 * trivial(config), (record[seen], trivial(config))
