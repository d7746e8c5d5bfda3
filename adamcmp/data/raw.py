"""Results of data functions, and checks of them.

Takes the dict of arrays (`RawData`) and hands on tensors of one kind in `Split`s; every mistake that can be
named is named here, in one line. Shapes: N examples, C channels, D features, T positions.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, Required, TypeAlias, TypedDict, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adamcmp.data.multi_input import MultiInput
from adamcmp.data.on_disk import DiskRows, MappedArray, to_memory
from adamcmp.errors import InputError, suggest_names
from adamcmp.metrics.spec import Targets

Array: TypeAlias = Tensor | npt.NDArray[Any]
Inputs: TypeAlias = Array | tuple[Array, ...] | Mapping[str, Array]
X: TypeAlias = Tensor | DiskRows | MultiInput

LARGE_BYTES = 256e6
"""Bytes as float32 above which examples are normalized batch by batch, so that images stay uint8."""
CHUNK_NUMBERS = 1 << 24
"""Numbers of a large array that are looked at together."""

FEW_CLASSES = 20
"""Different whole numbers, written as floats, that may be classes."""

SPLITS = ("train", "validation", "test")
X_DTYPES = (torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64)


class RawData(TypedDict, total=False):
    """Result of a data function: a plain dict of pairs ``(x, y)`` with one target per example.

    ``x`` is uint8 (pixels), int64 (tokens) or floating, of shape (N, D) or (N, C, ...); or a tuple or dict of several
    such inputs, which the model gets by position or by name. ``targets`` says what y is: integer ``classes`` of shape
    (N,), or (N, T) for a language model, a label for each position; real ``quantities`` of shape (N,) or (N, D); or
    ``labels``, 0 or 1, of shape (N, L). Without it floating y are quantities, boolean y labels and integers classes.
    ``unit`` is that of the quantities. Parts that are missing are cut from ``train`` by
    ``make_dataset``: at random, or from its end where ``contiguous`` says that its examples follow each other.
    ``token_bytes`` holds, for text, the bytes that each label stands for. Memory-mapped ``x``, such as
    ``np.load(path, mmap_mode="r")``, stay on disk where memory would not hold them. Where ``missing`` is ``median`` or
    ``indicator``, NaN in x of shape (N, D) marks a missing value, see ``imputation.impute``. Examples of equal
    ``groups``, integers of shape (N,) for the train part, are cut into the same part. ``class_names``, ``target_names``
    and ``summary``, pairs of a heading and a text, are shown before training.
    """

    train: Required[tuple[Inputs, Array]]
    validation: tuple[Inputs, Array]
    test: tuple[Inputs, Array]
    targets: str
    unit: str
    num_classes: int
    contiguous: bool
    token_bytes: Array
    missing: str
    groups: Array
    class_names: Sequence[str]
    target_names: Sequence[str]
    summary: Sequence[tuple[str, str]]


class Split(NamedTuple):
    """One part: ``x`` of shape (N, ...), numbers or int64 tokens, and ``y`` as ``RawData`` has it.

    Classes are int64; quantities and labels are floating, (N, D) and (N, L).
    """

    x: X
    y: Tensor

    def take(self, which: Tensor | slice) -> Split:
        """Return some examples, on disk if the split is there."""
        return Split(self.x[which], self.y[which])

    def chunks(self, size: int) -> Iterator[Split]:
        """Return all examples, so many at a time."""
        return (self.take(slice(start, start + size)) for start in range(0, len(self.y), size))


def chunks(x: Tensor | DiskRows) -> Iterator[Tensor]:
    """Return all rows, as many at a time as make ``CHUNK_NUMBERS`` numbers."""
    size = max(1, CHUNK_NUMBERS // max(1, count_numbers(x) // len(x)))
    return (to_memory(x[start : start + size]) for start in range(0, len(x), size))


def count_numbers(x: Tensor | DiskRows) -> int:
    """Return how many there are."""
    return math.prod(x.shape)


def inputs_of(x: X) -> tuple[Tensor | DiskRows, ...]:
    """Return each input of some examples: mostly one."""
    return x.parts if isinstance(x, MultiInput) else (x,)


class CheckedData(NamedTuple):
    """Checked result of a data function."""

    parts: dict[str, Split]
    targets: Targets
    num_outputs: int
    """Classes, quantities or labels."""


def check_raw_data(raw: RawData, name: str, memory: float, targets: str = "auto") -> CheckedData:
    """Return the parts that `raw` holds, as checked tensors on the CPU, and what its targets are.

    Memory-mapped examples that take more than `memory` bytes, and are `LARGE`, stay on disk. `targets`, if it is not
    ``auto``, has the last word.

    Raises:
        InputError: for keys, shapes, dtypes, targets or values that `RawData` does not allow.
    """
    if not isinstance(raw, Mapping):
        raise InputError(
            f"data set {name}: the data function returned {type(raw).__name__}; "
            "return a dict with train=(x, y) and optionally validation and test; or a Dataset of torch, a DataLoader "
            "or a DataFrame instead of each pair, or alone"
        )
    allowed = tuple(RawData.__annotations__)
    for key in raw:
        if key not in allowed:
            raise InputError(f"data set {name}: unknown key {key!r}; {suggest_names(str(key), allowed)}")
    if "train" not in raw:
        raise InputError(f"data set {name}: no train part; return train=(x, y)")

    fields: Mapping[str, Any] = raw
    mapped = [stored for part in SPLITS if (stored := _mapped(fields.get(part)))]
    count = sum(math.prod(array.shape) for array in mapped)
    on_disk = 4 * count > LARGE_BYTES and sum(array.bytes for array in mapped) > memory
    parts = {part: _split(fields[part], part, name, on_disk, "missing" in fields) for part in SPLITS if part in fields}
    kind = _targets(fields.get("targets", "auto") if targets == "auto" else targets, parts["train"].y, name)
    parts = {part: Split(x, _as_targets(y, kind, f"data set {name}: {part}")) for part, (x, y) in parts.items()}
    first = parts["train"].x
    if "missing" in raw and (raw["missing"] not in ("median", "indicator") or _shape_text(first) != 2):
        raise InputError(f"data set {name}: missing={raw['missing']}; give median or indicator, and x of shape (N, D)")
    train = parts["train"]
    for part, split in parts.items():
        for letter, tensor, like in _align_splits(split, train, part, name):
            if tensor.shape[1:] != like.shape[1:] or tensor.dtype != like.dtype:
                raise InputError(
                    f"data set {name}: one example's {letter} is {_kind(tensor)} in {part} but {_kind(like)} "
                    "in train; all parts need the same shape and dtype"
                )
    if kind == "classes":
        return CheckedData(parts, kind, _num_classes(raw.get("num_classes"), parts, name))
    if targets == "auto" and ("num_classes" in raw or "token_bytes" in raw):
        raise InputError(f"data set {name}: num_classes and token_bytes are of classes, its targets are {kind}")
    return CheckedData(parts, kind, train.y.shape[1])


def _shape_text(x: X) -> int:
    return 0 if isinstance(x, MultiInput) else x.ndim


def _align_splits(
    split: Split, like: Split, part: str, name: str
) -> Iterator[tuple[str, Tensor | DiskRows, Tensor | DiskRows]]:
    """Return the corresponding arrays of one split and the training split, with a description of each."""
    several = [inputs for inputs in (split.x, like.x) if isinstance(inputs, MultiInput)]
    if several and (len(several) < 2 or several[0].names != several[1].names):
        raise InputError(f"data set {name}: x holds other inputs in {part} than in train; all parts need the same")
    if several and len(several[0].parts) != len(several[1].parts):
        raise InputError(f"data set {name}: x holds more inputs in one of {part} and train than in the other")
    for i, (own, other) in enumerate(zip(inputs_of(split.x), inputs_of(like.x), strict=True)):
        yield several[0].called(i) if several else "x", own, other
    yield "y", split.y, like.y


def _targets(value: object, y: Tensor, name: str) -> Targets:
    """Return the kind of targets, as declared or as the numbers imply."""
    allowed = get_args(Targets)
    if value == "auto":
        if y.dtype == torch.bool and y.ndim == 2:
            return "labels"
        if not y.is_floating_point():
            return "classes"
        single = y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)
        different = len(torch.unique(y)) if single and bool((y == y.round()).all()) else FEW_CLASSES + 1
        if different <= FEW_CLASSES:
            raise InputError(
                f"data set {name}: y holds {different} different whole numbers as {dtype_name(y)}; give integers "
                "for classes, or say data.targets=quantities"
            )
        return "quantities"
    if value not in allowed:
        raise InputError(f"data set {name}: targets={value!r}; {suggest_names(str(value), allowed)}")
    return value  # type: ignore[return-value]  # it is one of them


def _as_targets(y: Tensor, kind: Targets, where: str) -> Tensor:
    """Return the targets as ``Split`` has them.

    Raises:
        InputError: they are not of this kind.
    """
    if kind == "classes":
        if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
            raise InputError(
                f"{where} y is {dtype_name(y)}; give integer labels counted from 0 (or set data.targets=quantities)"
            )
        if y.ndim > 1 and y[0].numel() < 2:
            raise InputError(f"{where} y has shape {tuple(y.shape)}; give labels of shape ({len(y)},)")
        return y.long()
    if y.is_complex() or (y.ndim != 2 and (kind == "labels" or y.ndim != 1)):
        shape = "(N, L), one column per label" if kind == "labels" else "(N,) or (N, D)"
        raise InputError(f"{where} y is {_kind(y, 0)}; {kind} have shape {shape}")
    wide = y.unsqueeze(1) if y.ndim == 1 else y
    if not all_finite(wide):
        raise InputError(f"{where} y holds values that are not finite; remove those examples first")
    if kind == "labels" and not bool(((wide == 0) | (wide == 1)).all()):
        raise InputError(f"{where} y holds other values than 0 and 1; labels say for each example which of them hold")
    return wide.to(torch.float64 if wide.dtype in (torch.float64, torch.int64, torch.int32) else torch.float32)


def _mapped(pair: object) -> MappedArray | None:
    return MappedArray.of(pair[0]) if isinstance(pair, tuple | list) and len(pair) == 2 else None


def _split(pair: object, part: str, name: str, on_disk: bool, lacks: bool) -> Split:
    where = f"data set {name}: {part}"
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InputError(f"{where} is {type(pair).__name__}; give a pair (x, y) of tensors or numpy arrays")
    stored = _mapped(pair) if on_disk else None
    y = _tensor(pair[1], f"{where} y")
    given = pair[0]
    if not isinstance(given, tuple | list | Mapping):
        x: Tensor | DiskRows = DiskRows.whole(stored) if stored else _tensor(given, f"{where} x")
        _check_input(x, y, f"{where} x", lacks)
        return Split(x, y)
    arrays = list(given.values() if isinstance(given, Mapping) else given)
    if not arrays:
        raise InputError(f"{where} x is empty; give an array, or a tuple or dict of arrays")
    names = tuple(map(str, given)) if isinstance(given, Mapping) else None
    several = MultiInput(tuple(_tensor(array, f"{where} x[{i}]") for i, array in enumerate(arrays)), names)
    for i, column in enumerate(several.parts):
        _check_input(column, y, f"{where} {several.called(i)}", lacks)
    return Split(several, y)


def _check_input(x: Tensor | DiskRows, y: Tensor, where: str, lacks: bool) -> None:
    if x.ndim < 2 or not count_numbers(x):
        raise InputError(f"{where} has shape {tuple(x.shape)}; give (N, D) or (N, C, ...) with at least one example")
    if y.ndim < 1 or len(y) != len(x):
        raise InputError(
            f"{where} has shape {tuple(x.shape)} and y has shape {tuple(y.shape)}; give one target for each example"
        )
    if x.dtype not in X_DTYPES:
        raise InputError(f"{where} is {dtype_name(x)}; give uint8 (pixels), int64 (tokens) or floats of 16 to 64 bits")
    if not all_finite(torch.nan_to_num(x, nan=0.0) if lacks and isinstance(x, Tensor) else x):
        raise InputError(f"{where} holds values that are not finite; remove or fill NaN and inf first")


def _tensor(array: object, what: str) -> Tensor:
    if isinstance(array, Tensor):
        return array.detach().cpu().contiguous()
    is_list = isinstance(array, list) and what.endswith(" y")  # a list x may hold several inputs
    if is_list or type(array).__module__.startswith("pandas."):
        array = np.asarray(array)
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


def _num_classes(value: object, parts: Mapping[str, Split], name: str) -> int:
    ranges = {part: (int(split.y.min()), int(split.y.max())) for part, split in parts.items()}
    if value is None:
        num_classes = 1 + max(high for _, high in ranges.values())
        occurring = sorted(set(torch.cat([split.y.flatten() for split in parts.values()]).tolist()))
        if ranges["train"][0] >= 0 and len(occurring) < num_classes:
            occurring_classes = set(occurring)
            lacking = list(islice((label for label in range(num_classes) if label not in occurring_classes), 6))
            missing_text = ", ".join(map(str, lacking[:5])) + (", …" if len(lacking) > 5 else "")
            raise InputError(
                f"data set {name}: labels run from {occurring[0]} to {num_classes - 1}, and {missing_text} never "
                "occurs: count the classes from 0 without a gap, or return num_classes if that is meant"
            )
    elif isinstance(value, int | np.integer) and not isinstance(value, bool):
        num_classes = int(value)
    else:
        raise InputError(f"data set {name}: num_classes={value!r}; give a whole number, or leave it out")
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
    """Return how many bytes each label stands for, where `raw` says so.

    Raises:
        InputError: there is not one number for each class.
    """
    if "token_bytes" not in raw:
        return None
    counts = _tensor(raw["token_bytes"], f"data set {name}: token_bytes")
    if tuple(counts.shape) != (num_classes,):
        raise InputError(
            f"data set {name}: token_bytes has shape {tuple(counts.shape)}; give one number for each of the "
            f"{num_classes} classes"
        )
    return counts


def all_finite(x: Tensor | DiskRows) -> bool:
    """Return whether no value is NaN or infinite; integers never are."""
    return not x.dtype.is_floating_point or all(bool(torch.isfinite(chunk).all()) for chunk in chunks(x))


def dtype_name(tensor: Tensor | DiskRows) -> str:
    """Return the dtype as users write it: ``uint8`` for ``torch.uint8``."""
    return str(tensor.dtype).removeprefix("torch.")


def _kind(tensor: Tensor | DiskRows, axis: int = 1) -> str:
    return f"{dtype_name(tensor)} of shape {tuple(tensor.shape[axis:])}"
