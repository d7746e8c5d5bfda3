"""Arrays of an NPZ file: which of them are inputs, labels and parts, and how images and labels are laid out."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adamcmp.data.raw import RawData
from adamcmp.errors import InputError, one_line, suggest_names

INPUTS = ("auto", "numbers", "tokens")
LAYOUTS = ("auto", "channels_first", "channels_last")
CHANNELS = (1, 3, 4)
SPLIT_NAMES = {
    "": "train", "train": "train", "test": "test", "validation": "validation", "valid": "validation",
    "val": "validation",
}  # fmt: skip


def read_npz(path: Path, *, missing: str, unit: str, targets: str, inputs: str, layout: str) -> RawData:
    """Read the arrays of an NPZ file: x and y, or x_train and y_train, and those of other parts; also in capitals.

    Images with channels last are transposed to (N, C, H, W), whole numbers are taken as numbers or tokens as
    ``inputs`` says, and one-hot labels become classes.

    Raises:
        InputError: it cannot be read, has other arrays, or one that may mean two things.
    """
    for option, value, allowed in (("inputs", inputs, INPUTS), ("layout", layout, LAYOUTS)):
        if value not in allowed:
            raise InputError(f"data.{option}={value}: not known; {suggest_names(str(value), allowed)}")
    arrays = _read(path)
    parts: dict[str, dict[str, str]] = {}
    other_names: list[str] = []
    for name in arrays:
        match = re.fullmatch(r"(x|y|inputs|labels)(?:_(\w+))?|(train|test|val|valid|validation)_(x|y)", name, re.I)
        letter, part = (match[1] or match[4], match[2] or match[3] or "") if match else ("", "")
        letter = {"inputs": "x", "labels": "y"}.get(letter.lower(), letter.lower())
        if match and part.lower() in SPLIT_NAMES and letter not in parts.get(SPLIT_NAMES[part.lower()], {}):
            parts.setdefault(SPLIT_NAMES[part.lower()], {})[letter] = name
        else:
            other_names.append(name)
    for letter in ("x", "y"):
        if letter not in parts.get("train", {}):
            held = ", ".join(arrays) or "nothing"
            raise InputError(f"{path}: has no array {letter!r} but {held}; save it as np.savez(path, x=…, y=…)")
    summary = [("data", f"arrays {', '.join(name for part in parts.values() for name in part.values())}")]
    if other_names:
        summary.append(("left out", f"arrays {', '.join(other_names)}"))
    raw: Any = {}
    for part, names in parts.items():
        if len(names) < 2:
            lacking = "y" if "x" in names else "x"
            raise InputError(f"{path}: the {part} part has no array {lacking!r}; save both, or neither")
        x, note = _inputs(arrays[names["x"]], arrays[names["y"]], str(path), inputs, layout)
        y, also = _labels(arrays[names["y"]], x, targets, str(path))
        raw[part] = (x, y)
        summary += [("converted", text) for text in (*note, *also) if ("converted", text) not in summary]
    if all(pair[1].ndim == 1 and pair[1].dtype.kind in "iu" for pair in raw.values()):
        for part in raw:
            unknown = np.setdiff1d(raw[part][1], raw["train"][1])
            if len(unknown):
                raise InputError(
                    f"{path}: class {unknown[0]} occurs in the {part} part alone, so no model can learn it"
                )
    raw["summary"] = summary
    raw |= {"missing": missing} if missing != "refuse" else {}
    raw |= {"unit": unit} if unit else {}
    return raw  # type: ignore[no-any-return]


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.expanduser().open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise InputError(f"data.path={path}: no such file") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        reason = one_line(error)
        if "allow_pickle" in reason:
            reason = "an array of Python objects; save numbers, such as x.astype(float), or texts"
        raise InputError(f"{path}: cannot be read as .npz ({reason}); correct or replace it") from error


def _inputs(
    x: npt.NDArray[Any], y: npt.NDArray[Any], where: str, inputs: str, layout: str
) -> tuple[npt.NDArray[Any], list[str]]:
    notes: list[str] = []
    last = layout == "channels_last"
    if last and x.ndim != 4:
        raise InputError(f"{where}: data.layout=channels_last is for images (N, H, W, C); x has shape {x.shape}")
    if x.ndim == 4 and layout == "auto" and x.shape[3] in CHANNELS and x.shape[1] not in CHANNELS:
        last = True
        notes.append(f"x {x.shape[1:]} has its channels last and is transposed (data.layout=channels_first keeps it)")
    if last and x.ndim == 4:
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    is_integer = x.dtype.kind in "iu" and x.dtype != np.uint8
    if x.dtype == np.bool_ or (inputs == "numbers" and x.dtype.kind in "iu"):
        return x.astype(np.float64), notes
    if not is_integer or inputs == "tokens" or (x.ndim == 2 and y.shape == x.shape and y.dtype.kind in "iu"):
        return (x.astype(np.int64) if is_integer else x), notes
    if x.ndim > 2 or int(x.min(initial=0)) < 0:
        return x.astype(np.float64), [*notes, "whole numbers x taken as numbers (data.inputs)"]
    raise InputError(
        f"{where}: x holds whole numbers ({x.dtype}, {x.shape}), which may be numbers or tokens of a text; set "
        "data.inputs=numbers or data.inputs=tokens"
    )


def _labels(y: npt.NDArray[Any], x: npt.NDArray[Any], targets: str, where: str) -> tuple[npt.NDArray[Any], list[str]]:
    if y.dtype.kind in "US":
        raise InputError(
            f"{where}: y holds texts; give classes counted from 0, as np.unique(y, return_inverse=True) does"
        )
    if (
        y.dtype == np.bool_
        or targets not in ("auto", "classes")
        or y.ndim != 2
        or y.shape[1] < 2
        or y.shape[0] != x.shape[0]
    ):
        return y, []
    is_text = x.dtype == np.int64 and x.shape == y.shape
    if is_text or not np.isin(y, [0, 1]).all():
        if targets == "auto" and y.dtype.kind in "iu" and not is_text:
            raise InputError(
                f"{where}: y has {y.shape[1]} whole numbers per example; set data.targets=quantities for numbers, or "
                "save one class per example"
            )
        return y, []
    if (y.sum(1) == 1).all():
        return y.argmax(1).astype(np.int64), [
            f"one-hot y {y.shape} taken as {y.shape[1]} classes (else data.targets=labels)"
        ]
    return y.astype(np.bool_), [f"y of 0 and 1 {y.shape} taken as {y.shape[1]} labels"]
