"""Tables: a CSV, Parquet or NPZ file with a target for each row, so that anyone's small data works without code."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
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
    label: str | Sequence[str] | None = None,
    test_path: str | Path | None = None,
    missing: str = "refuse",
    targets: str = "auto",
    unit: str = "",
    separator: str = ";",
) -> RawData:
    """Features x float32 (N, D), and y: classes 0 … C−1 in sorted order, quantities, or several labels.

    A column with fractions holds quantities, any other one classes; of several columns those with 0 and 1 alone, or
    with truth values, are labels, and others quantities. ``targets`` decides where that is not what is meant.

    Args:
        path: a ``.csv`` (also ``.csv.gz``; commas, semicolons or tabs), ``.parquet`` or ``.npz`` file. In the first
            two, numbers and booleans are features as they are, dates (``2024-01-31``, or with a time) are days since
            1970-01-01, text becomes one feature a value (one-hot). An ``.npz`` holds arrays x and y, and may hold
            x_test and y_test.
        label: the column that is predicted, or a list of columns; the last one without it.
        test_path: a file of the same columns as test part; without it one is cut by ``test_fraction``.
        missing: what is done about missing values: ``refuse``; ``median`` of the training part; or ``indicator``, which
            adds a feature for each column that lacks values. Missing text is a category of its own.
        targets: ``classes``, ``quantities``, ``labels`` (one column of text then names them, as ``red;round``), or
            ``auto``.
        unit: of quantities.
        separator: stands between labels in one column.

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
        return _arrays(Path(path), missing, unit)
    frames = {"train": _read(path, "data.path")}
    if test_path is not None:
        frames["test"] = _read(test_path, "data.test_path")
    columns = [str(frames["train"].columns[-1])] if label is None else [label] if isinstance(label, str) else [*label]
    for where, frame in zip((path, test_path), frames.values(), strict=False):
        for column in columns:
            if column not in frame:
                told = closest(column, list(frame.columns))
                raise InputError(f"data.label={column}: {where} has no such column; {told}")
    lengths = [len(frame) for frame in frames.values()]
    if test_path is not None and list(frames["train"].columns) != list(frames["test"].columns):
        raise InputError(f"{test_path}: other columns than {path}; both need the same, in the same order")
    whole = pd.concat(frames.values(), ignore_index=True)
    predicted = whole[columns]
    kind = _kind(predicted) if targets == "auto" else targets
    features = whole.drop(columns=columns)
    features = features.apply(_days)
    problems = [text for name in columns for text in _target_problems(whole[name], name, kind, len(columns))]
    problems += [text for name in features for text in _feature_problems(features[name], missing)]
    if problems:
        raise InputError(f"{' and '.join(map(str, filter(None, (path, test_path))))}: {'; '.join(problems)}")
    y, classes = _targets(predicted, kind, separator)
    bounds = np.cumsum(lengths)[:-1]
    pairs = zip(np.split(_features(features), bounds), np.split(y, bounds), strict=True)
    parts: Any = dict(zip(frames, pairs, strict=True))
    lacking: Any = {"missing": missing} if missing != "refuse" else {}
    counted: Any = {"num_classes": classes} if kind == "classes" else {"targets": kind}
    named: Any = {"unit": unit} if kind == "quantities" else {}
    raw: RawData = {**parts, **counted, **named, **lacking}  # type: ignore[typeddict-item]  # train is among the parts
    return raw


def _kind(predicted: pd.DataFrame) -> str:
    """What some columns hold, as far as their values tell."""
    if len(predicted.columns) == 1:
        known = predicted.iloc[:, 0].dropna()
        return "quantities" if pd.api.types.is_float_dtype(known) and not (known % 1 == 0).all() else "classes"
    truths = all(predicted[name].dropna().isin([0, 1]).all() for name in predicted)
    return "labels" if truths else "quantities"


def _targets(predicted: pd.DataFrame, kind: str, separator: str) -> tuple[npt.NDArray[Any], int]:
    """Y as ``RawData`` has it, and the number of classes or columns."""
    if kind == "classes":
        codes, values = pd.factorize(predicted.iloc[:, 0], sort=True)
        return codes.astype(np.int64), len(values)
    if kind == "labels" and len(predicted.columns) == 1 and _is_text(predicted.iloc[:, 0]):
        named = [{each.strip() for each in text.split(separator)} - {""} for text in predicted.iloc[:, 0].fillna("")]
        predicted = pd.DataFrame({name: [name in each for each in named] for name in sorted(set().union(*named))})
    return predicted.to_numpy(np.float64), len(predicted.columns)


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


def _target_problems(column: pd.Series[Any], name: str, kind: str, columns: int) -> Iterator[str]:
    """What is wrong with a column that is predicted."""
    known = column.dropna()
    text = _is_text(known)
    if len(known) < len(column) and not (kind == "labels" and text):
        yield f"label column {name!r} lacks {len(column) - len(known):,} of {len(column):,} values: drop those rows"
    elif kind == "classes" and columns > 1:
        yield f"data.label={name}: one of {columns} columns; classes stand in one column"
    elif kind == "quantities" and text:
        yield f"data.label={name}: holds text, such as {known.iloc[0]!r}; quantities are numbers"
    elif kind == "labels" and not (text and columns == 1) and not known.isin([0, 1]).all():
        yield f"data.label={name}: holds other values than 0 and 1; give a column a label, or text that names them"
    elif kind != "labels" and known.nunique() < 2:
        yield f"data.label={name}: all rows have the label {known.iloc[0]!r}; two are needed"
    elif kind == "classes" and 2 * known.nunique() > len(known):
        count = f"{known.nunique():,} different labels in {len(known):,} rows"
        told = "" if text else ", or set data.targets=quantities"
        yield f"data.label={name}: {count}; give the column of classes{told}"


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


def _arrays(path: Path, missing: str, unit: str) -> RawData:
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
    if unit:
        raw["unit"] = unit
    return raw
