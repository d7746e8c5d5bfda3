"""The summary of a table: its columns by kind, conversions, and warnings of features that may be no features."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from adamcmp.data.columns import Column, format_value, is_row_number
from adamcmp.data.raw import FEW_CLASSES
from adamcmp.data.read_table import Frame
from adamcmp.data.setting_text import list_setting

LEAST_TO_COMPARE = 20
"""Rows from which a feature that determines the label is no chance."""
SAME_ORDER = 1 - 1e-9
"""Rank correlation from which two columns have the same order."""
LISTED = 8
"""Columns that a summary names one by one."""


def summary_of(
    frames: Mapping[str, Frame],
    by_name: Mapping[str, Column],
    wanted: Sequence[str],
    labels: Sequence[str],
    dropped: Sequence[str],
    reasons: Mapping[str, str],
    aside: Sequence[str],
    time: object,
    missing: str,
    unseen: Sequence[str],
    rows: int,
    is_last: bool,
    kind: str,
) -> Iterator[tuple[str, str]]:
    """Yield how the table was understood, as pairs of a short heading and a text."""
    yield (
        "data",
        "; ".join(f"{'test file ' if part == 'test' else ''}{frame.described}" for part, frame in frames.items()),
    )
    columns = [by_name[name] for name in wanted]
    by_kind = {
        "numeric": "numeric",
        "boolean": "true/false",
        "date": "date (as days since 1970)",
        "categorical": "categorical",
    }
    parts = []
    for column_kind, called in by_kind.items():
        of_kind = [column for column in columns if column.kind == column_kind]
        if of_kind:
            many = [f"{c.name} ({len(set(c.known))})" if column_kind == "categorical" else c.name for c in of_kind]
            listed = ", ".join(many[:LISTED]) + (f", … ({len(many) - LISTED} more)" if len(many) > LISTED else "")
            parts.append(f"{len(of_kind)} {called}: {listed}")
    yield "features", "; ".join(parts)
    for name, reason in reasons.items():
        yield "left out", f"{name!r} {reason} (list it in data.columns to keep it)"
    if dropped:
        yield "left out", f"{', '.join(map(repr, dropped))} by data.drop"
    for column in (by_name[name] for name in (*labels, *wanted, *aside)):
        for note in column.notes:
            yield "converted", f"{column.name!r}: {note}"
    if is_last:
        yield "label", f"{labels[0]!r}, the last column; data.label names another one"
    if (gone := frames["train"].rows - rows) > 0:
        yield "left out", f"{gone:,} rows without a label"
    for column in columns:
        if determined := gives_away(column, [by_name[name] for name in labels], rows):
            yield (
                "warning",
                f"{column.name!r} {determined}; {list_setting('drop', [*dropped, column.name])} leaves it out",
            )
    for column in columns:
        if column.kind == "numeric" and is_row_number(column.values[:rows]) and column.values[0] in (0, 1):
            remedy = list_setting("drop", [*dropped, column.name])
            yield "note", f"{column.name!r} rises by one from row to row; {remedy} leaves it out"
    yield from _placeholders(columns)
    counted = describe_missing(columns)
    treatment = {"median": "filled with the median of training", "indicator": "filled, with an indicator per column"}
    text = (
        "; missing text is a category"
        if any(column.kind == "categorical" and column.missing for column in columns)
        else ""
    )
    yield "missing", f"{counted}; {treatment.get(missing, missing)}{text}" if counted else "none"
    for column in (by_name[name] for name in labels if kind == "quantities"):
        if is_whole(column):
            different = len(set(column.known.tolist()))
            count = f"{different:,} different whole numbers, read as a quantity"
            classes = "; data.targets=classes reads them as classes" if 2 * different <= len(column.known) else ""
            yield "note", f"label {column.name!r} has {count}{classes}"
    if unseen:
        yield "note", f"categories of the test file alone, encoded as none: {'; '.join(unseen)}"
    if aside:
        how = "sorted by it, the last rows are tested on" if time is not None else "equal values stay in one part"
        yield "split by", f"{aside[0]!r}: {how}"


def described(column: Column) -> str:
    """Return name, kind, number of missing values and examples of a column."""
    values = pd.unique(pd.Series(column.known))[:3]
    if column.kind == "date" and not column.notes and all(float(value).is_integer() for value in values):
        examples = ", ".join(str(np.datetime64(0, "D") + int(value)) for value in values)
    else:
        examples = ", ".join(map(format_value, values))
    gaps = f", {column.missing:,} missing" if column.missing else ""
    return f"{column.name!r} {column.kind}{gaps}{f', such as {examples}' if examples else ''}"


def is_whole(column: Column) -> bool:
    """Return whether a column has only whole numbers or truth values."""
    finite = column.kind == "numeric" and bool(np.isfinite(column.known).all())
    return column.kind == "boolean" or (finite and bool((column.known % 1 == 0).all()))


def _placeholders(columns: Sequence[Column]) -> Iterator[tuple[str, str]]:
    """Yield columns in which a number such as −999 may stand for a missing value."""
    for column in columns:
        present = column.known
        if column.kind != "numeric" or len(present) < 20:
            continue
        for value in (present.min(), present.max()):
            rest = present[present != value]
            if abs(value) not in (99, 999, 9999, 99999, 999999) or not len(rest) or len(rest) == len(present) - 1:
                continue
            spread = rest.max() - rest.min()
            gap = min(abs(value - rest.min()), abs(value - rest.max()))
            if math.isfinite(spread) and gap > spread:
                count = len(present) - len(rest)
                reason = f"{column.name!r} is {value:g} in {count:,} rows"
                yield "note", f"{reason}: if that means missing, set {list_setting('na_values', [f'{value:g}'])}"


def gives_away(column: Column, labels: Sequence[Column], rows: int) -> str | None:
    """Return how a feature determines a label in all rows; None if it does not."""
    if rows < LEAST_TO_COMPARE:
        return None
    values = pd.Series(column.values[:rows])
    for label in labels:
        y = pd.Series(label.values[:rows])
        if label.kind == "categorical" or y.nunique() <= FEW_CLASSES:
            groups = y.groupby(values, dropna=False)
            if 1 < groups.ngroups <= FEW_CLASSES and y.nunique() > 1 and int(groups.nunique(dropna=False).max()) == 1:
                return f"determines the label {label.name!r} in every row"
        elif column.kind != "categorical" and values.nunique() > FEW_CLASSES:
            both = values.notna() & y.notna()
            with np.errstate(invalid="ignore"):  # of a column that does not vary
                correlation = np.corrcoef(values[both].rank(), y[both].rank())[0, 1]
            if abs(correlation) > SAME_ORDER:
                return f"orders the rows exactly as the label {label.name!r} does"
    return None


def describe_missing(columns: Sequence[Column]) -> str:
    """Return the columns with missing values and their numbers, the largest first."""
    lacking = sorted((column for column in columns if column.missing), key=lambda column: -column.missing)
    return ", ".join(f"{column.name!r} {column.missing:,}" for column in lacking)
