"""The four IDX files in which MNIST and its successors are published: find, download and read them.

It searches a folder or the user's cache, and returns `RawData`. torchvision's own readers parse; this module
explains in one line why they cannot. Format: Y. LeCun, C. Cortes and C. Burges, The MNIST Database, section "File
formats".
"""

from __future__ import annotations

import gzip
import http.client
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import platformdirs
from torch import Tensor

from adamcmp.data.raw import RawData
from adamcmp.errors import InputError

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
MAGIC = {"image": b"\x00\x00\x08\x03", "label": b"\x00\x00\x08\x01"}  # uint8 with 3 axes, uint8 with 1
SIDE = 28
NUM_CLASSES = 10


def load(
    dataset: str,
    *,
    folder: str | Path | None,
    download: bool,
    system_folders: Sequence[Path] = (),
    advice: str = "",
) -> RawData:
    """Read `dataset`, which is torchvision's name for it (``MNIST``, ``FashionMNIST``).

    The files, gzipped or not, are looked for in ``<folder>/<dataset>/raw`` and in `folder`; without a folder
    in the user's cache, then in `system_folders`. `download` fetches them only when none of these has all.

    Raises:
        InputError: if files are missing, damaged or do not belong together, or the download fails.
    """
    root = Path(folder).expanduser() if folder is not None else cache_folder()
    raw = root / dataset / "raw"
    # The cache holds several data sets, whose files bear the same names: only the named folder counts there.
    searched = [raw, root] if folder is not None else [raw, *system_folders]
    place_found = next((place for place in searched if not _missing(place)), None)
    if place_found is None:
        if not download:
            raise InputError(_not_found(dataset, searched, advice))
        _download(dataset, raw)
        place_found = raw
    train, test = (_read_part(place_found, *names) for names in FILES.values())
    return {"train": train, "test": test, "num_classes": NUM_CLASSES}


def cache_folder() -> Path:
    """Return where downloads are kept: ``~/.cache/adamcmp`` on Linux."""
    return Path(platformdirs.user_cache_dir("adamcmp"))


def _path(folder: Path, name: str) -> Path | None:
    """Return the file in `folder`, unpacked or gzipped, or None."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _missing(folder: Path) -> list[str]:
    return [name for names in FILES.values() for name in names if _path(folder, name) is None]


def _not_found(dataset: str, searched: Sequence[Path], advice: str) -> str:
    names = [name for pair in FILES.values() for name in pair]
    begun = next((place for place in searched if len(_missing(place)) < len(names)), None)
    if begun is not None:
        what = f"{begun} lacks {', '.join(_missing(begun))} (or with .gz)"
    else:
        what = f"no {dataset} files in {' or '.join(str(place) for place in searched)}"
    return f"{what}; set data.download=true or data.folder=<where they are>{advice}"


def _download(dataset: str, raw: Path) -> None:
    """Fetch into a temporary folder and move whole files, so that a kill leaves no half file behind."""
    import torchvision

    try:
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=raw) as temporary:
            getattr(torchvision.datasets, dataset)(temporary, download=True)
            for names in FILES.values():
                for name in names:
                    (Path(temporary) / dataset / "raw" / name).replace(raw / name)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        cause = " ".join(str(error).split())
        raise InputError(
            f"could not download {dataset} into {raw} ({cause}); "
            "try again, or fetch the four files by hand and set data.folder"
        ) from error


def _read_part(folder: Path, images_name: str, labels_name: str) -> tuple[Tensor, Tensor]:
    images, labels = _path(folder, images_name), _path(folder, labels_name)
    assert images is not None  # load() reads complete folders only
    assert labels is not None
    x_NHW, y_N = _read(images, "image"), _read(labels, "label")
    if tuple(x_NHW.shape[1:]) != (SIDE, SIDE):
        raise InputError(
            f"{images}: images of {x_NHW.shape[1]}×{x_NHW.shape[2]}, expected {SIDE}×{SIDE}; use the official file"
        )
    if len(x_NHW) != len(y_N):
        raise InputError(
            f"{images} holds {len(x_NHW)} images but {labels} {len(y_N)} labels; take both from one source"
        )
    if y_N.max() >= NUM_CLASSES:
        raise InputError(f"{labels}: label {int(y_N.max())}, allowed are 0 to {NUM_CLASSES - 1}; use the official file")
    return x_NHW.unsqueeze(1), y_N


def _read(path: Path, kind: str) -> Tensor:
    """Return the tensor in one IDX file: uint8 (N, H, W) for kind ``image``, int64 (N,) for ``label``."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    reader = read_image_file if kind == "image" else read_label_file
    again = "replace it by the official file, or delete it and set data.download=true"
    with tempfile.TemporaryDirectory() as temporary:
        plain = path
        try:
            if path.suffix == ".gz":
                plain = Path(temporary) / path.stem
                with gzip.open(path) as packed, plain.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
            with plain.open("rb") as file:
                magic = file.read(4)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: cannot be read ({error}); {again}") from error
        if magic != MAGIC[kind]:
            raise InputError(
                f"{path}: starts with {magic.hex() or 'nothing'}, an IDX {kind} file with {MAGIC[kind].hex()}; {again}"
            )
        try:
            tensor: Tensor = reader(str(plain))
        except (RuntimeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}: truncated, its size is not what its header says; {again}") from error
    return tensor
