"""Tables: a CSV, Parquet or NPZ file with a label for each row, so that anyone's small data works without code."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from adamcmp.data.missing import MODES
from adamcmp.data.raw import RawData
from adamcmp.errors import InputError, closest, one_line

MOST_CATEGORIES = 100
"""A text column with more different values than that is a name, not a category."""


def table(
    path: str | Path | None = None,
    label: str | None = None,
    test_path: str | Path | None = None,
    missing: str = "refuse",
) -> RawData:
    """Features x float32 (N, D), y 0 … C−1 in the sorted order of the label's values.

    Args:
        path: a ``.csv`` (also ``.csv.gz``; commas, semicolons or tabs), ``.parquet`` or ``.npz`` file. In the first
            two, numbers and booleans are features as they are, dates (``2024-01-31``, or with a time) are days since
            1970-01-01, text becomes one feature a value (one-hot). An ``.npz`` holds arrays x and y, and may hold
            x_test and y_test.
        label: the column that is predicted; the last one without it.
        test_path: a file of the same columns as test part; without it one is cut by ``test_fraction``.
        missing: what is done about missing values: ``refuse``; ``median`` of the training part; or ``indicator``, which
            adds a feature for each column that lacks values. Missing text is a category of its own.

    Raises:
        InputError: no such file or column; else one line with all that is wrong in the columns.
    """
    if missing not in MODES:
        raise InputError(f"data.missing={missing}: not known; {closest(str(missing), MODES)}")
    if path is None:
        raise InputError("data.path is not set; give a table: data.path=my.csv data.label=my_column")
    if Path(path).suffix == ".npz":
        if test_path is not None or label is not None:
            raise InputError("data.test_path, data.label: an .npz holds x, y, x_test and y_test itself; leave them out")
        return _arrays(Path(path), missing)
    frames = {"train": _read(path, "data.path")}
    if test_path is not None:
        frames["test"] = _read(test_path, "data.test_path")
    column = label if label is not None else str(frames["train"].columns[-1])
    for where, frame in zip((path, test_path), frames.values(), strict=False):
        if column not in frame:
            raise InputError(f"data.label={column}: {where} has no such column; {closest(column, list(frame.columns))}")
    lengths = [len(frame) for frame in frames.values()]
    if test_path is not None and list(frames["train"].columns) != list(frames["test"].columns):
        raise InputError(f"{test_path}: other columns than {path}; both need the same, in the same order")
    whole = pd.concat(frames.values(), ignore_index=True)
    problems = [*_label_problems(whole[column], column)]
    features = whole.drop(columns=column)
    features = features.apply(_days)
    problems += [text for name in features for text in _feature_problems(features[name], missing)]
    if problems:
        raise InputError(f"{' and '.join(map(str, filter(None, (path, test_path))))}: {'; '.join(problems)}")
    codes, values = pd.factorize(whole[column], sort=True)
    bounds = np.cumsum(lengths)[:-1]
    x_ND, y_N = _features(features), codes.astype(np.int64)
    parts = dict(zip(frames, zip(np.split(x_ND, bounds), np.split(y_N, bounds), strict=True), strict=True))
    lacking: Any = {"missing": missing} if missing != "refuse" else {}
    return {**parts, "num_classes": len(values), **lacking}  # type: ignore[typeddict-item]  # the keys are train and test


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


def _label_problems(column: pd.Series[Any], name: str) -> Iterator[str]:
    known = column.dropna()
    if len(known) < len(column):
        yield f"label column {name!r} lacks {len(column) - len(known):,} of {len(column):,} values: drop those rows"
    elif pd.api.types.is_float_dtype(known) and not (known % 1 == 0).all():
        yield (
            f"data.label={name} holds quantities there, such as {known.iloc[0]:g}; adamcmp compares classifiers: "
            "give a column of classes, or cut this one into some"
        )
    elif known.nunique() < 2:
        yield f"data.label={name}: all rows have the label {known.iloc[0]!r}; two are needed"
    elif 2 * known.nunique() > len(known):
        count = f"{known.nunique():,} different labels in {len(known):,} rows"
        yield f"data.label={name}: {count}; give the column of classes"


def _days(column: pd.Series[Any]) -> pd.Series[Any]:
    """A column of dates as days since 1970-01-01; any other as it is."""
    moments = column
    if not pd.api.types.is_datetime64_any_dtype(column):
        texts = column.dropna()
        if not _is_text(column) or texts.empty or not texts.astype(str).str.match(r"\d{4}-\d\d-\d\d").all():
            return column
        moments = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
        if moments.notna().sum() < len(texts):
            return column
    moments = moments.dt.tz_convert(None) if moments.dt.tz is not None else moments
    return (moments - pd.Timestamp(0)) / pd.Timedelta(days=1)


def _is_text(column: pd.Series[Any]) -> bool:
    return not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))


def _feature_problems(column: pd.Series[Any], missing: str) -> Iterator[str]:
    name, known = column.name, column.dropna()
    if len(known) < len(column) and missing == "refuse":
        yield (
            f"column {name!r} lacks {len(column) - len(known):,} of {len(column):,} values: fill or drop them, or set "
            "data.missing=median or indicator"
        )
    if not _is_text(column):
        return
    texts = known.astype(str)
    if len(texts) and texts.str.fullmatch(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}([ T].*)?").all():
        yield f"column {name!r} holds dates, such as {texts.iloc[0]!r}: write them as 2024-01-31"
    elif texts.nunique() > MOST_CATEGORIES:
        yield (
            f"column {name!r} holds text with {texts.nunique():,} different values, more than {MOST_CATEGORIES} "
            "categories: drop it, or turn it into numbers"
        )


def _features(frame: pd.DataFrame) -> npt.NDArray[np.float32]:
    texts = [name for name in frame if _is_text(frame[name])]
    numbers = [name for name in frame if name not in texts]
    lacking = {name: "missing" for name in texts if frame[name].isna().any()}
    whole = frame.astype(dict.fromkeys(numbers, np.float32)).fillna(lacking)
    features: npt.NDArray[np.float32] = pd.get_dummies(whole, columns=texts, dtype=np.float32).to_numpy(np.float32)
    return features


def _arrays(path: Path, missing: str) -> RawData:
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
    if missing != "refuse":
        raw["missing"] = missing
    return raw
