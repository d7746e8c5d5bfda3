"""Lists and settings as aligned text. No rich, so that commands that print them start at once."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from adamcmp.text_safety import to_one_line

WIDTH = 100
"""Columns of a pipe, and of a wide terminal."""
MIN_LAST = 24
"""Least columns that the last column of a table has."""


def text_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows with aligned columns; the last column is wrapped to the width of the terminal."""
    width = min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH) if sys.stdout.isatty() else WIDTH
    texts = [[to_one_line(text) for text in row] for row in (heads, *rows)]
    sizes = [max(len(row[i]) for row in texts) for i in range(len(heads) - 1)]
    indent = sum(sizes) + 2 * len(sizes)
    room = max(width - indent, MIN_LAST)
    lines = []
    for row in texts:
        start = "".join(f"{text:<{size + 2}}" for text, size in zip(row, sizes, strict=False))
        parts = textwrap.wrap(row[-1], room, break_long_words=False, break_on_hyphens=False) or [""]
        lines.append(f"{start}{parts[0]}".rstrip())
        lines += [" " * indent + part for part in parts[1:]]
    return lines


def settings_lines(leaves: Sequence[tuple[str, Any]], origins: Mapping[str, str]) -> list[str]:
    """Return a resolved configuration: setting, value and source."""
    rows = []
    for key, value in leaves:
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        rows.append((key, _origin(key, origins), text))
    return text_table(("setting", "from", "value"), rows)


def _origin(key: str, origins: Mapping[str, str]) -> str:
    parts = key.split(".")
    parent = next((".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in origins), None)
    if parent is None:
        return "the chosen budget" if key.startswith("train.") else ""
    path = Path(origins[parent])
    return "/".join(path.parts[-2:]) if path.suffix else origins[parent]


def descriptions(options: Mapping[str, Path]) -> dict[str, str]:
    """Return the members of a group: the name of each file, and the comment that it starts with."""
    return {name: _comment(path) for name, path in options.items()}


def _comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    comments = [line.lstrip("# ").strip() for line in takewhile(lambda line: line[:1] == "#", lines)]
    text = " ".join(line for line in comments if not line.startswith("@"))
    return text.partition(". ")[0].rstrip(".")
