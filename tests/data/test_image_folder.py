"""Folders of pictures, made here: parts and classes by folder, one array in the cache, and clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from adamcmp.data import idx, image_files, make_dataset
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
    assert make_dataset(raw, name="mine").input_shape == (3, 4, 6)


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
        patched.setattr(image_files, "_decode_image", refuse)
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
    with pytest.raises(InputError, match=r"2\.png: cannot be decoded .*; correct or remove it") as caught:
        image_folder(root)
    assert "\n" not in str(caught.value)
    assert not list(cache.rglob("*"))


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
        ({"path": root, "channels": 2}, r"^data\.channels=2: must be 3 \(color\) or 1 \(gray\)"),
        ({"path": root / "cat"}, r"cat: holds no folders; give one folder of images for each class"),
    ):
        with pytest.raises(InputError, match=message):
            image_folder(**arguments)
    (root / "bird").mkdir()
    with pytest.raises(InputError, match=r"bird: a class without images"):
        image_folder(root)
    (root / "bird").rmdir()
    draw(tmp_path / "one" / "cat" / "a.png")
    with pytest.raises(InputError, match=r"holds images of \['cat'\]; needs two class folders"):
        image_folder(tmp_path / "one")
    for part, names in (("train", ("cat", "dog")), ("test", ("cat", "dgo"))):
        for name in names:
            draw(tmp_path / "parts" / part / name / "a.png")
    with pytest.raises(InputError, match=r"class 'dgo' of the test part is not among those to train on; did you mean"):
        image_folder(tmp_path / "parts")


def test_without_a_cache_pictures_are_decoded_into_memory(folder, cache):
    root, shown = folder
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where a folder should be")
    x_NCHW, _ = image_folder(root)["train"]
    assert not isinstance(x_NCHW, np.memmap)
    assert np.array_equal(x_NCHW, shown)


def save(path, pixels, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path, **options)


def ramps(kind, count=3):
    """Images whose pixels rise from left to right (cat) or from top to bottom (dog), in the range of a kind."""
    high = {"uint8": 255, "uint16": 4095, "int32": 10**6, "float32": 0.8}[kind]
    ramp = np.linspace(0, high, 36).reshape(6, 6)
    return {name: [(pixels * (1 - i / 20)).astype(kind) for i in range(count)] for name, pixels in
            (("cat", ramp), ("dog", ramp.T))}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "suffix"), [("uint8", "png"), ("uint16", "png"), ("uint16", "tif"), ("int32", "tif"), ("float32", "tif")]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_bit_depth_keeps_its_values(tmp_path, kind, suffix, channels):
    shown = ramps(kind)
    for name, images in shown.items():
        for i, pixels in enumerate(images):
            save(tmp_path / "mine" / name / f"{i}.{suffix}", pixels)
    x, _ = image_folder(tmp_path / "mine", channels=channels)["train"]
    assert x.shape == (6, channels, 6, 6)
    assert x.dtype == (np.uint8 if kind == "uint8" else np.float32)
    np.testing.assert_allclose(x[:3, 0], np.stack(shown["cat"]), rtol=1e-6)
    np.testing.assert_allclose(x[3:, -1], np.stack(shown["dog"]), rtol=1e-6)
    image_folder(tmp_path / "mine", channels=channels, size=4)


def test_images_of_several_depths_are_refused(folder):
    root, _ = folder
    save(root / "cat" / "deep.png", np.full((4, 6), 40_000, np.uint16))
    with pytest.raises(InputError, match=r"several depths \(6 8-bit, 1 16-bit\)"):
        image_folder(root)


@pytest.mark.parametrize("background", ["white", "black", "#808080"])
def test_transparent_images_are_laid_on_the_background(tmp_path, background):
    ground = {"white": 255, "black": 0, "#808080": 128}[background]
    for i, name in enumerate(("cat", "dog")):
        pixels = np.zeros((4, 4, 4), np.uint8)
        pixels[..., 0], pixels[:2, :, 3] = 200, 255 - 155 * i
        save(tmp_path / "mine" / name / "a.png", pixels)
        save(tmp_path / "mine" / name / "b.png", pixels)
    raw = image_folder(tmp_path / "mine", background=background)
    x, _ = raw["train"]
    assert x[0, :, 0, 0].tolist() == [200, 0, 0]
    assert (x[:, :, 2:] == ground).all()
    assert ("converted", f"4 with transparency, laid on {background}") in raw["summary"]


def test_images_that_show_nothing_are_refused(tmp_path):
    for i, name in enumerate(("cat", "dog")):
        pixels = np.zeros((4, 4, 4), np.uint8)
        pixels[..., 3] = 40 * i
        for k in range(2):
            save(tmp_path / "mine" / name / f"{k}.png", pixels)
    with pytest.raises(InputError, match=r"all images have the same pixels on data.background=black"):
        image_folder(tmp_path / "mine", background="black")
    image_folder(tmp_path / "mine")
    with pytest.raises(InputError, match=r"data.background=chartroose: no such color"):
        image_folder(tmp_path / "mine", background="chartroose")


def test_many_equal_images_of_one_class_are_no_mistake(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMPARED", 2)
    for name, level in (("cat", 10), ("dog", 20)):
        for i in range(3):
            save(tmp_path / "mine" / name / f"{i}.png", np.full((4, 4), level, np.uint8))
    assert len(image_folder(tmp_path / "mine")["train"][0]) == 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_exif_says(tmp_path, orientation):
    upright = ramps("uint8")["cat"][0]
    turns = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
             6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1)}  # fmt: skip
    exif = Image.Exif()
    exif[274] = orientation
    save(tmp_path / "mine" / "cat" / "a.png", np.ascontiguousarray(turns[orientation]), exif=exif)
    save(tmp_path / "mine" / "dog" / "a.png", upright.T)
    save(tmp_path / "mine" / "dog" / "b.png", upright.T)
    raw = image_folder(tmp_path / "mine", channels=1)
    assert np.array_equal(raw["train"][0][0, 0], upright)
    assert any("EXIF" in text for _, text in raw["summary"]) == (orientation != 1)


def test_other_and_hidden_files_are_left_out_and_said(folder):
    root, shown = folder
    draw(root / "cat" / ".hidden.png")
    draw(root / "cat" / ".thumbnails" / "a.png")
    draw(root / "dog" / "__MACOSX" / "a.png")
    (root / "dog" / "notes.txt").write_text("no image")
    (root / "dog" / "film.mp4").write_bytes(b"no image")
    draw(root / "dog" / "z.gif")
    raw = image_folder(root)
    assert len(raw["train"][0]) == len(shown) + 1
    assert ("left out", "1 .mp4, 1 .txt") in raw["summary"]


@pytest.mark.parametrize(
    ("train", "test"), [("Train", "Test"), ("TRAINING", "testing"), ("train_set", "test_set"), ("train-images", "TEST")]
)
def test_splits_may_have_other_names(tmp_path, train, test):
    for part in (train, test, "Val"):
        for name in ("cat", "dog"):
            draw(tmp_path / "mine" / part / name / "a.png")
    assert set(image_folder(tmp_path / "mine")) >= {"train", "test", "validation"}


def test_folders_that_look_like_splits_are_refused(tmp_path):
    for part in ("first", "second"):
        for name in ("cat", "dog"):
            draw(tmp_path / "mine" / part / name / "a.png")
            draw(tmp_path / "inside" / name / ("train" if part == "first" else "test") / "a.png")
    with pytest.raises(InputError, match=r"first, second all hold the folders cat, dog, as splits do"):
        image_folder(tmp_path / "mine")
    assert image_folder(tmp_path / "mine", nested=True)["class_names"] == ["first", "second"]
    with pytest.raises(InputError, match=r"cat: holds test and train; put the folders of splits above"):
        image_folder(tmp_path / "inside")
    for name in ("cat", "dog"):
        draw(tmp_path / "twice" / "train" / name / "a.png")
        draw(tmp_path / "twice" / "Training" / name / "a.png")
    with pytest.raises(InputError, match="both look like the train part"):
        image_folder(tmp_path / "twice")
