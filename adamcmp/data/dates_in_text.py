"""Dates and times of day that a table writes as text.

Takes the different texts of one column and returns days since 1970-01-01 or seconds, or says why they cannot be read
with certainty.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from adamcmp.data.numbers_in_text import PLACEHOLDERS, Doubt

DAY_MICROSECONDS = 86_400e6
ISO = re.compile(r"\d{4}-\d\d-\d\d([ T].*)?")
OFFSET = re.compile(r".*\d([ ]?Z|[+-]\d\d:?\d\d)")
SLASHED = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}([ T].*)?")
NAMED = re.compile(
    r"[A-Z][a-z]{2,8}[ -]\d{1,2},?[ -]\d{4}|\d{1,2}[ -][A-Z][a-z]{2,8}[ -]\d{2,4}|[A-Z][a-z]{2,8}[ -]\d{4}"
)
MONTH = re.compile(r"\d{4}[-/](0[1-9]|1[0-2])")
TIME = re.compile(r"(\d{1,4}):([0-5]\d)(:([0-5]\d(\.\d+)?))?( ?([AaPp])\.?[Mm]\.?)?")
FORMS = (
    "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d.%m.%Y", "%Y.%m.%d", "%d-%m-%Y", "%m-%d-%Y", "%b %d %Y", "%B %d %Y",
    "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y",
    "%b %Y", "%B %Y", "%b-%Y", "%Y-%m", "%Y/%m",
)  # fmt: skip
LEAST_SHARE = 0.5
"""Share of dates among a column's texts from which the others are looked at."""


class Dates(NamedTuple):
    """The numbers of a column's different texts."""

    values: dict[str, float]
    note: str
    """How they were read; empty for dates as 2024-01-31."""


def dates_in(texts: Sequence[str]) -> Dates | Doubt | None:
    """Read the different texts of a column as dates or times.

    Args:
        texts: without blanks at their ends, and without those that stand for missing values everywhere.

    Returns:
        The numbers, a doubt if most texts look like dates, or None if they are none.
    """
    placeholders = [text for text in texts if text.lower() in PLACEHOLDERS]
    rest = [text for text in texts if text.lower() not in PLACEHOLDERS]
    alike = [text for text in rest if _looks(text)]
    if not alike or len(alike) < LEAST_SHARE * len(rest) or (len(alike) < len(rest) and len(alike) < 3):
        return None
    if len(alike) < len(rest):
        strange = ", ".join(repr(text) for text in rest if text not in set(alike))
        return Doubt(f"holds dates or times, but also {strange[:60]}: correct them, or name them in data.na_values")
    dates = _times(rest) if TIME.fullmatch(rest[0]) else _iso(rest) if ISO.fullmatch(rest[0]) else _forms(rest)
    if not isinstance(dates, Dates) or not placeholders:
        return dates
    note = f"{', '.join(map(repr, placeholders[:3]))} read as missing"
    values = dates.values | dict.fromkeys(placeholders, math.nan)
    return Dates(values, ", ".join(filter(None, (dates.note, note))))


def _looks(text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in (TIME, ISO, SLASHED, NAMED, MONTH))


def days_of(moments: pd.Series) -> npt.NDArray[np.float64]:
    """Return moments without a time zone as days since 1970-01-01; NaN for missing ones."""
    stamps = moments.to_numpy("datetime64[us]")
    days = stamps.astype(np.int64) / DAY_MICROSECONDS
    return np.where(np.isnat(stamps), np.nan, days)


def _times(texts: Sequence[str]) -> Dates | Doubt | None:
    """Read times of day and durations as seconds."""
    values: dict[str, float] = {}
    for text in texts:
        match = TIME.fullmatch(text)
        if match is None:
            return None
        hours, half = int(match[1]), (match[7] or "").lower()
        if half:
            hours = hours % 12 + (12 if half == "p" else 0)
        values[text] = 3600.0 * hours + 60.0 * int(match[2]) + float(match[4] or 0)
    return Dates(values, "hours and minutes as seconds")


def _iso(texts: Sequence[str]) -> Dates | Doubt | None:
    offsets = [text for text in texts if OFFSET.fullmatch(text[10:])]
    if offsets and len(offsets) < len(texts):
        other = next(text for text in texts if text not in set(offsets))
        return Doubt(f"holds times with and without an offset, such as {offsets[0]!r} and {other!r}: write all alike")
    moments = pd.to_datetime(pd.Series(texts), format="ISO8601", utc=True, errors="coerce")
    if moments.isna().any():
        bad = [text for text, is_bad in zip(texts, moments.isna(), strict=True) if is_bad]
        return Doubt(f"holds dates, but also {bad[0]!r}, which is none: correct it, or name it in data.na_values")
    days = days_of(moments.dt.tz_convert(None))
    return Dates(dict(zip(texts, days.tolist(), strict=True)), "times in UTC" if offsets else "")


def _forms(texts: Sequence[str]) -> Dates | Doubt | None:
    """Read dates in the one common form that fits all of them."""
    readings: dict[tuple[float, ...], str] = {}
    for form in FORMS:
        try:
            moments = pd.to_datetime(pd.Series(texts), format=form)
        except ValueError:
            continue
        readings.setdefault(tuple(days_of(moments).tolist()), form)
    if len(readings) == 1:
        ((values, form),) = readings.items()
        return Dates(dict(zip(texts, values, strict=True)), f"dates in the form {form}, as days since 1970")
    if not readings and not all(SLASHED.fullmatch(text) for text in texts):
        return None
    why = "may be read in several ways" if readings else "are in no common form"
    return Doubt(f"holds dates, such as {texts[0]!r}, which {why}: write them as 2024-01-31")
