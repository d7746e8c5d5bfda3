"""MNIST: 70,000 handwritten digits of 28×28 pixels."""

from __future__ import annotations

from pathlib import Path

from adamcmp.data import idx
from adamcmp.data.raw import RawData


def mnist(folder: str | Path | None = None, download: bool = False) -> RawData:
    """Load images x uint8 (60000, 1, 28, 28) for training and (10000, 1, 28, 28) for testing, y 0 to 9.

    Read from `folder`, else from the user's cache; `download` fetches the files there when there are none.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-Based Learning Applied to Document
    Recognition, Proceedings of the IEEE 86(11), 1998.

    Raises:
        InputError: if files are missing, damaged or do not belong together, or the download fails.
    """
    return idx.load("MNIST", folder=folder, download=download)
