"""Folders of pictures, made here: parts and classes by folder, one array in the cache, and clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from adamcmp.data import idx, prepare
from adamcmp.data import image_folder as module
from adamcmp.data.image_folder import image_folder
from adamcmp.errors import InputError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(idx.platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    return tmp_path / "cache" / "adamcmp" / "pictures"


def draw(path, size=(6, 4), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0]), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    """Three pictures of each of two classes, 6 wide and 4 high; and what they show."""
    root = tmp_path / "mine"
    shown = {f"{name}/{i}": draw(root / name / f"{i}.png") for name in ("cat", "dog") for i in range(3)}
    return root, np.stack(list(shown.values())).transpose(0, 3, 1, 2)


def test_a_folder_a_class_becomes_pixels_and_labels(folder):
    root, shown = folder
    raw = image_folder(root)
    x_NCHW, y_N = raw["train"]
    assert np.array_equal(x_NCHW, shown)
    assert y_N.tolist() == [0, 0, 0, 1, 1, 1]
    assert raw["num_classes"] == 2
    assert prepare(raw, name="mine").input_shape == (3, 4, 6)


def test_parts_by_folder(folder, tmp_path):
    root, shown = folder
    for part, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        (tmp_path / "parts" / name).parent.mkdir(exist_ok=True)
        draw(tmp_path / "parts" / name / "cat" / "a.png")
        draw(tmp_path / "parts" / name / "dog" / "b.jpg")
        assert part in module.PARTS
    raw = image_folder(tmp_path / "parts")
    for part in ("train", "validation", "test"):
        assert raw[part][1].tolist() == [0, 1]
    root.rename(tmp_path / "train")
    (tmp_path / "alone").mkdir()
    (tmp_path / "train").rename(tmp_path / "alone" / "train")
    assert np.array_equal(image_folder(tmp_path / "alone")["train"][0], shown)


def test_the_same_pictures_are_decoded_once_and_others_again(folder, cache, monkeypatch):
    root, _ = folder
    first = np.array(image_folder(root)["train"][0])
    (stored,) = cache.iterdir()

    def refuse(*args):
        raise AssertionError("decoded again")

    with monkeypatch.context() as patched:
        patched.setattr(module, "_picture", refuse)
        assert np.array_equal(image_folder(root)["train"][0], first)
        root.rename(root.with_name("renamed"))
        assert np.array_equal(image_folder(root.with_name("renamed"))["train"][0], first)
    other = draw(root.with_name("renamed") / "cat" / "1.png")
    assert np.array_equal(image_folder(root.with_name("renamed"))["train"][0][1], other.transpose(2, 0, 1))
    assert set(cache.iterdir()) > {stored}


def test_pictures_of_any_size_are_brought_to_one(folder):
    root, _ = folder
    draw(root / "cat" / "large.jpg", size=(40, 20))
    draw(root / "dog" / "grey.png", size=(9, 9), mode="L")
    assert image_folder(root, size=8)["train"][0].shape == (8, 3, 8, 8)
    assert image_folder(root, size=8, channels=1)["train"][0].shape == (8, 1, 8, 8)
    with pytest.raises(InputError, match=r"(grey|large)\.(png|jpg): \d+×\d+ pixels, 0\.png has 4×6; set data\.size"):
        image_folder(root)


def test_a_refused_folder_leaves_nothing_half_written(folder, cache):
    root, _ = folder
    (root / "dog" / "2.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"2\.png: cannot be decoded .*; mend or remove it") as caught:
        image_folder(root)
    assert "\n" not in str(caught.value)
    assert not list(cache.iterdir())


def test_truncated_pictures_are_named(folder):
    root, _ = folder
    whole = (root / "cat" / "0.png").read_bytes()
    (root / "cat" / "0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"0\.png: cannot be decoded"):
        image_folder(root)


def test_bad_folders_are_refused_in_one_line(folder, tmp_path):
    root, _ = folder
    for arguments, message in (
        ({"path": None}, r"^data\.path is not set; give a folder"),
        ({"path": "nowhere"}, r"^data\.path=nowhere: no such folder"),
        ({"path": root, "size": 0}, r"^data\.size=0: must be ≥ 1"),
        ({"path": root, "channels": 2}, r"^data\.channels=2: must be 3 \(colour\) or 1 \(grey\)"),
        ({"path": root / "cat"}, r"cat: holds no folders; give one folder of pictures for each class"),
    ):
        with pytest.raises(InputError, match=message):
            image_folder(**arguments)
    (root / "bird").mkdir()
    with pytest.raises(InputError, match=r"bird: a class without pictures"):
        image_folder(root)
    (root / "bird").rmdir()
    draw(tmp_path / "one" / "cat" / "a.png")
    with pytest.raises(InputError, match=r"holds pictures of \['cat'\]; needs two class folders"):
        image_folder(tmp_path / "one")
    for part, names in (("train", ("cat", "dog")), ("test", ("cat", "dgo"))):
        for name in names:
            draw(tmp_path / "parts" / part / name / "a.png")
    with pytest.raises(InputError, match=r"class 'dgo' is not among those to train on; did you mean dog\?"):
        image_folder(tmp_path / "parts")


def test_without_a_cache_pictures_are_decoded_into_memory(folder, cache):
    root, shown = folder
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where a folder should be")
    x_NCHW, _ = image_folder(root)["train"]
    assert not isinstance(x_NCHW, np.memmap)
    assert np.array_equal(x_NCHW, shown)
