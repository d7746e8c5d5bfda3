"""Numbers that a table writes as text: separators, currency and percent signs, units, placeholders for missing values.

Takes the different texts of one column and returns their numbers, or says why they cannot be read with certainty.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
"""A number as Python writes it."""
MISSING = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
"""Texts that stand for a missing value in any column: those of ``pandas.read_csv``."""
PLACEHOLDERS = frozenset({
    "?", "??", "???", "-", "--", "---", "–", "—", ".", "..", "...", "…", "*", "**", "_", "unknown", "unk",
    "missing", "not available", "not applicable", "none", "nil", "n.a.", "n.a", "na", "nan", "null", "(null)",
    "0000-00-00",
    "no data", "nd", "n.d.", "tbd", "undefined", "\\n", "#div/0!", "#value!", "#ref!", "#n/a", "n/a", "<na>",
})  # fmt: skip
"""Texts, in lower case, that stand for a missing value in a column of numbers."""
CODES = "USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|BRL|MXN|KRW|ZAR|TRY|RUB|SGD|HKD"
"""Codes of currencies that may stand before a number."""
CURRENCIES = "$€£¥₹₩₽฿₺"
UNITS = frozenset({
    "kg", "g", "mg", "t", "lb", "lbs", "oz", "km", "m", "cm", "mm", "mi", "in", "ft", "yd", "hr", "hrs", "min",
    "s", "sec", "ms", "days", "years", "yrs", "°", "°C", "°F", "mph", "km/h", "kmh", "m/s", "kW", "kWh", "Hz",
    "kHz", "MHz", "GHz", "l", "L", "ml", "mL", "cc", "hp", "bhp", "kcal", "cal", "kJ", "Pa", "hPa", "kPa", "bar",
    "mbar", "KB", "kB", "MB", "GB", "TB", "px", "m2", "m²", "sqft", "sqm", "m3", "m³", "ha", "ppm", "ppb", "dB",
    "k", "K", "M", "USD", "EUR", "GBP", "CHF", "JPY", "mpg", "rpm", "Nm", "pp",
})  # fmt: skip
"""Texts that may follow a number; any other letters make a category of it."""
SPACES = " \u00a0\u2007\u2009\u202f"
DRESSED = re.compile(
    rf"(?P<open>\()?[{SPACES}]*(?P<sign>[+\-−])?[{SPACES}]*(?P<before>[{CURRENCIES}]|({CODES})(?=[{SPACES}\d]))?"
    rf"[{SPACES}]*(?P<minus>[-−])?(?P<core>\d[\d.,'’_{SPACES}]*\d|\d|[.,]\d+)(?P<point>[.,])?"
    rf"(?P<power>[eE][+-]?\d+)?[{SPACES}]*(?P<after>%|‰|[{CURRENCIES}]|[A-Za-zµ°²³/\d]*)[{SPACES}]*(?P<close>\))?"
)
PAIRS = [(".", ","), (".", "'"), (".", "’"), (".", "_"), (",", "."), (",", "'"), (",", "’"), (".", ""), (",", "")]
"""Marks of decimals and of thousands that occur together; spaces of any width may separate thousands in all of them."""
MOST_LIKELY_CATEGORIES = 10
"""A column of at most this many different texts, some of them numbers and some not, holds categories."""


class Numbers(NamedTuple):
    """The numbers of a column's different texts."""

    values: dict[str, float]
    """Numbers by text; NaN for a placeholder."""
    note: str
    """How they were read, if it is not plain; empty otherwise."""


class Doubt(NamedTuple):
    """A column that looks like numbers, and the reason why it cannot be read as such with certainty."""

    problem: str


class Marks(NamedTuple):
    """Decimal mark and thousands separator that the user has given; None where they are to be found."""

    decimal: str | None = None
    thousands: str | None = None


def numbers_in(texts: Sequence[str], marks: Marks, delimiter: str | None) -> Numbers | Doubt | None:
    """Read the different texts of a column as numbers.

    Args:
        texts: without blanks at their ends, and without those that stand for missing values everywhere.
        marks: the user's settings.
        delimiter: of the file; None if it has none. Between commas, ``1,950`` is a number with thousands.

    Returns:
        The numbers, a doubt if most texts look like numbers, or None if they are categories.
    """
    has_marks = marks.decimal is not None or marks.thousands is not None
    if not has_marks and all(PLAIN.fullmatch(text) for text in texts):
        padded = [text for text in texts if re.fullmatch(r"0\d+", text)]
        note = f"leading zeros dropped, as of {padded[0]}" if padded else ""
        return Numbers({text: float(text) for text in texts}, note)
    matches = {text: match for text in texts if (match := DRESSED.fullmatch(text)) and _is_closed(match)}
    units = {match["after"] for match in matches.values()}
    if not units <= {"", "%", "‰", *CURRENCIES, *UNITS}:
        matches = {text: match for text, match in matches.items() if match["after"] in ("", *CURRENCIES, "%", "‰")}
    unmatched = [text for text in texts if text not in matches]
    placeholders = [text for text in unmatched if text.lower() in PLACEHOLDERS]
    strange = [text for text in unmatched if text.lower() not in PLACEHOLDERS]
    if not matches or 2 * len(matches) < len(texts):
        return None
    if strange:
        return _mixed(texts, strange)
    if len(placeholders) > 0 and len(matches) < 2:
        return None
    dressing = {(match["before"] or "", match["after"] or "") for match in matches.values()}
    if len(dressing) > 1:
        examples = " and ".join(repr(text) for text in _one_of_each(matches))
        return Doubt(f"holds numbers in different units, such as {examples}: write all in one unit")
    numbers = _separated({text: match["core"] for text, match in matches.items()}, marks, delimiter)
    if isinstance(numbers, Doubt):
        return numbers
    cores, separators = numbers
    values = {text: _signed(cores[text], match) for text, match in matches.items()}
    if not all(map(math.isfinite, values.values())):
        return Doubt("holds numbers beyond the range of float64: write them in another unit")
    notes = [separators, *(f"{part!r} left out" for part in next(iter(dressing)) if part)]
    notes += ["numbers in brackets read as negative"] if any(match["open"] for match in matches.values()) else []
    notes += [f"{', '.join(map(repr, placeholders[:3]))} read as missing"] if placeholders else []
    return Numbers(values | dict.fromkeys(placeholders, math.nan), ", ".join(filter(None, notes)))


def _is_closed(match: re.Match[str]) -> bool:
    return bool(match["open"]) == bool(match["close"])


def _mixed(texts: Sequence[str], strange: Sequence[str]) -> Doubt | None:
    """Return a doubt about many numbers with a few other texts between them; few texts are categories."""
    if len(texts) <= MOST_LIKELY_CATEGORIES:
        return None
    examples = ", ".join(map(repr, strange[:3]))
    return Doubt(
        f"holds numbers, but also {examples}: correct them, or name them in data.na_values if they mean missing"
    )


def _one_of_each(matches: dict[str, re.Match[str]]) -> Iterable[str]:
    return list({(match["before"], match["after"]): text for text, match in matches.items()}.values())[:3]


def _signed(value: float, match: re.Match[str]) -> float:
    value *= float(f"1{match['power']}") if match["power"] else 1.0
    negative = (match["sign"] in ("-", "−")) != (match["minus"] is not None)
    return -value if negative or match["open"] else value


def _separated(cores: dict[str, str], marks: Marks, delimiter: str | None) -> tuple[dict[str, float], str] | Doubt:
    """Read digits with separators, in the one way that fits all of them."""
    bare = {text: "".join(character for character in core if character not in SPACES) for text, core in cores.items()}
    if any(bare[text] != core and not _is_grouped(core) for text, core in cores.items()):
        return Doubt(f"holds numbers with blanks, such as {next(t for t, c in cores.items() if bare[t] != c)!r}")
    spaced = " and blanks" if bare != cores else ""
    readings: dict[tuple[float, ...], tuple[str, str]] = {}
    for decimal, thousands in _pairs(marks):
        values = [_value(core, decimal, thousands) for core in bare.values()]
        if all(value is not None for value in values):
            readings.setdefault(tuple(value for value in values if value is not None), (decimal, thousands))
    if not readings:
        given = " with data.decimal and data.thousands as given" if any(marks) else ""
        return Doubt(
            f"holds numbers that cannot be read in one way{given}, such as {next(iter(cores))!r}: write 1234.5, or "
            "set data.decimal and data.thousands"
        )
    if len(readings) > 1:
        likely = [pair for pair in readings.values() if pair[1] == ","]
        between_commas = delimiter in (",", "\t", "|") and len(likely) == 1
        if not between_commas:
            example = next(text for text, core in bare.items() if not PLAIN.fullmatch(core) or "." in core)
            return Doubt(f"holds {example!r}, which may have thousands or decimals: set data.thousands or data.decimal")
        readings = {values: pair for values, pair in readings.items() if pair in likely}
    ((values_read, (decimal, thousands)),) = readings.items()
    note = [f"{thousands!r}{spaced} between thousands"] if thousands and _uses(bare, thousands) else []
    note += ["blanks between thousands"] if spaced and not note else []
    note += [f"{decimal!r} before decimals"] if decimal != "." and _uses(bare, decimal) else []
    return dict(zip(cores, values_read, strict=True)), ", ".join(note)


def _uses(cores: dict[str, str], mark: str) -> bool:
    return any(mark in core for core in cores.values())


def _is_grouped(core: str) -> bool:
    """Return whether blanks stand between groups of three digits alone."""
    return re.fullmatch(rf"\d{{1,3}}([{SPACES}]\d{{3}})+([.,]\d+)?", core) is not None


def _pairs(marks: Marks) -> list[tuple[str, str]]:
    """Return the pairs of marks that the user's choice leaves."""
    pairs = PAIRS
    if marks.decimal is not None:
        others = [thousands for _, thousands in PAIRS if thousands != marks.decimal]
        pairs = [(marks.decimal, thousands) for thousands in dict.fromkeys(others)]
    if marks.thousands is not None:
        decimals = [marks.decimal] if marks.decimal is not None else [mark for mark in ".," if mark != marks.thousands]
        pairs = [(decimal, marks.thousands) for decimal in decimals]
    return pairs


def _value(core: str, decimal: str, thousands: str) -> float | None:
    """Return the number that digits mean with these marks; None if they do not fit them."""
    integer_part, _, fraction = core.partition(decimal)
    if fraction and not fraction.isdecimal():
        return None
    if thousands and thousands in integer_part:
        three = rf"[1-9]\d{{0,2}}({re.escape(thousands)}\d{{3}})+"
        lakh = r"[1-9]\d?(,\d\d)+,\d{3}" if thousands == "," else three
        if not (re.fullmatch(three, integer_part) or re.fullmatch(lakh, integer_part)):
            return None
        integer_part = integer_part.replace(thousands, "")
    if not (integer_part.isdecimal() or (not integer_part and fraction)):
        return None
    return float(f"{integer_part or 0}.{fraction or 0}")
