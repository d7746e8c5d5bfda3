"""Text that holds what users named, made safe for where it goes: a terminal, Markdown, a spreadsheet.

HTML is escaped by its templates, LaTeX by ``report.table_formats.escape_latex``; both take ``to_one_line`` text.
"""

from __future__ import annotations

import re
import unicodedata

_LINE_BREAKS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
_MARKDOWN = re.compile(r"[\\`*\[\]<|~$]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
_BLOCK_MARKERS = re.compile(r"^(\d*)(>|[#+=-]+(?=\s|$)|(?<=\d)[.)](?=\s|$))")
"""Beginning of a line that makes a heading, a quotation, a list or a rule."""
_DIRECTION_MARKS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
FORMULA_STARTS = ("=", "+", "-", "@")
"""Characters that begin a formula in a spreadsheet."""


def to_one_line(text: object) -> str:
    r"""Return text without line breaks, whose control characters are shown and not obeyed.

    Those that turn the direction of writing count as such.

    >>> to_one_line("Adam\nW \x1b[31mred")
    'Adam W \\x1b[31mred'
    """
    return show_control_chars(_LINE_BREAKS.sub(" ", str(text)))


def show_control_chars(text: str) -> str:
    """Return lines of text whose other control characters are shown."""
    return "".join(
        character.encode("unicode_escape").decode() if character != "\n" and _is_control(character) else character
        for character in text
    )


def escape_rich(text: object) -> str:
    """Return visible text in which nothing means anything to rich."""
    from rich.markup import escape

    return escape(show_control_chars(str(text)))


def _is_control(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs") or letter in _DIRECTION_MARKS


def escape_markdown(text: object) -> str:
    r"""Return plain text in which nothing means anything to Markdown or to the HTML that it may hold.

    >>> escape_markdown("*a* <b> | lr_scaled [x](y) `z`")
    '\\*a\\* \\<b> \\| lr_scaled \\[x\\](y) \\`z\\`'
    """
    return _BLOCK_MARKERS.sub(r"\1\\\2", _MARKDOWN.sub(lambda match: f"\\{match[0]}", to_one_line(text)))


def quote_hydra(text: str) -> str:
    r"""Return text in the quotation marks of Hydra, which reads a backslash as itself but for those in front of a mark.

    >>> print(quote_hydra(r'a "b" \c'))
    "a \"b\" \c"
    """
    inner = re.sub(r'(\\*)("|$)', lambda match: match[1] * 2 + ('\\"' if match[2] else ""), text)
    return f'"{inner}"'


def escape_csv_cell(text: str) -> str:
    r"""Return plain text for a trial of CSV, which no spreadsheet takes for a formula: an apostrophe stands before it.

    >>> escape_csv_cell("=1+1"), escape_csv_cell("AdamW")
    ("'=1+1", 'AdamW')
    """
    safe = to_one_line(text)
    return f"'{safe}" if safe.startswith(FORMULA_STARTS) else safe
