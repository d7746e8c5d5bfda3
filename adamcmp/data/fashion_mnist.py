"""Fashion-MNIST: 70,000 gray images of clothes, a drop-in replacement for MNIST that is harder to solve."""

from __future__ import annotations

from pathlib import Path

from adamcmp.data import idx
from adamcmp.data.raw import RawData

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def fashion_mnist(folder: str | Path | None = None, download: bool = False) -> RawData:
    """Load images x uint8 (60000, 1, 28, 28) for training and (10000, 1, 28, 28) for testing, y 0 to 9.

    Read from `folder`, else from the user's cache or Debian's package ``dataset-fashion-mnist``; `download`
    fetches the files into the folder or the cache when there are none.

    Source: H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, arXiv 1708.07747.

    Raises:
        InputError: if files are missing, damaged or do not belong together, or the download fails.
    """
    return idx.load(
        "FashionMNIST",
        folder=folder,
        download=download,
        system_folders=(DEBIAN,),
        advice=", or on Debian install dataset-fashion-mnist",
    )
