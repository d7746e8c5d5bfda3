"""Official IDX files, written here byte by byte: found where they may lie, and refused when damaged."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from adamcmp.data import idx
from adamcmp.data.fashion_mnist import fashion_mnist
from adamcmp.data.mnist import mnist
from adamcmp.errors import InputError

SIZES = {"train": 12, "test": 7}
RNG = np.random.default_rng(0)
IMAGES = {part: RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8) for part, n in SIZES.items()}
LABELS = {part: np.arange(n, dtype=np.uint8) % 10 for part, n in SIZES.items()}
LOADERS = {"MNIST": mnist, "FashionMNIST": fashion_mnist}


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(folder: Path, *, packed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in idx.FILES.items():
        for name, array in ((images, IMAGES[part]), (labels, LABELS[part])):
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
            else:
                (folder / name).write_bytes(idx_bytes(array))
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Neither this machine's cache nor its Debian package may decide a test."""
    monkeypatch.setattr(idx.platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    monkeypatch.setattr("adamcmp.data.fashion_mnist.DEBIAN", tmp_path / "debian")
    return tmp_path / "cache" / "adamcmp"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no network in tests")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)


def assert_is_ours(raw):
    assert raw["num_classes"] == 10
    assert set(raw) == {"train", "test", "num_classes"}
    for part, n in SIZES.items():
        x, y = raw[part]
        assert x.dtype == torch.uint8
        assert x.shape == (n, 1, 28, 28)
        assert np.array_equal(x.numpy()[:, 0], IMAGES[part])
        assert y.dtype == torch.int64
        assert y.tolist() == LABELS[part].tolist()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("name", LOADERS)
def test_files_are_found_in_the_folder_or_where_torchvision_puts_them(tmp_path, name, below, packed):
    write(tmp_path / "data" / name / "raw" if below else tmp_path / "data", packed=packed)
    assert_is_ours(LOADERS[name](folder=tmp_path / "data"))
    assert_is_ours(LOADERS[name](folder=str(tmp_path / "data"), download=True))  # there: nothing to fetch


@pytest.mark.parametrize("name", LOADERS)
def test_files_are_found_in_the_cache_under_their_own_name_only(cache, name):
    other = next(n for n in LOADERS if n != name)
    write(cache / other / "raw")
    write(cache)  # nobody can say whose these are
    with pytest.raises(InputError, match=f"no {name} files in .*data.download=true"):
        LOADERS[name]()
    write(cache / name / "raw")
    assert_is_ours(LOADERS[name]())


def test_debians_package_is_found_and_advised(tmp_path):
    with pytest.raises(InputError, match="dataset-fashion-mnist"):
        fashion_mnist()
    write(tmp_path / "debian", packed=True)
    assert_is_ours(fashion_mnist())
    with pytest.raises(InputError):
        mnist()


def test_a_given_folder_is_the_only_place(tmp_path):
    write(tmp_path / "debian")
    with pytest.raises(InputError, match=r"no FashionMNIST files in .*empty"):
        fashion_mnist(folder=tmp_path / "empty")


def test_a_missing_file_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="lacks t10k-labels-idx1-ubyte"):
        mnist(folder=tmp_path)


def test_no_temporary_file_stays(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    mnist(folder=write(tmp_path / "data", packed=True))
    assert not list(scratch.iterdir())


IMAGE, LABEL = idx.FILES["train"]
DAMAGE = {
    "short pixels": (IMAGE, idx_bytes(IMAGES["train"])[:-1], "truncated"),
    "short labels": (LABEL, idx_bytes(LABELS["train"])[:-1], "truncated"),
    "too long": (IMAGE, idx_bytes(IMAGES["train"]) + b"\x00", "truncated, its size is not"),
    "header only": (IMAGE, idx_bytes(IMAGES["train"])[:16], "truncated"),
    "half a header": (IMAGE, idx_bytes(IMAGES["train"])[:9], "truncated"),
    "huge": (IMAGE, struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3) + bytes(9), "truncated"),
    "empty": (LABEL, b"", "starts with nothing, an IDX label file with 00000801"),
    "web page": (IMAGE, b"<html>", "starts with 3c68746d, an IDX image file with 00000803"),
    "swapped": (LABEL, idx_bytes(IMAGES["train"]), "starts with 00000803, an IDX label file"),
    "other dtype": (IMAGE, b"\x00\x00\x0d\x03" + bytes(99), "starts with 00000d03"),
    "fewer labels": (LABEL, idx_bytes(LABELS["train"][:-1]), "holds 12 images but .* 11 labels"),
    "label 10": (LABEL, idx_bytes(LABELS["train"] + 1), "label 10, allowed are 0 to 9"),
    "size": (IMAGE, idx_bytes(IMAGES["train"][:, :27]), "images of 27×28, expected 28×28"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_refused_in_one_line_that_names_the_file(tmp_path, case, packed):
    name, content, message = DAMAGE[case]
    write(tmp_path, packed=packed)
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(InputError, match=message) as caught:
        mnist(folder=tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [5, 200, -4])
def test_a_cut_gzip_file_is_refused(tmp_path, keep):
    write(tmp_path, packed=True)
    path = tmp_path / f"{IMAGE}.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="cannot be read") as caught:
        mnist(folder=tmp_path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_gzip_is_refused(tmp_path):
    write(tmp_path, packed=True)
    (tmp_path / f"{IMAGE}.gz").write_bytes(b"<html>")
    with pytest.raises(InputError, match="cannot be read"):
        mnist(folder=tmp_path)


@pytest.mark.parametrize("name", LOADERS)
def test_a_failed_download_is_one_line_and_leaves_no_file(cache, name):
    with pytest.raises(InputError, match=f"could not download {name} into .*no network in tests") as caught:
        LOADERS[name](download=True)
    assert "\n" not in str(caught.value)
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", LOADERS)
def test_a_download_is_kept_and_completes_a_partial_folder(cache, monkeypatch, name):
    def fetch(url, download_root, filename, md5):
        part = "train" if filename.startswith("train") else "test"
        array = IMAGES[part] if "images" in filename else LABELS[part]
        (Path(download_root) / filename.removesuffix(".gz")).write_bytes(idx_bytes(array))

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fetch)
    raw = cache / name / "raw"
    raw.mkdir(parents=True)
    (raw / IMAGE).write_bytes(b"left over from a copy that was stopped")
    assert_is_ours(LOADERS[name](download=True))
    assert sorted(p.name for p in raw.iterdir()) == sorted(n for names in idx.FILES.values() for n in names)
    assert_is_ours(LOADERS[name]())
