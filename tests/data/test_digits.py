from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from adamcmp.data import make_dataset
from adamcmp.data.digits import digits


def test_all_digits_of_scikit_learn():
    raw = digits()
    x, y = raw["train"]
    assert x.shape == (1797, 1, 8, 8)
    assert x.dtype == torch.uint8
    assert (int(x.min()), int(x.max())) == (0, 16)
    assert torch.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # UCI's own count


def test_they_are_scikit_learn_s_own():
    x, y = digits()["train"]
    bunch = load_digits()
    assert (x.squeeze(1).numpy() == bunch.images).all()
    assert (y.numpy() == bunch.target).all()


def test_digits_prepare_to_the_same_bytes_everywhere():
    dataset = make_dataset(digits(), name="digits", validation_fraction=0.2, test_fraction=0.2)
    assert [len(split.y) for split in (dataset.train, dataset.validation, dataset.test)] == [1079, 359, 359]
    assert dataset.input_shape == (1, 8, 8)
    assert dataset.num_outputs == 10
    assert dataset.fingerprint == "50f2bbabfbe6a3a4"
