"""Decode image files in parallel into one array."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from adamcmp.data.array_cache import cached_array
from adamcmp.data.idx import cache_folder
from adamcmp.errors import InputError, one_line

FORMAT = 2
"""Version of the cached arrays; part of their names."""
MODES = {1: "L", 3: "RGB"}
DEEP_MODES = {"I;16": "16-bit", "I;16B": "16-bit", "I;16L": "16-bit", "I;16N": "16-bit", "I": "32-bit", "F": "float"}
"""Pillow's modes whose pixels 8 bits do not hold, and their depths."""
ORIENTATION = 274
"""EXIF tag of how a camera was held."""


WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
"""Pillow's modes with transparency."""


class Look(NamedTuple):
    """Properties of an image file, without its pixels."""

    digest: bytes
    mode: str
    is_turned: bool
    is_transparent: bool
    is_animated: bool
    is_narrowed: bool
    """Colours of 16 bits, of which Pillow keeps 8."""


def check_depths(looks: Sequence[Look], where: str) -> None:
    """Refuse images of several bit depths, whose pixels have different scales."""
    depths = Counter(DEEP_MODES.get(look.mode, "8-bit") for look in looks)
    if len(depths) > 1:
        depth_counts = ", ".join(f"{count:,} {depth}" for depth, count in depths.items())
        raise InputError(f"{where}: holds images of several depths ({depth_counts}); convert them to one")


def decode_images(
    files: Sequence[Path], size: int | None, channels: int, colour: tuple[int, int, int]
) -> tuple[npt.NDArray[Any], list[Look]]:
    """Return the images, from the cache if the same files were decoded before, and the properties of their files."""
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        digest = hashlib.sha256(f"{FORMAT} {size} {channels} {colour}".encode())
        looks = list(pool.map(_inspect_file, files, chunksize=64))
        for look in looks:
            digest.update(look.digest)
        check_depths(looks, str(files[0].parent.parent))
        dtype: type[np.generic] = np.float32 if looks[0].mode in DEEP_MODES else np.uint8
        stored = cache_folder() / "pictures" / f"{digest.hexdigest()[:24]}.npy"
        array = cached_array(
            stored,
            lambda: (len(files), *_decode_image(files[0], size, channels, colour).shape),
            lambda images: _fill_array(images, files, size, channels, colour, pool),
            dtype,
        )
        return array, looks


def _inspect_file(path: Path) -> Look:
    from PIL import Image

    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); correct or remove it") from error
    try:
        with Image.open(path) as opened:
            turned = opened.getexif().get(ORIENTATION, 1) != 1
            transparent = opened.mode in WITH_ALPHA or "transparency" in opened.info
            narrowed = any(";16" in str(tile) for tile in opened.tile) and opened.mode not in DEEP_MODES
            return Look(digest, opened.mode, turned, transparent, bool(getattr(opened, "is_animated", False)), narrowed)
    except Exception as error:  # Pillow says no in many ways
        raise InputError(f"{path}: cannot be decoded ({one_line(error)}); correct or remove it") from error


def _fill_array(
    images: npt.NDArray[Any],
    files: Sequence[Path],
    size: int | None,
    channels: int,
    colour: tuple[int, int, int],
    pool: ThreadPoolExecutor,
) -> None:
    height, width = images.shape[2:]

    def fill(i: int) -> None:
        image = _decode_image(files[i], size, channels, colour)
        if image.shape != images.shape[1:]:
            raise InputError(
                f"{files[i]}: {image.shape[1]}×{image.shape[2]} pixels, {files[0].name} has {height}×{width}; "
                "set data.size to bring all to one size"
            )
        images[i] = image

    console = Console(force_jupyter=False, stderr=True)
    done = pool.map(fill, range(len(files)))
    for _ in track(done, "decoding images", total=len(files), console=console, transient=True):
        pass


def _decode_image(path: Path, size: int | None, channels: int, colour: tuple[int, int, int]) -> npt.NDArray[Any]:
    """Return one image (C, H, W): uint8, or float32 of a deeper one."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            image: Image.Image = ImageOps.exif_transpose(opened)
            if image.mode in DEEP_MODES:
                image = Image.fromarray(np.asarray(image).astype(np.float32))
            elif image.mode in WITH_ALPHA or "transparency" in image.info:
                image = image.convert("RGBA")
                ground = Image.new("RGBA", image.size, (*colour, 255))
                image = Image.alpha_composite(ground, image).convert(MODES[channels])
            else:
                image = image.convert(MODES[channels])
    except Exception as error:  # Pillow says no in many ways
        raise InputError(f"{path}: cannot be decoded ({one_line(error)}); correct or remove it") from error
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    pixels_HWC = np.asarray(image).reshape(image.height, image.width, -1)
    if pixels_HWC.shape[2] < channels:  # a deep image is gray
        pixels_HWC = np.repeat(pixels_HWC, channels, axis=2)
    return np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1))
