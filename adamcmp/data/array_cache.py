"""Large arrays that are made once, and memory-mapped from a cache from then on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PixelArray = npt.NDArray[Any]


def cached_array(
    stored: Path,
    shape: Callable[[], tuple[int, ...]],
    fill: Callable[[PixelArray], None],
    dtype: npt.DTypeLike = np.uint8,
) -> PixelArray:
    """Return the array at ``stored``, which ``fill`` fills where it is not there; in memory where nothing can be kept
    there.

    It is mapped copy-on-write, since torch takes writable memory only; nothing is ever written.
    """
    if not stored.is_file():
        temporary = stored.with_name(f"{stored.name}.{os.getpid()}.tmp")
        try:
            stored.parent.mkdir(parents=True, exist_ok=True)
            array: PixelArray = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape())
        except OSError:  # a cache that cannot be written ends nothing
            array = np.empty(shape(), dtype)
            fill(array)
            return array
        try:
            fill(array)
            array.flush()  # type: ignore[attr-defined]  # open_memmap gives a memmap
            temporary.replace(stored)
        finally:
            temporary.unlink(missing_ok=True)
    cached: PixelArray = np.load(stored, mmap_mode="c")
    return cached
