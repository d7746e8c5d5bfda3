"""Any folder of images: one folder per class, decoded once in parallel and kept as a memory-mapped array."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adamcmp.data.image_files import MODES, Look, check_depths, decode_images
from adamcmp.data.raw import Array, RawData
from adamcmp.errors import InputError, suggest_names

PARTS = {"train": r"train(ing)?", "validation": r"val(id(ation)?)?|dev", "test": r"test(ing)?"}
"""Names of a part's folder in any capitals; ``set``, ``data`` or ``images`` may follow."""
SHOWN = {
    "1": "black and white", "L": "grey", "LA": "gray with alpha", "P": "palette", "PA": "palette with alpha",
    "RGB": "colour", "RGBA": "color with alpha", "F": "float", "I": "32-bit", "I;16": "16-bit", "I;16B": "16-bit",
}  # fmt: skip
"""Pillow's modes in words."""
FURTHER = (".gif", ".jfif", ".jpe", ".avif", ".jp2", ".j2k", ".tga", ".pbm", ".pnm", ".dib")
"""Extensions that torchvision does not name, but Pillow reads."""
COMPARED = 200
"""Images that are compared with the first one at a time."""


def image_folder(
    path: str | Path | None = None,
    size: int | None = None,
    channels: int = 3,
    background: str = "white",
    nested: bool = False,
) -> RawData:
    """Read images x (N, C, S, S), y by the class folders' sorted names.

    ``path/<class>/*.jpg`` is cut by fractions; ``path/train/<class>/…`` with ``path/test/<class>/…`` or
    ``path/validation/<class>/…`` (also ``training``, ``valid``, ``val``, ``dev``, ``testing``, in any capitals) keeps
    its parts. Images of 8 bits are uint8, deeper ones float32 with their own values. They are turned as their EXIF
    data say, and transparent ones are laid on ``background``. The decoded images are in the user's cache, named by the
    content of all files, and are memory-mapped from there.

    Args:
        path: the folder. Hidden files and folders in it are left out.
        size: S; larger or smaller images are scaled so that their shorter side has it, and cropped at the centre.
            Without it all must have one size, (N, C, H, W).
        channels: 3, or 1 for gray.
        background: a color such as ``white``, ``black`` or ``#808080``.
        nested: take folders inside class folders as parts of the class, even if they look like splits.

    Raises:
        InputError: no such folder, no images or a class without any, one that cannot be decoded, images of several
            sizes without `size` or of several depths, a class that is not among those to train on, folders that look
            like splits under other names.
    """
    if path is None:
        raise InputError("data.path is not set; give a folder that holds a folder of images for each class")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise InputError(f"data.path={path}: no such folder")
    if size is not None and (type(size) is not int or size < 1):
        raise InputError(f"data.size={size}: must be ≥ 1 and whole, or null for images of one size")
    if channels not in MODES:
        raise InputError(f"data.channels={channels}: must be 3 (color) or 1 (gray)")
    colour = _colour(background)
    by_split, left_out = _parts(root, nested=bool(nested))
    classes = sorted(by_split["train"])
    if len(classes) < 2:
        raise InputError(f"data.path={path}: holds images of {classes}; needs two class folders or more")
    for part, images in by_split.items():
        for name in images:
            if name not in classes:
                hint = suggest_names(name, classes)
                raise InputError(f"{root}: class {name!r} of the {part} part is not among those to train on; {hint}")
    alike: dict[str, str] = {}
    for name in classes:
        other = alike.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            raise InputError(
                f"{root}: the folders {other!r} and {name!r} differ only in letter case or blanks; rename one"
            )
    parts: dict[str, tuple[Array, Array]] = {}
    looks: list[Look] = []
    for part, images in by_split.items():
        files = [file for name in images for file in images[name]]
        y_N = np.repeat([classes.index(name) for name in images], [len(image) for image in images.values()])
        x, seen = decode_images(files, size, channels, colour)
        looks += seen
        parts[part] = (x, y_N)
    shapes = {part: x.shape[1:] for part, (x, _) in parts.items()}
    if len(set(shapes.values())) > 1:
        sizes = ", ".join(f"{part} {shape[1]}×{shape[2]}" for part, shape in shapes.items())
        raise InputError(f"{root}: the parts hold images of different sizes ({sizes}); set data.size")
    check_depths(looks, str(root))
    if len(looks) > 2 and _are_all_alike([x for x, _ in parts.values()]):
        raise InputError(f"{root}: all images have the same pixels on data.background={background}; set another one")
    summary = list(_summary(looks, left_out, size, channels, background))
    raw: Any = {**parts, "num_classes": len(classes), "class_names": classes, "summary": summary}
    return raw  # type: ignore[no-any-return]


def _are_all_alike(xs: Sequence[Array]) -> bool:
    """Return whether all images have the same pixels; mostly the first few show that they do not."""
    starts = ((x, start) for x in xs for start in range(0, len(x), COMPARED))
    return all(bool((x[start : start + COMPARED] == xs[0][0]).all()) for x, start in starts)


def _colour(background: str) -> tuple[int, int, int]:
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(str(background))[:3]
    except ValueError as error:
        raise InputError(f"data.background={background}: no such color; give white, black or #808080") from error


def _summary(
    looks: Sequence[Look], left_out: Mapping[str, int], size: int | None, channels: int, background: str
) -> Iterator[tuple[str, str]]:
    """Yield how files were read."""
    modes = Counter(look.mode for look in looks)
    resized = f", scaled and cropped to {size} × {size}" if size is not None else ""
    kinds = ", ".join(f"{count:,} {SHOWN.get(mode, mode)}" for mode, count in modes.most_common())
    yield "data", f"{len(looks):,} images ({kinds}){resized}"
    colour = {"RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "P", "PA"}
    if channels == 1 and (coloured := sum(modes[mode] for mode in colour)):
        yield "converted", f"{coloured:,} from color to gray"
    for text, count in (
        ("turned as their EXIF data say", sum(look.is_turned for look in looks)),
        (f"with transparency, laid on {background}", sum(look.is_transparent for look in looks)),
        ("with several frames, of which the first is read", sum(look.is_animated for look in looks)),
        ("with 16 bits per color, of which Pillow keeps 8", sum(look.is_narrowed for look in looks)),
    ):
        if count:
            yield "converted", f"{count:,} {text}"
    if left_out := {name: count for name, count in left_out.items() if count}:
        yield "left out", ", ".join(f"{count:,} {name}" for name, count in sorted(left_out.items()))


def part_of(name: str) -> str | None:
    """Return the part whose folder has this name; None if it is no name of a part."""
    for part, pattern in PARTS.items():
        if re.fullmatch(rf"({pattern})([ _-]?(set|data|images|imgs))?", name, re.IGNORECASE):
            return part
    return None


def _parts(root: Path, *, nested: bool) -> tuple[dict[str, dict[str, list[Path]]], Counter[str]]:
    """Return files by part and class, and the number of files left out by extension."""
    below = _folders(root)
    named: dict[str, list[Path]] = {}
    for folder in below:
        if part := part_of(folder.name):
            named.setdefault(part, []).append(folder)
    for part, several in named.items():
        if len(several) > 1:
            folder_names = " and ".join(folder.name for folder in several)
            raise InputError(f"{root}: {folder_names} both look like the {part} part; rename or remove one of them")
    folders = {part: several[0] for part, several in named.items()}
    left_out: Counter[str] = Counter()
    if "train" not in folders or len(folders) == 1:
        only_train = "train" in folders and len(below) == 1
        folders = {"train": folders["train"] if only_train else root}
    else:
        left_out.update(f"folder {folder.name}" for folder in below if folder not in folders.values())
    folders = {part: folders[part] for part in PARTS if part in folders}
    return {part: _classes(folder, left_out, nested=nested) for part, folder in folders.items()}, left_out


def _is_hidden(path: Path, root: Path) -> bool:
    return any(name.startswith(".") or name == "__MACOSX" for name in path.relative_to(root).parts)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path, folder))


def _check_not_splits(folder: Path, classes: Sequence[Path]) -> None:
    """Refuse folders that look like splits under other names, or that hold splits."""
    inside = {class_: [below.name for below in _folders(class_)] for class_ in classes}
    for parent, names in inside.items():
        splits = [name for name in names if part_of(name)]
        if len(splits) > 1:
            raise InputError(
                f"{parent}: holds {' and '.join(splits)}; put the folders of splits above those of classes, or set "
                "data.nested=true to take all as one class"
            )
    empty = [class_ for class_ in classes if inside[class_] and not any(path.is_file() for path in class_.iterdir())]
    shared = set.intersection(*(set(inside[folder]) for folder in empty)) if len(empty) > 1 else set()
    if len(empty) == len(classes) and len(shared) > 1:
        folder_names = ", ".join(folder.name for folder in empty[:3])
        raise InputError(
            f"{folder}: {folder_names} all hold the folders {', '.join(sorted(shared)[:3])}, as splits do; "
            "name them train, validation and test, or set data.nested=true if they are classes"
        )


def _classes(folder: Path, left_out: Counter[str], *, nested: bool) -> dict[str, list[Path]]:
    from PIL import Image
    from torchvision.datasets.folder import IMG_EXTENSIONS

    suffixes = {*IMG_EXTENSIONS, *(suffix for suffix in FURTHER if suffix in Image.registered_extensions())}
    files: dict[str, list[Path]] = {}
    below = _folders(folder)
    if not nested:
        _check_not_splits(folder, below)
    for candidate in below:
        images: list[Path] = []
        for path in sorted(candidate.rglob("*")):
            if path.is_file() and not _is_hidden(path, folder):
                suffix = path.suffix.lower()
                if suffix in suffixes:
                    images.append(path)
                else:
                    left_out[suffix or "files without extension"] += 1
            elif path.is_symlink():
                left_out["links to folders or to nothing"] += not path.is_file()
        if not images:
            raise InputError(f"{candidate}: a class without images ({', '.join(sorted(suffixes))}); fill or remove it")
        files[candidate.name] = images
    if not files:
        raise InputError(f"{folder}: holds no folders; give one folder of images for each class")
    left_out.update(
        path.suffix.lower() for path in folder.iterdir() if path.is_file() and path.suffix.lower() in suffixes
    )
    return files
