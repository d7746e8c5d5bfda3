"""ImageNet at 32×32: 1.28 million images of 1,000 classes, from the official downsampled batches."""

from __future__ import annotations

import hashlib
import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adamcmp.data.array_cache import cached_array
from adamcmp.data.idx import cache_folder
from adamcmp.data.raw import RawData
from adamcmp.errors import InputError, one_line

TRAIN, TEST = tuple(f"train_data_batch_{i}" for i in range(1, 11)), ("val_data",)
CLASSES, PIXELS = 1000, 3 * 32 * 32
READ = 1 << 24
"""Bytes of a file that are hashed at once."""


class _Arrays(pickle.Unpickler):
    """Reads lists, numbers and numpy arrays, and calls nothing else that a file may name."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {"_reconstruct", "scalar", "ndarray", "dtype", "_frombuffer"}
        if (module.partition(".")[0] == "numpy" and name in allowed) or (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"names {module}.{name}")


def imagenet32(folder: str | Path | None = None) -> RawData:
    """Load images x uint8 (1281167, 3, 32, 32) for training and (50000, 3, 32, 32) for testing, y 0 to 999.

    Reads ``train_data_batch_1`` … ``train_data_batch_10`` and ``val_data`` as published (labels 1 to 1,000). Pixels are
    written once to the user's cache, named by the files' content, and memory-mapped from there (3.9 GB).

    Source: P. Chrabaszcz, I. Loshchilov and F. Hutter, A Downsampled Variant of ImageNet as an Alternative to the CIFAR
    datasets, arXiv 1707.08819.

    Raises:
        InputError: no folder is given, a file is missing, damaged or of another kind.
    """
    if folder is None:
        raise InputError(
            "data.folder is not set; give the folder of train_data_batch_1 … 10 and val_data of ImageNet32"
        )
    root = Path(folder).expanduser()
    lacking = [name for name in (*TRAIN, *TEST) if not (root / name).is_file()]
    if lacking:
        raise InputError(f"{root}: lacks {', '.join(lacking)}; fetch them from image-net.org (Downsampled, 32×32)")
    train, test = (_part([root / name for name in names]) for names in (TRAIN, TEST))
    return {"train": train, "test": test, "num_classes": CLASSES}


def _part(files: list[Path]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return pixels, mapped from the cache, and labels of a part."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(READ):
                digest.update(chunk)
    stored = cache_folder() / "imagenet32" / f"{digest.hexdigest()[:24]}.npy"
    y_N = _labels(files, stored.with_suffix(".labels.npy"))
    return cached_array(stored, lambda: (len(y_N), 3, 32, 32), lambda pixels: _fill(pixels, files)), y_N


def _labels(files: list[Path], stored: Path) -> npt.NDArray[np.int64]:
    """Return the labels from the cache, which is written atomically, or not at all."""
    with suppress(OSError, ValueError):
        labels: npt.NDArray[np.int64] = np.load(stored)
        return labels
    y_N = np.concatenate([_read(path)[1] for path in files])
    temporary = stored.with_name(f"{stored.stem}.{os.getpid()}.tmp.npy")
    with suppress(OSError):
        stored.parent.mkdir(parents=True, exist_ok=True)
        np.save(temporary, y_N)
        temporary.replace(stored)
    return y_N


def _fill(pixels: npt.NDArray[np.uint8], files: list[Path]) -> None:
    """Fill the array, with one file at a time in memory."""
    start = 0
    for path in files:
        x_nP, _ = _read(path)
        pixels[start : start + len(x_nP)] = x_nP.reshape(-1, 3, 32, 32)
        start += len(x_nP)


def _read(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return pixels (n, 3072) and labels from 0 of one batch."""
    again = "replace it by the official file"
    try:
        with path.open("rb") as file:
            batch = _Arrays(file, encoding="latin1").load()
        x_nP, y_n = np.asarray(batch["data"]), np.asarray(batch["labels"])
    except Exception as error:  # a damaged pickle may fail in any way
        raise InputError(
            f"{path}: is no batch of ImageNet32 ({type(error).__name__}: {one_line(error)}); {again}"
        ) from error
    if x_nP.dtype != np.uint8 or x_nP.shape != (len(y_n), PIXELS) or not len(y_n):
        raise InputError(
            f"{path}: data of {x_nP.dtype} {x_nP.shape} for {y_n.shape} labels; needs uint8 (n, {PIXELS}); {again}"
        )
    if not np.issubdtype(y_n.dtype, np.integer) or y_n.min() < 1 or y_n.max() > CLASSES:
        raise InputError(f"{path}: labels from {y_n.min()} to {y_n.max()}, allowed are 1 to {CLASSES}; {again}")
    return x_nP, y_n.astype(np.int64) - 1
