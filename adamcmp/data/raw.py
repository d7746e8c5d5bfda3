"""What a data function returns, and the checks that it passes before anything else is done with it.

Takes the dict of arrays (`RawData`) and hands on tensors of one kind in `Split`s; every mistake that can be
named is named here, in one line. Shapes: N examples, C channels, D features, T positions.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Required, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adamcmp.data.rows import Rows, Stored, in_memory
from adamcmp.errors import InputError, closest

Array: TypeAlias = Tensor | npt.NDArray[Any]

LARGE = 256e6
"""Bytes as float32 above which examples are normalised batch by batch, so that pictures stay uint8."""
AT_ONCE = 1 << 24
"""Numbers of a large array that are looked at together."""

PARTS = ("train", "validation", "test")
X_DTYPES = (torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64)


class RawData(TypedDict, total=False):
    """What a data function returns: a plain dict of pairs ``(x, y)`` with one label for each example.

    ``x`` is uint8 (pixels), int64 (tokens) or floating, of shape (N, D) or (N, C, ...); ``y`` holds integers.
    For language models y is (N, T), a label for each position. Parts that are missing are cut from ``train`` by
    `prepare`: at random, or from its end where ``contiguous`` says that its examples follow each other.
    ``token_bytes`` holds, for text, the bytes that each label stands for. Memory-mapped ``x``, such as
    ``np.load(path, mmap_mode="r")``, stay on disk where memory would not hold them. Where ``missing`` is ``median`` or
    ``indicator``, NaN in x of shape (N, D) marks a missing value, see ``missing.filled``.
    """

    train: Required[tuple[Array, Array]]
    validation: tuple[Array, Array]
    test: tuple[Array, Array]
    num_classes: int
    contiguous: bool
    token_bytes: Array
    missing: str


class Split(NamedTuple):
    """One part: ``x`` of shape (N, ...), numbers or int64 tokens, and ``y`` int64 of shape (N,) or (N, T)."""

    x: Tensor | Rows
    y: Tensor

    def take(self, which: Tensor | slice) -> Split:
        """Some examples, on disk where the part lies there."""
        return Split(self.x[which], self.y[which])

    def chunks(self, size: int) -> Iterator[Split]:
        """All examples, so many at a time."""
        return (self.take(slice(start, start + size)) for start in range(0, len(self.y), size))


def chunks(x: Tensor | Rows) -> Iterator[Tensor]:
    """All rows, as many at a time as make ``AT_ONCE`` numbers."""
    size = max(1, AT_ONCE // max(1, numbers(x) // len(x)))
    return (in_memory(x[start : start + size]) for start in range(0, len(x), size))


def numbers(x: Tensor | Rows) -> int:
    """How many there are."""
    return math.prod(x.shape)


def read(raw: RawData, name: str, memory: float) -> tuple[dict[str, Split], int]:
    """The parts that `raw` holds, as checked tensors on the CPU, and the number of classes.

    Memory-mapped examples that take more than `memory` bytes, and are `LARGE`, stay on disk.

    Raises:
        InputError: for keys, shapes, dtypes, labels or values that `RawData` does not allow.
    """
    if not isinstance(raw, Mapping):
        raise InputError(
            f"data set {name}: the data function returned {type(raw).__name__}; "
            "return a dict with train=(x, y) and, where there are such parts, validation and test"
        )
    allowed = (*PARTS, "num_classes", "contiguous", "token_bytes", "missing")
    for key in raw:
        if key not in allowed:
            raise InputError(f"data set {name}: unknown key {key!r}; {closest(str(key), allowed)}")
    if "train" not in raw:
        raise InputError(f"data set {name}: no train part; return train=(x, y)")

    given: Mapping[str, Any] = raw
    mapped = [stored for part in PARTS if (stored := _mapped(given.get(part)))]
    count = sum(math.prod(each.shape) for each in mapped)
    on_disk = 4 * count > LARGE and sum(each.bytes for each in mapped) > memory
    parts = {part: _split(given[part], part, name, on_disk, "missing" in given) for part in PARTS if part in given}
    if "missing" in raw and (raw["missing"] not in ("median", "indicator") or parts["train"].x.ndim != 2):
        raise InputError(f"data set {name}: missing={raw['missing']}; give median or indicator, and x of shape (N, D)")
    train = parts["train"]
    for part, split in parts.items():
        for letter, tensor, like in zip("xy", split, train, strict=True):
            if tensor.shape[1:] != like.shape[1:] or tensor.dtype != like.dtype:
                raise InputError(
                    f"data set {name}: one example's {letter} is {_kind(tensor)} in {part} but {_kind(like)} "
                    "in train; all parts need the same shape and dtype"
                )
    return parts, _num_classes(raw.get("num_classes"), parts, name)


def _mapped(pair: object) -> Stored | None:
    return Stored.of(pair[0]) if isinstance(pair, tuple | list) and len(pair) == 2 else None


def _split(pair: object, part: str, name: str, on_disk: bool, lacks: bool) -> Split:
    where = f"data set {name}: {part}"
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InputError(f"{where} is {type(pair).__name__}; give a pair (x, y) of tensors or numpy arrays")
    stored = _mapped(pair) if on_disk else None
    x: Tensor | Rows = Rows.whole(stored) if stored else _tensor(pair[0], f"{where} x")
    y = _tensor(pair[1], f"{where} y")
    if x.ndim < 2 or not numbers(x):
        raise InputError(f"{where} x has shape {tuple(x.shape)}; give (N, D) or (N, C, ...) with at least one example")
    if y.ndim < 1 or len(y) != len(x):
        raise InputError(
            f"{where} has x of shape {tuple(x.shape)} and y of shape {tuple(y.shape)}; give one label for each example"
        )
    if y.ndim > 1 and y[0].numel() < 2:
        raise InputError(f"{where} y has shape {tuple(y.shape)}; give labels of shape ({len(y)},)")
    if x.dtype not in X_DTYPES:
        raise InputError(
            f"{where} x is {dtype_name(x)}; give uint8 (pixels), int64 (tokens) or floats of 16 to 64 bits"
        )
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise InputError(f"{where} y is {dtype_name(y)}; give integer labels counted from 0")
    if not all_finite(torch.nan_to_num(x, nan=0.0) if lacks and isinstance(x, Tensor) else x):
        raise InputError(f"{where} x holds values that are not finite; remove or fill NaN and inf first")
    return Split(x, y.long())


def _tensor(array: object, what: str) -> Tensor:
    if isinstance(array, Tensor):
        return array.detach().cpu().contiguous()
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufc":
        kind = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"{what} is {kind}; give a torch tensor or a numpy array of numbers")
    # torch takes native byte order only, and warns of memory that cannot be written, which nobody does here
    native = np.require(array, dtype=array.dtype.newbyteorder("="), requirements=["C"])
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            return torch.from_numpy(native)
    except TypeError:
        raise InputError(f"{what} has numpy dtype {array.dtype}, which torch lacks; convert it first") from None


def _num_classes(given: object, parts: Mapping[str, Split], name: str) -> int:
    ranges = {part: (int(split.y.min()), int(split.y.max())) for part, split in parts.items()}
    if given is None:
        num_classes = 1 + max(high for _, high in ranges.values())
        occurring = sorted(set(torch.cat([split.y.flatten() for split in parts.values()]).tolist()))
        if ranges["train"][0] >= 0 and len(occurring) < num_classes:
            lacking = sorted(set(range(num_classes)) - set(occurring))
            shown = ", ".join(map(str, lacking[:5])) + (", …" if len(lacking) > 5 else "")
            raise InputError(
                f"data set {name}: labels run from {occurring[0]} to {num_classes - 1}, and {shown} never "
                "occurs: count the classes from 0 without a gap, or return num_classes if that is meant"
            )
    elif isinstance(given, int | np.integer) and not isinstance(given, bool):
        num_classes = int(given)
    else:
        raise InputError(f"data set {name}: num_classes={given!r}; give a whole number, or leave it out")
    for part, (low, high) in ranges.items():
        if low < 0 or high >= num_classes:
            raise InputError(
                f"data set {name}: {part} labels run from {low} to {high}, "
                f"allowed are 0 to {num_classes - 1}; count the classes from 0 and check num_classes"
            )
    if num_classes < 2:
        raise InputError(f"data set {name}: num_classes={num_classes}; a classifier needs at least 2")
    return num_classes


def token_bytes(raw: RawData, num_classes: int, name: str) -> Tensor | None:
    """How many bytes each label stands for, where `raw` says so.

    Raises:
        InputError: there is not one number for each class.
    """
    if "token_bytes" not in raw:
        return None
    found = _tensor(raw["token_bytes"], f"data set {name}: token_bytes")
    if tuple(found.shape) != (num_classes,):
        raise InputError(
            f"data set {name}: token_bytes has shape {tuple(found.shape)}; give one number for each of the "
            f"{num_classes} classes"
        )
    return found


def all_finite(x: Tensor | Rows) -> bool:
    """Whether no value is NaN or infinite; integers never are."""
    return not x.dtype.is_floating_point or all(bool(torch.isfinite(each).all()) for each in chunks(x))


def dtype_name(tensor: Tensor | Rows) -> str:
    """The dtype as users write it: ``uint8`` for ``torch.uint8``."""
    return str(tensor.dtype).removeprefix("torch.")


def _kind(tensor: Tensor | Rows) -> str:
    return f"{dtype_name(tensor)} of shape {tuple(tensor.shape[1:])}"
