"""ImageNet32 in its official format, written here: read once, mapped, and refused when damaged or dangerous."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from adamcmp.data import idx, imagenet32, make_dataset
from adamcmp.errors import InputError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(idx.platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    return tmp_path / "cache" / "adamcmp" / "imagenet32"


def write(path, data, labels):
    path.write_bytes(pickle.dumps({"data": data, "labels": labels, "mean": np.zeros(3072)}, protocol=2))


@pytest.fixture
def folder(tmp_path):
    """Eleven files of two pictures, and what they hold."""
    root = tmp_path / "official"
    root.mkdir()
    pixels = RNG.integers(0, 256, (22, 3072), dtype=np.uint8)
    for i, name in enumerate((*imagenet32.TRAIN, *imagenet32.TEST)):
        write(root / name, pixels[2 * i : 2 * i + 2], [1 + i, 1000 - i])
    return root, pixels


def test_batches_become_one_mapped_array(folder, cache, monkeypatch):
    root, pixels = folder
    raw = imagenet32.imagenet32(root)
    assert isinstance(raw["train"][0], np.memmap)
    assert np.array_equal(raw["train"][0], pixels[:20].reshape(20, 3, 32, 32))
    assert np.array_equal(raw["test"][0], pixels[20:].reshape(2, 3, 32, 32))
    assert raw["train"][1].tolist() == [label for i in range(10) for label in (i, 999 - i)]
    assert raw["num_classes"] == 1000
    assert make_dataset({**raw, "validation": raw["test"]}, name="i").input_shape == (3, 32, 32)
    monkeypatch.setattr(imagenet32, "_read", None)  # from the cache now
    assert np.array_equal(imagenet32.imagenet32(str(root))["train"][0], raw["train"][0])
    assert not list(cache.glob("*.tmp"))


def test_missing_files_are_named(folder):
    root, _ = folder
    (root / "train_data_batch_3").unlink()
    with pytest.raises(InputError, match=r"lacks train_data_batch_3; fetch"):
        imagenet32.imagenet32(root)
    with pytest.raises(InputError, match=r"^data\.folder is not set"):
        imagenet32.imagenet32()


def test_damaged_files_are_refused_in_one_line(folder):
    root, pixels = folder
    path = root / "train_data_batch_2"
    whole = path.read_bytes()
    cases = {
        "is no batch of ImageNet32": whole[:100],
        "is no batch": pickle.dumps([1, 2]),
        "needs uint8": pickle.dumps({"data": pixels[:2, :5], "labels": [1, 2]}),
        "for \\(3,\\) labels": pickle.dumps({"data": pixels[:2], "labels": [1, 2, 3]}),
        "labels from 0 to 5, allowed are 1 to 1000": pickle.dumps({"data": pixels[:2], "labels": [0, 5]}),
    }
    for message, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            imagenet32.imagenet32(root)
        assert "\n" not in str(caught.value)


class Dangerous:
    def __reduce__(self):
        return os.system, ("touch was_here",)


def test_a_file_that_would_run_code_is_refused(folder, tmp_path, monkeypatch):
    root, _ = folder
    monkeypatch.chdir(tmp_path)
    (root / "val_data").write_bytes(pickle.dumps({"data": Dangerous(), "labels": [1]}))
    with pytest.raises(InputError, match=r"val_data: is no batch .*names posix\.system"):
        imagenet32.imagenet32(root)
    assert not (tmp_path / "was_here").exists()


def test_without_a_cache_batches_are_read_into_memory(folder, cache):
    root, pixels = folder
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where a folder should be")
    raw = imagenet32.imagenet32(root)
    assert not isinstance(raw["train"][0], np.memmap)
    assert np.array_equal(raw["train"][0], pixels[:20].reshape(20, 3, 32, 32))
    assert raw["train"][1].tolist() == [label for i in range(10) for label in (i, 999 - i)]
