"""CSV and Parquet files as columns of texts or typed values, with a description of the file.

The encoding is detected by charset-normalizer, the delimiter by clevercsv; every setting overrides its detection.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import math
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from string import ascii_letters
from typing import Any, NamedTuple

import clevercsv
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from charset_normalizer import from_bytes

from adamcmp.data.columns import Column, ColumnOptions, arrow_texts, column_from_arrow, column_from_texts
from adamcmp.data.numbers_in_text import MISSING, PLAIN
from adamcmp.errors import InputError, one_line, quote_value

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "blanks"}
SAMPLE_LINES, SAMPLE_CHARACTERS, SAMPLE_BYTES = 200, 20_000, 1_000_000
NOT_LATIN = ("cp1251", "cp1253", "cp1255", "cp1256", "cp855", "cp866", "koi8", "mac_cyrillic", "mac_greek", "iso8859_5",
             "iso8859_6", "iso8859_7", "iso8859_8")  # fmt: skip
"""Encodings of one byte per character for other alphabets."""
WESTERN = "ÄÖÜäöüßÀÁÂÃÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕØÙÚÛàáâãåæçèéêëìíîïñòóôõøùúû€„…‘’“”•–—«»°²µ§£©®·\xa0".encode("cp1252")
"""Bytes above 127 of texts in Western European languages."""
OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}  # fmt: skip


class Layout(NamedTuple):
    """Settings of the user about a file; None for those that are to be detected."""

    delimiter: str | None = None
    header: bool | None = None
    encoding: str | None = None


class Frame(NamedTuple):
    """A table as it stands in its file."""

    columns: dict[str, pd.Series[Any] | pa.ChunkedArray]
    """Texts, or typed values, by name."""
    rows: int
    described: str
    """Properties of the file, in words."""
    delimiter: str | None = None


def read(path: str | Path, option: str, layout: Layout) -> Frame:
    """Read a CSV or Parquet file.

    Raises:
        InputError: there is no such file, it cannot be read, or its header is no row of names.
    """
    file = Path(path).expanduser()
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet}
    kind = next((suffix for suffix in readers if suffix in file.suffixes[-2:]), None)
    if kind is None:
        raise InputError(f"{option}={path}: must end in .csv, .csv.gz, .tsv, .parquet or .npz")
    if not file.is_file():
        raise InputError(f"{option}={path}: no such file")
    try:
        frame = readers[kind](file, layout)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, lzma.LZMAError, csv.Error) as error:
        hint = "; if its first lines are no table, remove them" if "fields" in str(error) else ""
        raise InputError(
            f"{path}: cannot be read as {kind} ({one_line(error)}); correct or replace it{hint}"
        ) from error
    if not frame.rows or len(frame.columns) < 2:
        raise InputError(
            f"{path}: {frame.rows} rows and {len(frame.columns)} columns; needs a row of names, rows, and two columns. "
            "If fields are between other characters, set data.delimiter"
        )
    return frame


def understood(frames: Sequence[Frame], names: Sequence[str], options: ColumnOptions) -> dict[str, Column]:
    """Understand the named columns of all frames, one below the other."""
    understood_columns: dict[str, Column] = {}
    for name in names:
        columns = [frame.columns[name] for frame in frames]
        if any(isinstance(column, pd.Series) for column in columns):
            texts = [column if isinstance(column, pd.Series) else arrow_texts(column) for column in columns]
            understood_columns[name] = column_from_texts(name, pd.concat(texts, ignore_index=True), options)
        else:
            chunks = [chunk for column in columns for chunk in _alike(columns, column).chunks]
            understood_columns[name] = column_from_arrow(name, pa.chunked_array(chunks), options)
    return understood_columns


def _alike(columns: Sequence[pa.ChunkedArray], column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in the type of the first one, if they differ."""
    if pa.types.is_dictionary(column.type) and len(columns) > 1:
        column = column.cast(column.type.value_type)
    like = columns[0].type
    like = like.value_type if pa.types.is_dictionary(like) and len(columns) > 1 else like
    return column if column.type == like else column.cast(like)


def from_frame(frame: pd.DataFrame) -> Frame:
    """Take a DataFrame of a data function as the table that it is.

    Raises:
        InputError: two columns have one name, or a column holds values of several types.
    """
    note = ""
    if frame.index.names != [None]:
        frame = frame.reset_index()
        note = ", with its index as columns"
    elif not frame.index.equals(pd.RangeIndex(len(frame))):
        note = ", without its index"
    names = [str(name) for name in frame.columns]
    _check_names(names, "the DataFrame")
    columns: dict[str, pd.Series[Any] | pa.ChunkedArray] = {}
    for i, name in enumerate(names):
        try:
            column = frame.iloc[:, i]
            if isinstance(column.dtype, pd.CategoricalDtype):
                texts = [None if value is None or value != value else str(value) for value in column.astype(object)]
                columns[name] = pa.chunked_array([pa.array(texts, pa.string()).dictionary_encode()])
            else:
                columns[name] = pa.chunked_array([pa.Array.from_pandas(column)])
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise InputError(f"column {name!r} of the DataFrame: {one_line(error)}; give it one type") from error
    return Frame(columns, len(frame), f"{len(frame):,} rows of a DataFrame{note}")


def _read_parquet(file: Path, _layout: Layout) -> Frame:
    stored = pq.ParquetFile(file).read()
    _check_names(stored.column_names, file.name)
    described = (stored.schema.pandas_metadata or {}).get("columns", [])
    for column in described:  # Parquet itself knows categories of texts alone
        name = column.get("name")
        if column.get("pandas_type") == "categorical" and name in stored.column_names:
            i = stored.column_names.index(name)
            stored = stored.set_column(i, name, pc.dictionary_encode(stored.column(i)))
    return Frame(
        dict(zip(stored.column_names, stored.columns, strict=True)), len(stored), f"{file.name}, {len(stored):,} rows"
    )


def _read_csv(file: Path, layout: Layout) -> Frame:
    content = _content(file)
    text, encoding = _decoded(content, layout.encoding, file)
    if "\0" in text:
        raise ValueError("it holds characters of value 0")
    declared = re.match(r'"?sep=(.)"?\r?\n', text)
    if declared:  # a line that spreadsheets write
        text = text[declared.end() :]
    if not text.strip():
        raise ValueError("it is empty")
    sample = (
        text[:SAMPLE_CHARACTERS] if len(text) <= SAMPLE_CHARACTERS else text[:SAMPLE_CHARACTERS].rpartition("\n")[0]
    )
    separator = {"\\t": "\t", "tab": "\t"}.get(layout.delimiter or "", layout.delimiter)
    delimiter = separator or (declared and declared[1]) or _delimiter(sample, file)
    if len(delimiter) != 1:
        raise InputError(f"data.delimiter={delimiter!r}: must be one character, such as ';', or tab")
    lines = list(csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, skipinitialspace=True))
    lines = [line for line in lines if line][:SAMPLE_LINES]
    if not lines:
        raise ValueError("it holds no rows")
    widths = Counter(map(len, lines[1:]))
    width = widths.most_common(1)[0][0] if widths else len(lines[0])
    unnamed_first = len(lines[0]) == width - 1 and _are_row_names(lines[1:], text, width)  # as R writes them
    if not unnamed_first and len(lines[0]) < width:
        raise ValueError(f"its first row has {len(lines[0])} fields, others have {width}")
    with_header = layout.header
    if with_header is None:
        if not unnamed_first and looks_like_data(lines):
            raise InputError(
                f"{file}: the first row looks like data ({quote_value(','.join(lines[0]))[1:-1]}); set "
                "data.header=false if there are no names (columns are then called 1, 2, …), or data.header=true"
            )
        with_header = True
    frame = pd.read_csv(
        io.StringIO(text, newline=""), sep=delimiter, header=None, dtype=object, keep_default_na=False, na_filter=False,
        skiprows=1 if with_header and unnamed_first else 0, skipinitialspace=True, quotechar='"', engine="c",
    )  # fmt: skip
    if with_header:
        called = ["", *lines[0]] if unnamed_first else [str(name) for name in frame.iloc[0]]
        frame = frame if unnamed_first else frame.iloc[1:]
    else:
        called = [str(1 + i) for i in range(frame.shape[1])]
    if all(re.fullmatch(r"'[^']*'", name.strip()) for name in called):
        called = [name.strip()[1:-1] for name in called]
    taken = {name.strip() for name in called}
    called = [name.strip() or _unnamed(i, taken) for i, name in enumerate(called)]
    _check_names(called, file.name)
    columns: dict[str, Any] = {name: frame.iloc[:, i].reset_index(drop=True) for i, name in enumerate(called)}
    separated = "" if delimiter == "," else f", between {DELIMITERS.get(delimiter, repr(delimiter))}"
    named = "" if with_header else ", no row of names"
    named += ", names of rows without a header" if unnamed_first else ""
    short = int(frame.isna().any(axis=1).sum())
    cut = f", {short:,} of them too short and filled as missing" if short else ""
    return Frame(columns, len(frame), f"{file.name}, {len(frame):,} rows{cut}{separated}{named}{encoding}", delimiter)


def _unnamed(i: int, taken: set[str]) -> str:
    """Return the name of a column without one, unlike those of others."""
    name = f"Unnamed: {i}"
    return name if name not in taken else f"{name} (no name)"


def _are_row_names(lines: Sequence[Sequence[str]], text: str, width: int) -> bool:
    """Return whether the first fields of rows that have one more than the header are names or numbers of rows."""
    rows = [line for line in lines if len(line) == width]
    firsts = [line[0].strip() for line in rows]
    counts = len(firsts) > 1 and all(text.isdecimal() for text in firsts) and _rises([int(text) for text in firsts])
    quotes = text.partition("\n")[2].lstrip().startswith('"')
    return len(set(firsts)) == len(firsts) and (counts or quotes) and any(line[-1].strip() for line in rows)


def _rises(numbers: Sequence[int]) -> bool:
    return all(later == earlier + 1 for earlier, later in pairwise(numbers))


def _check_names(names: Sequence[str], where: str) -> None:
    """Refuse columns of one name, of which one may be the label again."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{where}: {names.count(twice[0])} columns are called {twice[0]!r}; rename or remove them")


def _content(file: Path) -> bytes:
    suffix = file.suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
            if len(names) != 1:
                raise ValueError(f"the archive holds {len(names)} files, not one")
            return archive.read(names[0])
    if suffix not in OPENERS:
        return file.read_bytes()
    with OPENERS[suffix](file) as opened:
        content: bytes = opened.read()
    return content


def _decoded(content: bytes, encoding: str | None, file: Path) -> tuple[str, str]:
    """Return the text of a file, and a description of its encoding unless that is UTF-8."""
    if encoding is not None:
        try:
            return content.decode(encoding), f", {encoding}"
        except LookupError as error:
            raise InputError(f"data.encoding={encoding}: no such encoding; give utf-8, latin-1, cp1252, …") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{file}: is not {encoding} at byte {error.start:,}; set another data.encoding") from error
    for mark, name in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return content.decode(name), "" if name.startswith("utf-8") else f", {name}"
    try:
        return content.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        if b"\0" in content[:SAMPLE_BYTES]:
            raise ValueError(f"not UTF-8 at byte {error.start:,}, and no text in any single-byte encoding") from error
        start = max(0, error.start - SAMPLE_BYTES // 2)
    best = from_bytes(content[start : start + SAMPLE_BYTES]).best()
    if best is None:
        name = "latin-1"
    elif not best.encoding.startswith(NOT_LATIN) and _is_western(content):
        name = "cp1252"
    else:
        name = best.encoding
    note = "by its bytes (else set data.encoding)"
    try:
        return content.decode(name), f", {name} {note}"
    except UnicodeDecodeError:
        return content.decode("latin-1"), f", latin-1 {note}"


def _is_western(content: bytes) -> bool:
    """Return whether a text that is not UTF-8 reads as cp1252, which holds latin-1.

    All bytes above 127 are then letters of Western European languages, no more than ASCII letters, or typographic
    signs. Texts in Cyrillic or Greek consist of such bytes; those of DOS and old Macs have letters from 128 to 159.
    """
    high = content.translate(None, bytes(range(128)))
    others, letters = high.translate(None, WESTERN), high.translate(None, bytes(range(0xC0)))
    return not others and len(letters) <= len(content) - len(content.translate(None, ascii_letters.encode()))


def _delimiter(sample: str, file: Path) -> str:
    """Return the character between fields, as clevercsv finds it; a comma where there is but one column."""
    try:
        dialect = clevercsv.Sniffer().sniff(sample, delimiters=[",", ";", "\t", "|"])
    except (clevercsv.exceptions.Error, csv.Error):
        dialect = None
    delimiter = (dialect.delimiter if dialect is not None else "") or ","
    if file.suffixes[-1:] == [".tsv"] and "\t" in sample:
        return "\t"
    return str(delimiter)


def looks_like_data(lines: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row of a file holds values in place of names.

    Its numbers, unless they count columns or years, stand in columns of numbers; or its texts occur again below.
    """
    first, rest = lines[0], lines[1:]
    if len(rest) < 3:
        return False
    below = [
        [row[i].strip() for row in rest if i < len(row) and row[i].strip() not in MISSING] for i in range(len(first))
    ]
    numbers = [i for i, text in enumerate(first) if PLAIN.fullmatch(text.strip()) and math.isfinite(float(text))]
    counted = [float(first[i]) for i in numbers]
    if len(numbers) > 1 and bool((np.diff(counted) == 1).all()) and all(map(float.is_integer, counted)):
        return False
    if len(numbers) > 1 and len({first[i] for i in numbers}) < len(numbers):
        return True  # names are not numbers that occur twice
    in_range = 0
    for i in numbers:
        values = [float(text) for text in below[i] if PLAIN.fullmatch(text)]
        in_range += len(values) > len(below[i]) / 2 and min(values) <= float(first[i]) <= max(values)
    if numbers and 2 * in_range >= len(numbers):
        return True
    texts = [i for i, text in enumerate(first) if i not in numbers and text.strip()]
    again = sum(first[i].strip() in below[i] for i in texts)
    return bool(texts) and not numbers and 2 * again > len(texts)
