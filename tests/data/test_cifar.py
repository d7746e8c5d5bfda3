"""CIFAR in its official format, written here: unpacked or as an archive, and refused when damaged."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
from urllib.error import URLError

import numpy as np
import pytest
import torchvision

from adamcmp.data import cifar
from adamcmp.errors import InputError

RNG = np.random.default_rng(0)
PIXELS = {name: RNG.integers(0, 256, (4, 3072), dtype=np.uint8) for name in ("a", "b")}
LOADERS = {"CIFAR10": cifar.cifar10, "CIFAR100": cifar.cifar100}


@pytest.fixture(params=LOADERS)
def official(request, tmp_path, monkeypatch):
    """A data set's folder with two files of four pictures, whose MD5 sums torchvision is made to expect."""
    reader, key = getattr(torchvision.datasets, request.param), {"CIFAR10": "labels", "CIFAR100": "fine_labels"}
    classes = {"CIFAR10": 10, "CIFAR100": 100}[request.param]
    unpacked = tmp_path / "there" / reader.base_folder
    unpacked.mkdir(parents=True)
    labels = {"a": [0, 1, 2, classes - 1], "b": [3, 2, 1, 0]}
    for name, attribute in (("a", "train_list"), ("b", "test_list")):
        content = pickle.dumps({"data": PIXELS[name], key[request.param]: labels[name]})
        (unpacked / name).write_bytes(content)
        monkeypatch.setattr(reader, attribute, [[name, hashlib.md5(content).hexdigest()]])
    content = pickle.dumps({reader.meta["key"]: [f"class {i}" for i in range(classes)]})
    (unpacked / reader.meta["filename"]).write_bytes(content)
    monkeypatch.setattr(reader, "meta", reader.meta | {"md5": hashlib.md5(content).hexdigest()})

    def refuse(*args, **kwargs):
        raise URLError("no network in tests")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)
    return request.param, unpacked, labels, classes


def assert_is_ours(raw, labels, classes):
    assert raw["num_classes"] == classes
    for part, name in (("train", "a"), ("test", "b")):
        x_NCHW, y_N = raw[part]
        assert np.array_equal(x_NCHW, PIXELS[name].reshape(4, 3, 32, 32))
        assert y_N.tolist() == labels[name]


def test_an_unpacked_folder_is_read(official):
    name, unpacked, labels, classes = official
    assert_is_ours(LOADERS[name](unpacked.parent), labels, classes)


def test_an_archive_is_unpacked_and_read(official, tmp_path):
    name, unpacked, labels, classes = official
    reader, folder = getattr(torchvision.datasets, name), tmp_path / "packed"
    folder.mkdir()
    with tarfile.open(folder / reader.filename, "w:gz") as archive:
        archive.add(unpacked, reader.base_folder)
    assert_is_ours(LOADERS[name](str(folder)), labels, classes)
    whole = (folder / reader.filename).read_bytes()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / reader.filename).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is damaged or not the official one"):
        LOADERS[name](tmp_path / "cut")


def test_damaged_missing_and_unreachable_files_are_refused_in_one_line(official, tmp_path):
    name, unpacked, _, _ = official
    with pytest.raises(InputError, match=r"set data\.download=true or data\.folder"):
        LOADERS[name](tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"could not be downloaded .*no network in tests"):
        LOADERS[name](tmp_path / "nowhere", download=True)
    (unpacked / "a").write_bytes(b"other pictures")
    with pytest.raises(InputError, match="is damaged or not the official one") as caught:
        LOADERS[name](unpacked.parent)
    assert "\n" not in str(caught.value)
