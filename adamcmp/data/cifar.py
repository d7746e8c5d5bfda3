"""CIFAR-10 and CIFAR-100: 60,000 color images of 32×32, with torchvision's own readers."""

from __future__ import annotations

import http.client
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from adamcmp.data.idx import cache_folder
from adamcmp.data.raw import Array, RawData
from adamcmp.errors import InputError, one_line


def cifar10(folder: str | Path | None = None, download: bool = False) -> RawData:
    """Load images x uint8 (50000, 3, 32, 32) for training and (10000, 3, 32, 32) for testing, y 0 to 9.

    Read from ``cifar-10-batches-py`` or ``cifar-10-python.tar.gz`` in `folder`, else in the user's cache; `download`
    fetches the archive there when neither is.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Raises:
        InputError: if files are missing or damaged, or the download fails.
    """
    return _load("CIFAR10", folder, download)


def cifar100(folder: str | Path | None = None, download: bool = False) -> RawData:
    """Return CIFAR-100 as ``cifar10`` does, from ``cifar-100-python`` or its archive: y 0 to 99, the fine labels.

    Raises:
        InputError: as `cifar10`.
    """
    return _load("CIFAR100", folder, download)


def _load(name: str, folder: str | Path | None, download: bool) -> RawData:
    import torchvision

    reader = getattr(torchvision.datasets, name)
    root = Path(folder).expanduser() if folder is not None else cache_folder()
    unpacked, archive = root / reader.base_folder, root / reader.filename
    there = unpacked.is_dir() or archive.is_file()
    if not there and not download:
        raise InputError(
            f"no {reader.base_folder} and no {reader.filename} in {root}; set data.download=true or "
            "data.folder=<where one of them is>"
        )
    parts: dict[str, tuple[Array, Array]] = {}
    try:
        if not unpacked.is_dir() and archive.is_file():
            _unpack(archive, unpacked)
        for part, is_train in (("train", True), ("test", False)):
            # an archive or a folder that is there is not fetched again: torchvision checks its MD5 sums
            read = reader(str(root), train=is_train, download=download and not there)
            x_NHWC = np.asarray(read.data)
            parts[part] = (np.ascontiguousarray(x_NHWC.transpose(0, 3, 1, 2)), torch.tensor(read.targets).numpy())
    except (OSError, RuntimeError, EOFError, tarfile.TarError, http.client.HTTPException) as error:
        what = "could not be downloaded" if not there else "is damaged or not the official one"
        raise InputError(
            f"{name} in {root} {what} ({one_line(error)}); delete it and set data.download=true, or set data.folder"
        ) from error
    return {**parts, "num_classes": len(read.classes)}  # type: ignore[typeddict-item]  # the keys are train and test


def _unpack(archive: Path, folder: Path) -> None:
    """Write the archive's files of that folder, and nothing anywhere else; all of them or none."""
    with tarfile.open(archive) as packed, tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        unpacked = Path(temporary) / folder.name
        unpacked.mkdir()
        for member in packed:
            path = PurePosixPath(member.name)
            if member.isfile() and path.parent.as_posix() == folder.name:
                content = packed.extractfile(member)
                assert content is not None  # a regular file has some
                (unpacked / path.name).write_bytes(content.read())
        unpacked.rename(folder)
