"""Data sets of PyTorch and DataFrames of pandas, as data functions return them, turned into plain arrays.

A map-style ``torch.utils.data.Dataset`` is read once, example by example; what would not fit into memory is written
to a memory-mapped file in the user's cache, named by its content.
"""

from __future__ import annotations

import hashlib
import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

from adamcmp.data.array_cache import cached_array
from adamcmp.data.idx import cache_folder
from adamcmp.data.raw import LARGE_BYTES, SPLITS
from adamcmp.errors import InputError, describe_exception

INPUT_KEYS = ("x", "input", "inputs", "image", "pixel_values", "input_ids", "features", "data")
TARGET_KEYS = ("y", "label", "labels", "target", "targets")


def plain_arrays(data: Any, name: str) -> Any:
    """Turn the result of a data function into the dict of arrays that ``RawData`` describes, if it is none yet.

    Raises:
        InputError: an object that cannot be read to its end, or examples that are no pairs.
    """
    if isinstance(data, Dataset | DataLoader) or _is_frame(data):
        data = {"train": data}
    if not isinstance(data, Mapping):
        return data
    parts = {part: data[part] for part in SPLITS if part in data}
    if any(_is_frame(part) for part in parts.values()):
        return _from_frames(data, parts, name)
    changed = {part: value for part, value in parts.items() if isinstance(value, Dataset | DataLoader)}
    if not changed:
        return data
    raw = dict(data)
    lines = list(data.get("summary", ()))
    for part, value in changed.items():
        raw[part], notes = _read(value, f"data set {name}: {part}")
        lines += [line for line in notes if line not in lines]
    raw["summary"] = lines
    return raw


def _is_frame(part: Any) -> bool:
    pd = sys.modules.get("pandas")  # which whoever made a frame has imported
    return pd is not None and (
        isinstance(part, pd.DataFrame)
        or (isinstance(part, tuple | list) and len(part) == 2 and isinstance(part[0], pd.DataFrame))
    )


def _from_frames(tables: Mapping[str, Any], parts: Mapping[str, Any], name: str) -> Any:
    """Read DataFrames as tables: each with its targets, or as pairs of features and targets."""
    import pandas as pd

    # imported here: it takes 0.1 s, and most data sets are no tables
    from adamcmp.data.read_table import from_frame
    from adamcmp.data.table import from_frames

    label, frames = tables.get("label"), {}
    for part, value in parts.items():
        frame = value
        if _is_frame(value) and not isinstance(value, pd.DataFrame):
            if isinstance(value[1], pd.Series) and not value[0].index.equals(value[1].index):
                raise InputError(
                    f"data set {name}: the DataFrame and the Series of {part} have other indices; give both the "
                    "same, or reset them"
                )
            frame = value[0].reset_index(drop=True)
            label = "target" if getattr(value[1], "name", None) is None else str(value[1].name)
            if label in map(str, frame.columns):
                raise InputError(f"data set {name}: column {label!r} is a feature and the target; rename one of them")
            frame = frame.assign(**{label: np.asarray(value[1])})
        if not isinstance(frame, pd.DataFrame):
            raise InputError(f"data set {name}: {part} is {type(value).__name__}; give a DataFrame as for the others")
        frames[part] = from_frame(frame)
    first = list(frames["train"].columns) if "train" in frames else []
    if any(list(frame.columns) != first for frame in frames.values()):
        raise InputError(f"data set {name}: the parts' DataFrames have other columns; all need the same, in one order")
    options = {key: value for key, value in tables.items() if key not in (*SPLITS, "label")}
    try:
        return from_frames(frames, f"data set {name}", label=label, **options)
    except InputError as error:
        hint = "settings of a DataFrame are keys of the dict: return {'train': frame, 'label': …, 'drop': […]}"
        raise InputError(f"{error} ({hint})") from error
    except TypeError as error:
        raise InputError(
            f"data set {name}: {describe_exception(error)}; beside DataFrames give settings of data=table"
        ) from error


def _read(value: Any, where: str) -> tuple[tuple[Any, Any], list[tuple[str, str]]]:
    """Read a data set or loader to its end."""
    notes: list[tuple[str, str]] = []
    if isinstance(value, DataLoader):
        usual = type(value.sampler) in (SequentialSampler, RandomSampler) or value.batch_size is None
        if usual and value.collate_fn is default_collate and not isinstance(value.dataset, IterableDataset):
            notes.append(("note", "a DataLoader's data set is read; its batch size and order are not used"))
            value = value.dataset
        else:
            notes.append(("note", "a DataLoader is read once; its batches are not used in training"))
            return _batches(value, where), notes
    if isinstance(value, TensorDataset):
        if len(value.tensors) < 2:
            raise InputError(f"{where} is a TensorDataset of {len(value.tensors)} tensors; give inputs and targets")
        *inputs, y = value.tensors
        return (inputs[0] if len(inputs) == 1 else tuple(inputs), y), notes
    if isinstance(value, IterableDataset) or not hasattr(value, "__len__"):
        raise InputError(f"{where} is a {type(value).__name__} without a length; give one with __len__ and __getitem__")
    notes.insert(0, ("data", f"{type(value).__name__}, read once"))
    return _examples(value, where, notes), notes


def _batches(loader: Any, where: str) -> tuple[Any, Any]:
    pairs = [_pair(batch, where) for batch in loader]
    if not pairs:
        raise InputError(f"{where} is a DataLoader without batches; give examples")
    xs = [torch.as_tensor(x) for x, _ in pairs]
    return torch.cat(xs), torch.cat([torch.as_tensor(y) for _, y in pairs])


def _examples(dataset: Any, where: str, notes: list[tuple[str, str]]) -> tuple[Any, Any]:
    count = len(dataset)
    if not count:
        raise InputError(f"{where} is a {type(dataset).__name__} of length 0; give examples")

    def pair(i: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        try:
            x, y = _pair(dataset[i], where)
        except InputError:
            raise
        except Exception as error:  # a custom data set may fail in any way
            raise InputError(f"{where}: example {i} cannot be read ({describe_exception(error)})") from error
        return _array(x, f"{where}: x of example {i}"), _array(y, f"{where}: y of example {i}")

    first, again = pair(0), pair(0)
    if not np.array_equal(first[0], again[0]):
        notes.append(("warning", "its examples change from reading to reading; training sees one draw of each"))
    shape, dtype = first[0].shape, first[0].dtype
    ys = np.empty((count, *first[1].shape), first[1].dtype)

    def fill(x_N: npt.NDArray[Any]) -> None:
        for i in range(count):
            x, y = pair(i)
            if x.shape != shape or y.shape != first[1].shape or x.dtype != dtype or y.dtype != first[1].dtype:
                raise InputError(
                    f"{where}: example {i} has x {x.dtype} {x.shape} and y {y.dtype} {y.shape}, the first one "
                    f"{dtype} {shape} and {first[1].dtype} {first[1].shape}; bring all to one size and type"
                )
            x_N[i], ys[i] = x, y

    if count * first[0].nbytes <= LARGE_BYTES:
        x_N = np.empty((count, *shape), dtype)
        fill(x_N)
        return x_N, ys
    return _on_disk((count, *shape), dtype, fill), ys


def _on_disk(shape: tuple[int, ...], dtype: np.dtype[Any], fill: Callable[[npt.NDArray[Any]], None]) -> Any:
    """Fill a memory-mapped file in the cache, and name it by its content."""
    stored = cache_folder() / "objects" / f"{uuid.uuid4().hex}.npy"
    array = cached_array(stored, lambda: shape, fill, dtype)
    if not stored.is_file():  # a cache that cannot be written
        return array
    with stored.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return np.load(stored.replace(stored.with_name(f"{digest[:24]}.npy")), mmap_mode="c")


def _pair(example: Any, where: str) -> tuple[Any, Any]:
    """Return input and target of an example: of a pair, or of a mapping with usual names."""
    if isinstance(example, tuple | list) and len(example) == 2:
        return example[0], example[1]
    if isinstance(example, Mapping):
        inputs = [example[key] for key in INPUT_KEYS if key in example]
        targets = [example[key] for key in TARGET_KEYS if key in example]
        if inputs and targets:
            return inputs[0], targets[0]
        raise InputError(
            f"{where}: an example has the keys {', '.join(map(str, example))}; needs one of {', '.join(INPUT_KEYS)} "
            f"and one of {', '.join(TARGET_KEYS)}"
        )
    size = f" of {len(example)}" if isinstance(example, tuple | list) else ""
    raise InputError(f"{where}: an example is a {type(example).__name__}{size}; needs a pair (x, y)")


def _array(value: Any, what: str) -> npt.NDArray[Any]:
    """Return one input or target as an array; an image (H, W, C) as (C, H, W)."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if hasattr(value, "getbands") and hasattr(value, "convert"):  # Pillow's
        pixels = np.asarray(value)
        return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what} is a {type(value).__name__}; give a tensor, an array or a number")
    return array
