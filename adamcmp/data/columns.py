"""Columns of a table: numbers, categories, dates, and columns that hold no feature.

Takes one column of a file as texts (CSV) or typed values (Parquet, DataFrame) and returns a ``Column``: its values,
its conversions, and its problem if it has one. Nothing is guessed silently: a note is shown before training.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from adamcmp.data.dates_in_text import dates_in, days_of
from adamcmp.data.numbers_in_text import MISSING, Doubt, Marks, numbers_in
from adamcmp.data.setting_text import list_setting
from adamcmp.errors import quote_value
from adamcmp.metrics.spec import with_minus_sign

Kind = Literal["numeric", "categorical", "date", "boolean", "empty"]

MAX_LISTED_TEXTS = 1_000_000
"""Different texts of a column beyond which it is read as text without a look at all of them."""
ROW_NAME = re.compile(
    r"(unnamed(: ?\d+)?|__index_level_\d+__|index|idx|id|row ?(id|num|number|names?|index)?|rn|)", re.I
)
"""Names, with blanks for underscores and dots, that number the rows in files of many programs."""
ID_NAME = re.compile(r"(.*[ _.-])?(id|uuid|guid)([ _.-].*)?|.*[a-z](Id|ID)|unnamed(: ?\d+)?|__index_.*|", re.IGNORECASE)


@dataclass(frozen=True)
class ColumnOptions:
    """Settings of the user about a table's columns."""

    marks: Marks = field(default_factory=Marks)
    na_values: frozenset[str] = frozenset()
    categorical: frozenset[str] = frozenset()
    similar: str = "refuse"
    delimiter: str | None = None


@dataclass(frozen=True)
class Column:
    """One column as it was understood."""

    name: str
    kind: Kind
    values: npt.NDArray[Any] = field(repr=False)
    """float64 with NaN for missing; of categories objects, None for missing."""
    notes: tuple[str, ...] = ()
    """How it was converted."""
    problem: str | None = None
    """Why it cannot be read, with the remedy."""

    @property
    def missing(self) -> int:
        """Number of missing values."""
        return int(self.is_missing.sum())

    @property
    def is_missing(self) -> npt.NDArray[np.bool_]:
        """Whether each value is missing."""
        is_missing: npt.NDArray[np.bool_] = np.asarray(pd.isna(self.values))
        return is_missing

    @property
    def known(self) -> npt.NDArray[Any]:
        """The values that are not missing."""
        return self.values[~self.is_missing]


def column_from_texts(name: str, texts: pd.Series[Any], options: ColumnOptions) -> Column:
    """Understand a column of texts.

    Args:
        name: of the column.
        texts: one per row; missing ones are None or NaN.
        options: the user's settings.
    """
    if (plain := _plain_numbers(name, texts, options)) is not None:
        return plain
    codes, raw = pd.factorize(texts, use_na_sentinel=True)
    unique = [str(text).strip() for text in raw]
    absent = MISSING | options.na_values
    categories = [text for text in dict.fromkeys(unique) if text not in absent]
    if not categories:
        return Column(name, "empty", np.full(len(texts), np.nan))

    def spread(values: Sequence[Any], lacking: Any, dtype: Any) -> npt.NDArray[Any]:
        table = np.empty(len(values) + 1, dtype)
        table[:-1], table[-1] = values, lacking
        return table[codes]  # code -1 takes the last one

    def numeric(values: dict[str, float]) -> npt.NDArray[Any]:
        return spread([values.get(text, np.nan) for text in unique], np.nan, np.float64)

    if name not in options.categorical and len(categories) <= MAX_LISTED_TEXTS:
        words = {text.lower() for text in categories}
        if words <= {"true", "false", "1", "0"} and words & {"true", "false"}:
            notes = ("true and 1, false and 0 read alike",) if words & {"1", "0"} else ()
            return Column(
                name, "boolean", numeric({text: float(text.lower() in ("true", "1")) for text in categories}), notes
            )
        if all(re.fullmatch(r"[+-]?\d+", text) for text in categories):
            return _read_large_integers(name, categories, numeric)
        dates = dates_in(categories)
        if isinstance(dates, Doubt):
            return Column(
                name,
                "date",
                np.full(len(texts), np.nan),
                problem=f"{dates.problem}, or set {list_setting('drop', [name])}",
            )
        if dates is not None:
            return Column(name, "date", numeric(dates.values), (dates.note,) if dates.note else ())
        numbers = numbers_in(categories, options.marks, options.delimiter)
        if isinstance(numbers, Doubt):
            return Column(
                name, "numeric", np.full(len(texts), np.nan), problem=f"{numbers.problem}, or keep it as text with "
                f"{list_setting('categorical', [name])}",
            )  # fmt: skip
        if numbers is not None:
            values = numeric(numbers.values)
            return Column(name, "numeric", _mask_missing(values, options), (numbers.note,) if numbers.note else ())
    strings = spread([text if text not in absent else None for text in unique], None, object)
    blanks = sum(str(text) != text.strip() for text in raw)
    column = Column(name, "categorical", strings, ("blanks at the ends of texts removed",) if blanks else ())
    return merge_similar(column, options.similar)


def _plain_numbers(name: str, texts: pd.Series[Any], options: ColumnOptions) -> Column | None:
    """Return a column in which all texts are numbers as programs write them; None for the slower look at each text."""
    if name in options.categorical or any(options.marks):
        return None
    try:
        array = pc.utf8_trim_whitespace(pa.array(texts.to_numpy(object), pa.string(), from_pandas=True))
        absent = pc.is_in(array, value_set=pa.array(sorted(MISSING | options.na_values)))
        present = pc.if_else(absent, pa.scalar(None, pa.string()), array)
        values = pc.cast(present, pa.float64())
    except (pa.ArrowException, TypeError):
        return None
    if values.null_count == len(values):
        return None
    if pc.max(pc.abs(values)).as_py() > 2**53 and pc.all(pc.match_substring_regex(present, r"^[+-]?\d+$")).as_py():
        return None  # read exactly
    padded = present.filter(pc.match_substring_regex(present, r"^0\d+$"))
    notes: tuple[str, ...] = (f"leading zeros dropped, as of {padded[0]}",) if len(padded) else ()
    numbers = np.asarray(pc.fill_null(values, float("nan")).to_numpy(zero_copy_only=False))
    if _are_calendar_days(numbers):
        notes += ("numbers such as 20240131 read as they are; write dates as 2024-01-31",)
    return Column(name, "numeric", _mask_missing(numbers, options), notes)


def _are_calendar_days(numbers: npt.NDArray[Any]) -> bool:
    """Return whether all numbers look like days written as 20240131."""
    present = numbers[~np.isnan(numbers)]
    if (
        not len(present)
        or not (present == np.round(present)).all()
        or present.min() < 19000101
        or present.max() > 21001231
    ):
        return False
    month, day = present // 100 % 100, present % 100
    return bool(((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())


def _mask_missing(values: npt.NDArray[Any], options: ColumnOptions) -> npt.NDArray[Any]:
    """Replace the numbers that stand for missing values."""
    named = [float(na_value) for na_value in options.na_values if _is_number(na_value)]
    return np.where(np.isin(values, named), np.nan, values) if named else values


def _read_large_integers(
    name: str, texts: Sequence[str], numeric: Callable[[dict[str, float]], npt.NDArray[Any]]
) -> Column:
    """Return whole numbers, less the smallest one if float64 would round them."""
    exact = {text: int(text) for text in texts}
    least, most = min(exact.values()), max(exact.values())
    if max(abs(least), abs(most)) <= 2**53:
        return Column(name, "numeric", numeric({text: float(number) for text, number in exact.items()}))
    notes = [f"less {least}, since float64 would round numbers of this size"]
    notes += ["rounded to float64"] if most - least > 2**53 else []
    values = {text: float(number - least) for text, number in exact.items()}
    return Column(name, "numeric", numeric(values), tuple(notes))


def merge_similar(column: Column, similar: str) -> Column:
    """Look for texts of a column that differ only in letter case or blanks; refuse, merge or keep them."""
    if similar == "keep":
        return column
    counts = pd.Series(column.known).value_counts(sort=True)
    groups: dict[str, list[str]] = {}
    for text in counts.index:
        groups.setdefault(" ".join(str(text).casefold().split()), []).append(text)
    alike = [texts for texts in groups.values() if len(texts) > 1]
    if not alike:
        return column
    first = " and ".join(f"{text!r} ({counts[text]:,})" for text in alike[0])
    if similar == "refuse":
        return replace(
            column, problem=f"holds {first}, which differ only in letter case or blanks: correct them, or set "
            "data.similar=merge or keep",
        )  # fmt: skip
    common = {text: texts[0] for texts in alike for text in texts}
    values = np.array([common.get(value, value) for value in column.values], object)
    return replace(column, values=values, notes=(*column.notes, f"{first} merged"))


def arrow_texts(array: pa.ChunkedArray) -> pd.Series[Any]:
    """Return the values of a column as text, None for missing ones."""
    return pd.Series([None if value is None else str(value) for value in array.to_pylist()], dtype=object)


def column_from_arrow(name: str, array: pa.ChunkedArray, options: ColumnOptions) -> Column:
    """Understand a typed column, as of a Parquet file or a DataFrame."""
    kind = array.type
    if pa.types.is_dictionary(kind):  # declared categories stay categories
        options = replace(options, categorical=options.categorical | {name})
        return column_from_texts(name, arrow_texts(array), options)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column_from_texts(name, pd.Series(array.to_pylist(), dtype=object), replace(options, delimiter=None))
    count = len(array)
    if array.null_count == count or pa.types.is_null(kind):
        return Column(name, "empty", np.full(count, np.nan))
    if name in options.categorical or not _is_exact(array):
        return column_from_texts(name, arrow_texts(array), options)
    if pa.types.is_boolean(kind):
        return Column(name, "boolean", _floats(array.cast(pa.int8())))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return Column(name, "numeric", _mask_missing(_floats(array), options))
    if pa.types.is_decimal(kind):
        return Column(name, "numeric", _floats(array), ("decimals as float64",))
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        zone = getattr(kind, "tz", None)
        moments = pd.Series(array.cast(pa.timestamp("us"), safe=False).to_numpy())
        return Column(name, "date", days_of(moments), (f"from {zone} to UTC",) if zone not in (None, "UTC") else ())
    if pa.types.is_duration(kind):
        seconds = array.to_pandas() / pd.Timedelta(seconds=1)
        return Column(name, "date", seconds.to_numpy(np.float64), ("durations as seconds",))
    if pa.types.is_time(kind):
        seconds_ = [np.nan if value is None else _since_midnight(value) for value in array.to_pylist()]
        return Column(name, "date", np.array(seconds_), ("as seconds since 0:00",))
    return Column(
        name, "empty", np.full(count, np.nan), problem=f"holds {_kind_text(kind)}, such as "
        f"{quote_value(next(value for value in array.to_pylist() if value is not None))}: give each part a column of "
        f"its own, or set {list_setting('drop', [name])}",
    )  # fmt: skip


def _kind_text(kind: pa.DataType) -> str:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "lists"
    if pa.types.is_struct(kind):
        return "records with fields"
    if pa.types.is_map(kind):
        return "mappings"
    return f"values of type {kind}"


def _floats(array: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    filled = pc.cast(array, pa.float64(), safe=False)
    return np.asarray(pc.fill_null(filled, float("nan")).to_numpy(), np.float64)


def _is_exact(array: pa.ChunkedArray) -> bool:
    """Return whether float64 holds all values of whole numbers."""
    if not pa.types.is_integer(array.type) or array.type.bit_width < 64:
        return True
    bounds = pc.min_max(array).as_py()
    return bool(max(abs(bounds["min"]), abs(bounds["max"])) <= 2**53)


def _since_midnight(value: datetime.time) -> float:
    return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def exclusion_reason(column: Column, rows: int, *, is_only: bool) -> str | None:
    """Return why a column is no feature: constant, numbers of rows, or identifiers; None if it is one.

    Args:
        column: its first ``rows`` values are those to train on.
        rows: number of them.
        is_only: no other feature is left.
    """
    if column.problem is not None:
        return None
    values = column.values[:rows]
    if column.kind == "empty" or column.missing == len(column.values):
        return "has no values"
    different = pd.Series(values).nunique(dropna=True)
    if different == 1 and not column.is_missing[:rows].any():
        return f"is {format_value(values[0])} in every row"
    if different < rows or rows < 3 or is_only:
        return None
    if column.kind == "categorical":
        return "is a different text in every row"
    name = re.sub(r"[ _.]+", " ", column.name).strip()
    if column.kind != "numeric" or not (values == np.round(values)).all():
        return None
    if ROW_NAME.fullmatch(name) and is_row_number(values):
        return "numbers the rows"
    if ID_NAME.fullmatch(column.name) and rows >= 10:
        return "is a different number in every row and named like an identifier"
    return None


def is_row_number(values: npt.NDArray[Any]) -> bool:
    """Return whether values rise by one from row to row."""
    return len(values) >= 3 and bool((np.diff(values) == 1).all())


def format_value(value: Any) -> str:
    """Return a value of a column for a message: a text in quotes, a number in its shortest form."""
    return repr(value) if isinstance(value, str) else with_minus_sign(f"{value:g}")
