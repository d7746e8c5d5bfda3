"""Tables: a CSV, Parquet or NPZ file with a label for each row, so that anyone's small data works without code."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from adamcmp.data.raw import RawData
from adamcmp.errors import InputError, closest, one_line

MOST_CATEGORIES = 100
"""A text column with more different values than that is a name or a date, not a category."""


def table(path: str | Path | None = None, label: str | None = None, test_path: str | Path | None = None) -> RawData:
    """Features x float32 (N, D), y 0 … C−1 in the sorted order of the label's values.

    Args:
        path: a ``.csv`` (also ``.csv.gz``; commas, semicolons or tabs), ``.parquet`` or ``.npz`` file. In the first
            two, numbers and booleans are features as they are, text becomes one feature a value (one-hot). An ``.npz``
            holds arrays x and y, and may hold x_test and y_test.
        label: the column that is predicted; the last one without it.
        test_path: a file of the same columns as test part; without it one is cut by ``test_fraction``.

    Raises:
        InputError: no such file or column, an unreadable, empty or ragged one, missing values, or a label that is a
            quantity.
    """
    if path is None:
        raise InputError("data.path is not set; give a table: data.path=my.csv data.label=my_column")
    if Path(path).suffix == ".npz":
        if test_path is not None or label is not None:
            raise InputError("data.test_path, data.label: an .npz holds x, y, x_test and y_test itself; leave them out")
        return _arrays(Path(path))
    frames = {"train": _read(path, "data.path")}
    if test_path is not None:
        frames["test"] = _read(test_path, "data.test_path")
    column = label if label is not None else str(frames["train"].columns[-1])
    for where, frame in zip((path, test_path), frames.values(), strict=False):
        _check(frame, str(where), column)
    lengths = [len(frame) for frame in frames.values()]
    if test_path is not None and list(frames["train"].columns) != list(frames["test"].columns):
        raise InputError(f"{test_path}: other columns than {path}; both need the same, in the same order")
    whole = pd.concat(frames.values(), ignore_index=True)
    y_N, classes = _labels(whole.pop(column), str(path), column)
    x_ND = _features(whole, str(path))
    bounds = np.cumsum(lengths)[:-1]
    parts = dict(zip(frames, zip(np.split(x_ND, bounds), np.split(y_N, bounds), strict=True), strict=True))
    return {**parts, "num_classes": classes}  # type: ignore[typeddict-item]  # the keys are train and test


def _read(path: str | Path, option: str) -> pd.DataFrame:
    file = Path(path).expanduser()
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {".csv": _csv, ".parquet": pd.read_parquet}
    kind = next((suffix for suffix in readers if suffix in file.suffixes[-2:]), None)
    if kind is None:
        raise InputError(f"{option}={path}: must end in .csv, .csv.gz, .parquet or .npz")
    if not file.is_file():
        raise InputError(f"{option}={path}: no such file")
    try:
        frame = readers[kind](file)
    except (ValueError, OSError, EOFError) as error:  # of which pandas', arrow's and gzip's errors are kinds
        raise InputError(f"{path}: cannot be read as {kind} ({one_line(error)}); mend or replace it") from error
    if frame.empty or len(frame.columns) < 2:
        raise InputError(
            f"{path}: {len(frame)} rows and {len(frame.columns)} columns; needs a row of names, rows, and two columns"
        )
    frame.columns = frame.columns.map(str)
    return frame


def _csv(file: Path) -> pd.DataFrame:
    """Columns between commas; or, where that gives one column, between the semicolons or tabs in its name."""
    frame = pd.read_csv(file)
    separators = [each for each in ";\t" if len(frame.columns) == 1 and each in str(frame.columns[0])]
    return pd.read_csv(file, sep=separators[0]) if separators else frame


def _check(frame: pd.DataFrame, path: str, label: str) -> None:
    if label not in frame:
        raise InputError(f"data.label={label}: {path} has no such column; {closest(label, list(frame.columns))}")
    lacking = frame.isna().sum()
    if lacking.any():
        raise InputError(
            f"{path}: column {lacking.idxmax()!r} lacks {lacking.max():,} of {len(frame):,} values; fill or drop them"
        )


def _labels(column: pd.Series[Any], path: str, label: str) -> tuple[npt.NDArray[np.int64], int]:
    is_quantity = pd.api.types.is_float_dtype(column) and not (column % 1 == 0).all()
    if is_quantity:
        raise InputError(
            f"data.label={label}: {path} holds quantities there, such as {column.iloc[0]:g}; adamcmp compares "
            "classifiers: give a column of classes, or cut this one into some"
        )
    codes, values = pd.factorize(column, sort=True)
    if len(values) < 2:
        raise InputError(f"data.label={label}: all rows of {path} have the label {values[0]!r}; two are needed")
    if 2 * len(values) > len(column):
        raise InputError(
            f"data.label={label}: {len(values):,} different labels in {len(column):,} rows of {path}; "
            "give the column of classes"
        )
    return codes.astype(np.int64), len(values)


def _features(frame: pd.DataFrame, path: str) -> npt.NDArray[np.float32]:
    numbers = frame.select_dtypes(["number", "bool"]).columns
    for name in frame.columns.difference(numbers):
        if frame[name].nunique() > MOST_CATEGORIES:
            raise InputError(
                f"{path}: column {name!r} holds text with {frame[name].nunique():,} different values, more than "
                f"{MOST_CATEGORIES} categories; drop it, or turn it into numbers"
            )
    features: npt.NDArray[np.float32] = pd.get_dummies(
        frame, columns=[name for name in frame if name not in numbers], dtype=np.float32
    ).to_numpy(np.float32)
    return features


def _arrays(path: Path) -> RawData:
    try:
        with path.expanduser().open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise InputError(f"data.path={path}: no such file") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as .npz ({one_line(error)}); mend or replace it") from error
    for name in ("x", "y"):
        if name not in arrays:
            held = ", ".join(arrays) or "nothing"
            raise InputError(f"{path}: has no array {name!r} but {held}; save it as np.savez(path, x=…, y=…)")
    raw: RawData = {"train": (arrays["x"], arrays["y"])}
    if "x_test" in arrays and "y_test" in arrays:
        raw["test"] = (arrays["x_test"], arrays["y_test"])
    return raw
