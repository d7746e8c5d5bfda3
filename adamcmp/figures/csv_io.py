"""A table as a report's csv holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TextIO

import pandas as pd

_TEXT_COLUMNS = (
    "arm",
    "a",
    "b",
    "other",
    "task",
    "kind",
    "decay",
    "metric",
    "edge",
    "restarts",
    "convention",
    "part",
    "by",
    "unit",
)
"""Columns that hold text, whatever it looks like."""


def read_table(source: Path | TextIO) -> pd.DataFrame:
    """Read a table: only empty fields are missing values, and the apostrophe that keeps text from being a formula is
    removed.
    """
    text: Any = dict.fromkeys(_TEXT_COLUMNS, str)
    table = pd.read_csv(source, dtype=text, keep_default_na=False, na_values=[""])
    texts = table.select_dtypes(exclude=["number", "bool"])
    safe = {str(name): texts[name].str.replace(r"^'(?=[=+@-])", "", regex=True) for name in texts}
    return table.assign(**safe)
