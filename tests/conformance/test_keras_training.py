"""Trainings by Keras on TensorFlow end where adamcmp's do: the same weights, batches and learning rates."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
import torch

from adamcmp.conformance import keras_training
from adamcmp.errors import InputError
from adamcmp.models.cnn import SmallCNN
from adamcmp.models.mlp import MLP

FRAMEWORK = "optimizer/framework=keras optimizer.lr=0.003 train.steps=200"
CASES = [
    ("model=mlp optimizer=adamw optimizer.weight_decay=0.1", 0.002),
    ("model=mlp optimizer=adam optimizer.weight_decay=0.001", 0.02),
    ("model=cnn optimizer=adamw optimizer.weight_decay=0.1", 0.05),
    ("model=cnn optimizer=adam optimizer.weight_decay=0.001", 0.05),
]
"""And by how much the last loss may differ: rounding to 32 bits, which a training amplifies."""


def losses(tmp_path, words):
    out = tmp_path / "losses.csv"
    command = [sys.executable, "-m", "adamcmp.conformance.keras_training", str(out), *words.split(), *FRAMEWORK.split()]
    subprocess.run(command, check=True, capture_output=True)
    return pd.read_csv(out)


@pytest.mark.slow
@pytest.mark.needs("tensorflow")
@pytest.mark.parametrize(("words", "tolerance"), CASES)
def test_keras_ends_at_the_same_loss_within_the_drift_of_float32(tmp_path, words, tolerance):
    table = losses(tmp_path, words)
    first, last = table.iloc[0], table.iloc[-1]
    assert len(table) == 201
    assert first["keras"] == pytest.approx(first["adamcmp"], rel=1e-6)
    assert last["step"] == -1
    assert last["keras"] == pytest.approx(last["adamcmp"], rel=tolerance)
    assert table.iloc[-2]["adamcmp"] < 0.5 * first["adamcmp"]


EXACT = "optimizer.betas=[0.8999999761581421,0.9990000128746033] optimizer.eps=1.1920928955078125e-07"
"""Numbers that 32 bits hold: TensorFlow rounds β to these, also where everything else has 64."""


@pytest.mark.slow
@pytest.mark.needs("tensorflow")
@pytest.mark.parametrize("words", [case.replace("decay=0.1", "decay=0.125") for case, _ in CASES])
def test_what_is_left_is_rounding(tmp_path, words):
    """In float64, and with β that TensorFlow does not round, both trainings are one."""
    table = losses(tmp_path, f"{words} {EXACT} train.precision=fp64")
    assert (table["keras"] - table["adamcmp"]).abs().max() < 1e-12


def test_layers_have_the_weights_in_keras_order():
    mlp = MLP(input_shape=(1, 2, 3), num_classes=4, hidden=(5,))
    flat, dense, relu, last = keras_training.layer_specs(mlp)
    assert [each.kind for each in (flat, dense, relu, last)] == ["Flatten", "Dense", "ReLU", "Dense"]
    assert dense.weights[0].shape == (6, 5)
    assert torch.equal(torch.from_numpy(dense.weights[0].T.copy()), mlp.layers[0].weight.detach())
    found = keras_training.layer_specs(SmallCNN(input_shape=(1, 8, 8), num_classes=3, width=4))
    kinds = [each.kind for each in found]
    assert kinds == ["ZeroPadding2D", "Conv2D", "GroupNormalization", "ReLU"] * 3 + ["GlobalAveragePooling2D", "Dense"]
    assert found[1].weights[0].shape == (3, 3, 1, 4)


def test_what_keras_cannot_train_so_is_refused():
    with pytest.raises(InputError, match=r"model\.norm=group"):
        keras_training.layer_specs(SmallCNN(input_shape=(1, 8, 8), num_classes=3, norm="batch"))
    with pytest.raises(InputError, match="model=mlp or model=cnn"):
        keras_training.layer_specs(torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="optimizer/framework=keras"):
        keras_training.train_with_keras(["optimizer=adamw"])
    with pytest.raises(InputError, match="no layer for Tanh"):
        keras_training.layer_specs(MLP(input_shape=(4,), num_classes=2, activation="tanh"))
