"""Tables: a CSV, Parquet or NPZ file with a target for each row, so that anyone's small data works without code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from adamcmp.data.check_table import (
    SIMILAR,
    as_list,
    check_mark,
    feature_problems,
    find_columns,
    missing_problems,
    split_column_problems,
    target_problems,
    value_text,
)
from adamcmp.data.columns import Column, ColumnOptions, exclusion_reason
from adamcmp.data.imputation import IMPUTATION_MODES
from adamcmp.data.npz import read_npz
from adamcmp.data.numbers_in_text import Marks
from adamcmp.data.raw import FEW_CLASSES, RawData
from adamcmp.data.read_table import Frame, Layout, read, understood
from adamcmp.data.table_summary import described, is_whole, summary_of
from adamcmp.errors import InputError, suggest_names


def table(
    path: str | Path | None = None,
    label: str | int | Sequence[str | int] | None = None,
    test_path: str | Path | None = None,
    missing: str = "refuse",
    targets: str = "auto",
    unit: str = "",
    separator: str = ";",
    columns: Sequence[str | int] | None = None,
    drop: Sequence[str | int] | None = None,
    categorical: Sequence[str | int] | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    na_values: Sequence[Any] | str | float | None = None,
    encoding: str | None = None,
    similar: str = "refuse",
    missing_labels: str = "refuse",
    group: str | int | None = None,
    time: str | int | None = None,
    inputs: str = "auto",
    layout: str = "auto",
) -> RawData:
    """Read features x float64 (N, D), and y: classes 0 … C−1 in sorted order, quantities, or several labels.

    Numbers and truth values are features as they are, including numbers with thousands separators, currency or percent
    signs. Dates (``2024-01-31``, or with a time) become days since 1970-01-01, times of day and durations seconds, text
    one feature per value (one-hot). A column that numbers the rows, that never changes, or that holds another text in
    each row is left out unless ``columns`` names it. The summary states all of that.

    A label with fractions is a quantity. Whole numbers are classes if there are at most 20 different ones, and a
    quantity if most rows have different ones; all others are refused until ``targets`` is set. Of several label
    columns those with only 0 and 1, or with truth values, are labels, and others quantities.

    Args:
        path: a ``.csv`` (also ``.csv.gz``, ``.tsv``), ``.parquet`` or ``.npz`` file. An ``.npz`` holds arrays x and y,
            and may hold x_test, y_test, x_validation and y_validation.
        label: the column that is predicted, or a list of columns; the last one without it.
        test_path: a file of the same columns as test part; without it one is cut by ``test_fraction``.
        missing: what is done about missing values: ``refuse``; ``median`` of the training part; or ``indicator``, which
            adds a feature for each column that lacks values. Missing text is a category of its own.
        targets: ``classes``, ``quantities``, ``labels`` (one column of text then names them, as ``red;round``), or
            ``auto``.
        unit: of quantities.
        separator: stands between labels in one column.
        columns: the features; without it all columns but the label's and those that hold no feature.
        drop: columns that are no features.
        categorical: columns whose values are categories, even if they are numbers.
        decimal: mark of decimals, ``.`` or ``,``; found by the numbers without it.
        thousands: mark between thousands; found by the numbers without it.
        delimiter: character between fields of a CSV file; found by its rows without it.
        header: whether the first row of a CSV file holds the names; without it a first row that looks like data is
            refused.
        na_values: more texts and numbers that stand for a missing value.
        encoding: of a CSV file; found by its bytes if it is not UTF-8.
        similar: treatment of texts that differ only in letter case or blanks: ``refuse``, ``merge`` or ``keep``.
        missing_labels: treatment of rows without a label: ``refuse`` or ``drop``.
        group: a column whose equal values stay in one part; it is no feature.
        time: a column by which rows are sorted: the last ones are the test part; it is no feature.
        inputs: of an ``.npz`` with whole numbers: ``numbers`` or ``tokens``.
        layout: of images in an ``.npz``: ``channels_first``, ``channels_last``, or ``auto`` by their shape.

    Raises:
        InputError: no such file or column; else one line with all that is wrong in the columns.
    """
    if missing not in IMPUTATION_MODES:
        raise InputError(f"data.missing={missing}: not known; {suggest_names(str(missing), IMPUTATION_MODES)}")
    if missing_labels not in ("refuse", "drop"):
        raise InputError(f"data.missing_labels={missing_labels}: not known; give refuse or drop")
    if similar not in SIMILAR:
        raise InputError(f"data.similar={similar}: not known; {suggest_names(str(similar), SIMILAR)}")
    if path is None:
        raise InputError("data.path is not set; give a table: data.path=my.csv data.label=my_column")
    if Path(path).suffix == ".npz":
        options = {"columns": columns, "drop": drop, "categorical": categorical, "decimal": decimal, "group": group,
                  "thousands": thousands, "delimiter": delimiter, "header": header, "na_values": na_values,
                  "encoding": encoding, "time": time}  # fmt: skip
        for option, value in options.items():
            if value is not None:
                raise InputError(f"data.{option}={value}: is for CSV and Parquet files; an .npz has no columns")
        if test_path is not None or label is not None:
            raise InputError("data.test_path, data.label: an .npz holds x, y, x_test and y_test itself; leave them out")
        return read_npz(Path(path), missing=missing, unit=unit, targets=targets, inputs=inputs, layout=layout)
    frames = {"train": read(path, "data.path", Layout(delimiter, header, encoding))}
    if test_path is not None:
        frames["test"] = read(test_path, "data.test_path", Layout(delimiter, header, encoding))
        if list(frames["train"].columns) != list(frames["test"].columns):
            raise InputError(f"{test_path}: other columns than {path}; both need the same, in the same order")
    return from_frames(
        frames, " and ".join(str(file) for file in (path, test_path) if file is not None), label=label, missing=missing,
        targets=targets, unit=unit, separator=separator, columns=columns, drop=drop, categorical=categorical,
        decimal=decimal, thousands=thousands, na_values=na_values, similar=similar,
        missing_labels=missing_labels, group=group, time=time,
    )  # fmt: skip


def from_frames(
    frames: Mapping[str, Frame],
    where: str,
    *,
    label: Any = None,
    missing: str = "refuse",
    targets: str = "auto",
    unit: str = "",
    separator: str = ";",
    columns: Any = None,
    drop: Any = None,
    categorical: Any = None,
    decimal: str | None = None,
    thousands: str | None = None,
    na_values: Any = None,
    similar: str = "refuse",
    missing_labels: str = "refuse",
    group: Any = None,
    time: Any = None,
) -> RawData:
    """Turn tables into arrays; the arguments are those of ``table``.

    Raises:
        InputError: one line with all that is wrong in the columns.
    """
    train = frames["train"]
    every = list(train.columns)
    labels = find_columns("label", label, every, where) or [every[-1]]
    chosen, dropped = find_columns("columns", columns, every, where), find_columns("drop", drop, every, where)
    aside = [*find_columns("group", group, every, where), *find_columns("time", time, every, where)]
    if len(aside) == 2:
        raise InputError(f"data.group={group}, data.time={time}: rows are split by one of them; set the other to null")
    for name in labels:
        if name in (*chosen, *dropped, *aside):
            raise InputError(f"data.label={name}: is the label; leave it out of columns, drop, group and time")
    options = ColumnOptions(
        Marks(check_mark("decimal", decimal), check_mark("thousands", thousands)),
        frozenset(map(value_text, as_list(na_values))),
        frozenset(find_columns("categorical", categorical, every, where)),
        similar,
        train.delimiter,
    )
    wanted = [name for name in (chosen or every) if name not in (*labels, *dropped, *aside)]
    columns_by_name = understood(list(frames.values()), [*labels, *wanted, *aside], options)
    counts = [frame.rows for frame in frames.values()]
    if missing_labels == "drop":
        columns_by_name, counts = _with_labels(columns_by_name, labels, counts)
    rows = counts[0]
    reasons: dict[str, str] = {}
    if not chosen:
        column_names = list(wanted)
        for name in wanted:
            if reason := exclusion_reason(columns_by_name[name], rows, is_only=len(column_names) == 1):
                reasons[name] = reason
                column_names.remove(name)
        wanted = column_names
    predicted = [columns_by_name[name] for name in labels]
    kind = _kind(predicted) if targets == "auto" else targets
    problems = [text for column in predicted for text in target_problems(column, kind, targets, len(labels))]
    problems += [
        text for name in wanted for text in feature_problems(columns_by_name[name], dropped, predicted, chosen)
    ]
    problems += missing_problems([columns_by_name[name] for name in wanted], missing)
    problems += [
        text for name in aside for text in split_column_problems(columns_by_name[name], is_time=time is not None)
    ]
    if not wanted:
        left = [f"{name!r} {reason}" for name, reason in reasons.items()]
        left += [f"{name!r} is the label" for name in labels] + [f"{name!r} splits the rows" for name in aside]
        problems.append(f"no features are left ({'; '.join(left)}); name them in data.columns")
    if problems:
        error = InputError(f"{where}: {'; '.join(problems)}")
        error.summary = [
            ("data", f"{where}, {rows:,} rows"),
            *(("column", described(column)) for column in columns_by_name.values()),
        ]
        raise error
    y, names, count = _targets(predicted, kind, separator, rows, where)
    x, unseen = _features([columns_by_name[name] for name in wanted], rows)
    bounds = np.cumsum(counts)[:-1]
    pairs = zip(np.split(x, bounds), np.split(y, bounds), strict=True)
    raw: Any = dict(zip(frames, pairs, strict=True))
    if time is not None:
        order = np.argsort(columns_by_name[aside[0]].values[:rows], kind="stable")
        raw |= {"train": (x[:rows][order], y[:rows][order]), "contiguous": True}
    elif group is not None:
        raw["groups"] = pd.factorize(pd.Series(columns_by_name[aside[0]].values[:rows]))[0].astype(np.int64)
    raw |= {"num_classes": count, "class_names": names} if kind == "classes" else {"targets": kind}
    raw |= {"unit": unit} if kind == "quantities" else {}
    raw |= {"missing": missing} if missing != "refuse" else {}
    raw["target_names"] = labels
    raw["summary"] = list(
        summary_of(
            frames,
            columns_by_name,
            wanted,
            labels,
            dropped,
            reasons,
            aside,
            time,
            missing,
            unseen,
            rows,
            label is None,
            kind,
        )
    )
    return raw  # type: ignore[no-any-return]


def _with_labels(
    columns: Mapping[str, Column], labels: Sequence[str], counts: Sequence[int]
) -> tuple[dict[str, Column], list[int]]:
    """Return the columns without the rows that lack a label, and the rows that are left of each file."""
    has_N = ~np.any([columns[name].is_missing for name in labels], axis=0)
    labelled = {name: replace(column, values=column.values[has_N]) for name, column in columns.items()}
    parts = np.split(has_N, np.cumsum(counts)[:-1])
    return labelled, [int(part.sum()) for part in parts]


def _kind(predicted: Sequence[Column]) -> str:
    """Return a description of the values of some columns."""
    if len(predicted) == 1:
        (column,) = predicted
        is_class = column.kind in ("categorical", "empty", "date") or (is_whole(column) and not _is_count(column.known))
        return "classes" if is_class else "quantities"
    truths = all(column.kind != "categorical" and np.isin(column.known, [0, 1]).all() for column in predicted)
    return "labels" if truths else "quantities"


def _is_count(values: npt.NDArray[Any]) -> bool:
    """Return whether whole numbers are a quantity: most rows have different ones, which do not just number the rows."""
    different = np.unique(values)
    numbers = np.ptp(different) + 1 == len(different)
    return 2 * len(different) > len(values) > FEW_CLASSES and not numbers


def _targets(
    predicted: Sequence[Column], kind: str, separator: str, rows: int, where: str
) -> tuple[npt.NDArray[Any], list[str], int]:
    """Return y as ``RawData`` has it, the names of classes or labels, and their number."""
    first = predicted[0]
    if kind == "classes":
        codes, values = pd.factorize(pd.Series(first.values), sort=True)
        names = [value_text(value) for value in values]
        if len(unknown := sorted(set(codes[rows:].tolist()) - set(codes[:rows].tolist()))):
            raise InputError(
                f"{where}: label {names[unknown[0]]!r} occurs in the test file alone, so no model can learn it; add "
                "such rows to the training file, or remove them"
            )
        return codes.astype(np.int64), names, len(values)
    if kind == "labels" and len(predicted) == 1 and first.kind == "categorical":
        texts = ["" if value is None else value for value in first.values]
        sets = [{part.strip() for part in text.split(separator)} - {""} for text in texts]
        names = sorted(set().union(*sets[:rows]))
        if unknown_names := sorted(set().union(*sets) - set(names)):
            raise InputError(f"{where}: label {unknown_names[0]!r} occurs in the test file alone; remove those rows")
        return np.array([[name in set_ for name in names] for set_ in sets], np.float64), names, len(names)
    stacked = np.stack([column.values.astype(np.float64) for column in predicted], axis=1)
    return stacked, [column.name for column in predicted], len(predicted)


def _features(columns: Sequence[Column], rows: int) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Return features (N, D), numbers before categories, and what only the test file holds."""
    numbers = [column.values.astype(np.float64) for column in columns if column.kind != "categorical"]
    unseen: list[str] = []
    for column in columns:
        if column.kind != "categorical":
            continue
        values = pd.Series(column.values, dtype=object)
        values[column.is_missing] = "missing"
        names = sorted(values[:rows].unique())
        if unexpected := sorted(set(values) - set(names)):
            unseen.append(
                f"{column.name!r}: {', '.join(map(repr, unexpected[:3]))}{' …' if len(unexpected) > 3 else ''}"
            )
        numbers += [(values == name).to_numpy(np.float64) for name in names]
    return np.stack(numbers, axis=1), unseen
