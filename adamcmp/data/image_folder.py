"""Any folder of pictures: one folder a class, decoded once in parallel and kept as a memory-mapped array."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from adamcmp.data.idx import cache_folder
from adamcmp.data.mapped import mapped
from adamcmp.data.raw import Array, RawData
from adamcmp.errors import InputError, closest, one_line

PARTS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
"""What a part's folder may be called."""
MODES = {1: "L", 3: "RGB"}
FORMAT = 1
"""Of the cached arrays: enters their names."""


def image_folder(path: str | Path | None = None, size: int | None = None, channels: int = 3) -> RawData:
    """Pictures x uint8 (N, C, S, S), y by the class folders' sorted names.

    ``path/<class>/*.jpg`` is cut by fractions; ``path/train/<class>/…`` with ``path/test/<class>/…`` or
    ``path/validation/<class>/…`` (also ``valid``, ``val``) keeps its parts. The decoded pictures lie in the user's
    cache, named by the content of all files, and are memory-mapped from there.

    Args:
        path: the folder.
        size: S; larger or smaller pictures are scaled so that their shorter side has it, and cropped at the centre.
            Without it all must have one size, (N, C, H, W).
        channels: 3, or 1 for grey.

    Raises:
        InputError: no such folder, no pictures or a class without any, one that cannot be decoded, pictures of several
            sizes without `size`, a class that is not among those to train on.
    """
    if path is None:
        raise InputError("data.path is not set; give a folder that holds a folder of pictures for each class")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise InputError(f"data.path={path}: no such folder")
    if size is not None and (type(size) is not int or size < 1):
        raise InputError(f"data.size={size}: must be ≥ 1 and whole, or null for pictures of one size")
    if channels not in MODES:
        raise InputError(f"data.channels={channels}: must be 3 (colour) or 1 (grey)")
    found = _parts(root)
    classes = sorted(found["train"])
    if len(classes) < 2:
        raise InputError(f"data.path={path}: holds pictures of {classes}; needs two class folders or more")
    for part, pictures in found.items():
        for name in pictures:
            if name not in classes:
                raise InputError(
                    f"{root / part}: class {name!r} is not among those to train on; {closest(name, classes)}"
                )
    parts: dict[str, tuple[Array, Array]] = {}
    for part, pictures in found.items():
        files = [file for name in pictures for file in pictures[name]]
        y_N = np.repeat([classes.index(name) for name in pictures], [len(each) for each in pictures.values()])
        parts[part] = (_decoded(files, size, channels), y_N)
    shapes = {part: x.shape[1:] for part, (x, _) in parts.items()}
    if len(set(shapes.values())) > 1:
        shown = ", ".join(f"{part} {shape[1]}×{shape[2]}" for part, shape in shapes.items())
        raise InputError(f"{root}: the parts hold pictures of different sizes ({shown}); set data.size")
    return {**parts, "num_classes": len(classes)}  # type: ignore[typeddict-item]  # the keys are names of parts


def _parts(root: Path) -> dict[str, dict[str, list[Path]]]:
    """Part → class → files."""
    folders = {part: root / name for part, names in PARTS.items() for name in names if (root / name).is_dir()}
    if "train" not in folders or len(folders) == 1:
        folders = {"train": root / "train" if len(_folders(root)) == len(folders) == 1 else root}
    return {part: _classes(folder) for part, folder in folders.items()}


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _classes(folder: Path) -> dict[str, list[Path]]:
    from torchvision.datasets.folder import IMG_EXTENSIONS

    found: dict[str, list[Path]] = {}
    for below in _folders(folder):
        files = sorted(path for path in below.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS and path.is_file())
        if not files:
            raise InputError(f"{below}: a class without pictures ({', '.join(IMG_EXTENSIONS)}); fill or remove it")
        found[below.name] = files
    if not found:
        raise InputError(f"{folder}: holds no folders; give one folder of pictures for each class")
    return found


def _decoded(files: Sequence[Path], size: int | None, channels: int) -> npt.NDArray[np.uint8]:
    """The pictures, from the cache where the same files were decoded before."""
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        digest = hashlib.sha256(f"{FORMAT} {size} {channels}".encode())
        for content in pool.map(_digest, files, chunksize=64):
            digest.update(content)
        stored = cache_folder() / "pictures" / f"{digest.hexdigest()[:24]}.npy"
        return mapped(
            stored,
            lambda: (len(files), *_picture(files[0], size, channels).shape),
            lambda pictures: _fill(pictures, files, size, channels, pool),
        )


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); mend or remove it") from error


def _fill(
    pictures: npt.NDArray[np.uint8], files: Sequence[Path], size: int | None, channels: int, pool: ThreadPoolExecutor
) -> None:
    height, width = pictures.shape[2:]

    def fill(i: int) -> None:
        picture = _picture(files[i], size, channels)
        if picture.shape != pictures.shape[1:]:
            raise InputError(
                f"{files[i]}: {picture.shape[1]}×{picture.shape[2]} pixels, {files[0].name} has {height}×{width}; "
                "set data.size to bring all to one size"
            )
        pictures[i] = picture

    console = Console(stderr=True)
    done = pool.map(fill, range(len(files)))
    for _ in track(done, "decoding pictures", total=len(files), console=console, transient=True):
        pass


def _picture(path: Path, size: int | None, channels: int) -> npt.NDArray[np.uint8]:
    """One picture (C, H, W)."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            picture = opened.convert(MODES[channels])
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:  # Pillow's ways of saying no
        raise InputError(f"{path}: cannot be decoded ({one_line(error)}); mend or remove it") from error
    if size is not None:
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)
    pixels_HWC = np.asarray(picture).reshape(picture.height, picture.width, channels)
    return np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1))
