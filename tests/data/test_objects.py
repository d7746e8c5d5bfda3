"""Data sets of PyTorch and DataFrames of pandas that a data function returns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from adamcmp.data import idx, make_dataset, objects
from adamcmp.data.on_disk import DiskRows
from adamcmp.errors import InputError

X = torch.randn(80, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(80) % 4


class Pairs(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i], int(Y[i])


class Named(Pairs):
    def __getitem__(self, i):
        return {"pixel_values": X[i].numpy(), "labels": int(Y[i])}


class Augmented(Pairs):
    def __getitem__(self, i):
        return X[i] + torch.randn(6), int(Y[i])


class Images(Pairs):
    def __getitem__(self, i):
        pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) + i
        return Image.fromarray(pixels), int(Y[i])


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield X[0], 1


def numbers(dataset):
    parts = (dataset.train, dataset.validation, dataset.test)
    return sorted(torch.cat([part.x for part in parts])[:, 0].tolist())


GIVEN = {
    "dataset": Pairs,
    "named": Named,
    "tensors": lambda: TensorDataset(X, Y),
    "loader": lambda: DataLoader(Pairs(), batch_size=7, shuffle=True),
    "batches": lambda: DataLoader(Pairs(), batch_size=7, collate_fn=lambda batch: tuple(map(torch.stack, zip(*[
        (x, torch.tensor(y)) for x, y in batch], strict=True)))),
    "part": lambda: {"train": Pairs()},
}  # fmt: skip


@pytest.mark.parametrize("kind", GIVEN)
def test_every_kind_of_object_gives_the_same_examples(kind):
    dataset = make_dataset(GIVEN[kind](), name="mine", normalize=False)
    assert numbers(dataset) == sorted(X[:, 0].tolist())
    assert dataset.num_outputs == 4


def test_parts_of_objects_stay_parts():
    dataset = make_dataset({"train": Pairs(), "test": Subset(Pairs(), range(5))}, name="mine", normalize=False)
    assert dataset.test.y.tolist() == Y[:5].tolist()


def test_pictures_have_their_channels_first():
    dataset = make_dataset({"train": Images()}, name="mine", normalize=False)
    assert dataset.input_shape == (3, 4, 4)


def test_examples_that_change_are_said(monkeypatch):
    dataset = make_dataset(Augmented(), name="mine")
    assert any("change from reading to reading" in text for _, text in dataset.summary)


def test_what_is_larger_than_memory_is_mapped_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(idx.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    for module in ("adamcmp.data.objects", "adamcmp.data.raw", "adamcmp.data.dataset"):
        monkeypatch.setattr(f"{module}.LARGE_BYTES", 100)
    mapped = make_dataset(Pairs(), name="mine", memory=0)
    again = make_dataset(Pairs(), name="mine", memory=0)
    assert isinstance(mapped.train.x, DiskRows)
    assert mapped.fingerprint == again.fingerprint
    assert len(list((tmp_path / "adamcmp").rglob("*.npy"))) == 1
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_cache_that_cannot_be_written_ends_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a file where a folder should be")
    monkeypatch.setattr(idx.platformdirs, "user_cache_dir", lambda name: str(tmp_path / "file" / name))
    monkeypatch.setattr("adamcmp.data.objects.LARGE_BYTES", 100)
    assert numbers(make_dataset(Pairs(), name="mine", normalize=False)) == sorted(X[:, 0].tolist())


def test_dataframes_are_tables():
    frame = pd.DataFrame({"a": X[:, 0].numpy(), "colour": ["red", "blue"] * 40, "kind": ["u", "v"] * 40})
    whole = make_dataset(frame, name="mine", normalize=False)
    assert whole.input_shape == (3,)
    pair = {"train": (frame[["a", "colour"]], frame["kind"]), "test": (frame[["a", "colour"]][:9], frame["kind"][:9])}
    dataset = make_dataset(pair, name="mine")
    assert len(dataset.test.y) == 9
    assert dataset.input_shape == (3,)
    labelled = make_dataset({"train": frame, "label": "a"}, name="mine")
    assert labelled.targets == "quantities"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Endless(), "without a length"),
        (TensorDataset(X), "1 tensors; give inputs and targets"),
        ([1, 2], "returned list; return a dict"),
        ({"train": Subset(Pairs(), [])}, "of length 0"),
        ({"train": [X, Y, Y]}, "give a pair"),
    ],
)
def test_other_objects_are_refused_in_one_line(given, says):
    with pytest.raises(InputError, match=says) as caught:
        make_dataset(given, name="mine")
    assert "\n" not in str(caught.value)


def test_an_example_that_fails_is_named(monkeypatch):
    monkeypatch.setattr(Pairs, "__getitem__", lambda _, i: (X[i], Y[i]) if i < 5 else 1 / 0)
    with pytest.raises(InputError, match="example 5 cannot be read \\(ZeroDivisionError"):
        objects.plain_arrays(Pairs(), "mine")
