"""Check tables: the columns, targets and features that cannot be used, each with a remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from adamcmp.data.columns import Column, format_value
from adamcmp.data.raw import FEW_CLASSES
from adamcmp.data.setting_text import list_setting
from adamcmp.data.table_summary import describe_missing
from adamcmp.errors import InputError, suggest_names

MOST_CATEGORIES = 100
"""A text column with more different values than that is a name, not a category."""
SIMILAR = ("refuse", "merge", "keep")


def missing_problems(columns: Sequence[Column], missing: str) -> list[str]:
    """Return the columns with missing values, if ``data.missing`` refuses them."""
    gaps = [column for column in columns if column.missing and column.problem is None]
    if not gaps or missing != "refuse":
        return []
    remedy = "set data.missing=median (the median of training) or data.missing=indicator (also an extra feature)"
    count = len(gaps[0].values)
    if len(gaps) == 1:
        return [f"column {gaps[0].name!r} has missing values ({gaps[0].missing:,} of {count:,} rows): {remedy}"]
    return [f"{len(gaps)} columns have missing values ({describe_missing(gaps)} of {count:,} rows): {remedy}"]


def split_column_problems(column: Column, *, is_time: bool) -> Iterator[str]:
    """Yield the reasons for which rows cannot be split by a column."""
    if column.problem is not None:
        yield f"column {column.name!r} {column.problem}"
    elif not len(column.known):
        yield f"column {column.name!r} has no values to split by"
    elif is_time and column.kind == "categorical":
        yield f"data.time={column.name}: holds text, such as {column.known[0]!r}; give dates as 2024-01-31, or numbers"
    elif column.missing:
        yield f"column {column.name!r} lacks {column.missing:,} values: fill them"


def as_list(value: Any) -> list[Any]:
    """Return a setting that may be one value, several or none as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, str | int | float) else list(value)


def value_text(value: Any) -> str:
    """Return a value of a cell as text."""
    return f"{value:g}" if isinstance(value, float) else str(value).strip()


def find_columns(option: str, value: Any, every: Sequence[str], where: str) -> list[str]:
    """Return columns by the names that an option gives."""
    names = [_match_column(name, every) for name in as_list(value)]
    for name in names:
        if name not in every:
            raise InputError(f"data.{option}={name}: {where} has no such column; {suggest_names(name, every)}")
    return names


def _match_column(value: Any, every: Sequence[str]) -> str:
    """Return the column that Hydra has made another value of, such as True of ``true``, or 1.5 of ``1.50``."""
    name = str(value)
    if name in every or isinstance(value, str):
        return name
    for column in every:
        try:
            same = float(column) == value if isinstance(value, int | float) and not isinstance(value, bool) else False
        except ValueError:
            same = False
        if same or column.casefold() == name.casefold() or (value is None and column == "null"):
            return column
    return name


def check_mark(option: str, mark: str | None) -> str | None:
    """Check a decimal or thousands separator.

    Raises:
        InputError: it is more than one character, or a letter or digit.
    """
    if mark is not None and (len(mark) != 1 or mark.isalnum()):
        raise InputError(f"data.{option}={mark!r}: must be one character, such as '.' or ','")
    return mark


def target_problems(column: Column, kind: str, targets: str, columns: int) -> Iterator[str]:
    """Yield the problems of a label column."""
    name, present = column.name, column.known
    text = column.kind == "categorical"
    different = len(pd.unique(pd.Series(present)))
    if column.problem is not None:
        yield f"label column {name!r} {column.problem.partition(', or set data.drop')[0]}"
    elif not len(present):
        yield f"label column {name!r} has no values; set data.label to another one"
    elif not text and not np.isfinite(present.astype(np.float64)).all():
        yield f"label column {name!r} holds infinite values: drop those rows"
    elif column.missing and not (kind == "labels" and text):
        note = f" ({column.notes[-1]})" if column.notes else ""
        yield (
            f"label column {name!r} has missing values ({column.missing:,} of {len(column.values):,} rows){note}: set "
            "data.missing_labels=drop to leave these rows out"
        )
    elif column.kind == "date" and kind == "classes":
        yield f"data.label={name}: holds dates; set data.targets=quantities to predict them as numbers"
    elif kind == "classes" and columns > 1:
        yield f"data.label={name}: one of {columns} columns; classes stand in one column"
    elif kind == "quantities" and text:
        yield f"data.label={name}: holds text, such as {present[0]!r}; quantities are numbers"
    elif kind == "labels" and not (text and columns == 1) and not np.isin(present, [0, 1]).all():
        yield f"data.label={name}: holds other values than 0 and 1; give one column per label, or text that names them"
    elif kind != "labels" and different < 2:
        yield f"data.label={name}: all rows have the label {format_value(present[0])}; two are needed"
    elif kind == "classes" and 2 * different > len(present):
        note = "" if text else ", or set data.targets=quantities"
        count = f"{different:,} different labels in {len(present):,} rows"
        few = "give more rows" if len(present) < FEW_CLASSES else f"give the column of classes{note}"
        yield f"data.label={name}: {count}; {few}"
    elif kind == "classes" and targets == "auto" and not text and different > FEW_CLASSES:
        yield (
            f"data.label={name}: {different:,} different whole numbers "
            f"from {present.min():,.0f} to {present.max():,.0f}; "
            "set data.targets=quantities to predict numbers, or data.targets=classes"
        )


def feature_problems(
    column: Column, dropped: Sequence[str], predicted: Sequence[Column], chosen: Sequence[str]
) -> Iterator[str]:
    """Yield the reasons for which a column cannot be a feature."""
    name = column.name
    if column.problem is not None:
        yield f"column {name!r} {column.problem}"
        return
    if column.kind != "categorical" and (count := int(np.isinf(column.values.astype(np.float64)).sum())):
        yield f"column {name!r} is infinite in {count:,} rows: set data.na_values=[inf,-inf] data.missing=median"
    if column.kind == "categorical":
        different = len(set(column.known))
        if different > MOST_CATEGORIES:
            yield (
                f"column {name!r} holds text with {different:,} different values, more than {MOST_CATEGORIES} "
                f"categories: set {list_setting('drop', [*dropped, name])}, or turn it into numbers"
            )
    for label in predicted:
        if not chosen and _is_same(column, label):
            yield (
                f"column {name!r} equals the label {label.name!r}: set {list_setting('drop', [*dropped, name])}, or "
                "name the features in data.columns"
            )


def _is_same(column: Column, label: Column) -> bool:
    """Return whether a feature is the label again."""
    if (column.kind == "categorical") != (label.kind == "categorical"):
        return False
    return bool(pd.Series(column.values).equals(pd.Series(label.values)))
