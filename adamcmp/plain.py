"""Text that holds what users named, made safe for where it goes: a terminal, Markdown, a spreadsheet.

HTML is escaped by its templates, LaTeX by ``report.tables.latex_text``; both take ``plain`` text.
"""

from __future__ import annotations

import re
import unicodedata

_SPACES = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
_MARKDOWN = re.compile(r"[\\`*\[\]<|~$]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
_START = re.compile(r"^(\d*)(>|[#+=-]+(?=\s|$)|(?<=\d)[.)](?=\s|$))")
"""What at the beginning of a line makes a heading, a quotation, a list or a rule."""
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the beginning of a formula."""


def plain(text: object) -> str:
    r"""Text without line breaks, whose control characters are shown and not obeyed.

    Those that turn the direction of writing count as such.

    >>> plain("Adam\nW \x1b[31mred")
    'Adam W \\x1b[31mred'
    """
    return visible(_SPACES.sub(" ", str(text)))


def visible(text: str) -> str:
    """Lines of text whose other control characters are shown."""
    return "".join(
        each.encode("unicode_escape").decode() if each != "\n" and _is_control(each) else each for each in text
    )


def markup(text: object) -> str:
    """Visible text in which nothing means anything to rich."""
    from rich.markup import escape

    return escape(visible(str(text)))


def _is_control(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs") or letter in _DIRECTIONS


def escaped(text: object) -> str:
    r"""Plain text in which nothing means anything to Markdown or to the HTML that it may hold.

    >>> escaped("*a* <b> | lr_scaled [x](y) `z`")
    '\\*a\\* \\<b> \\| lr_scaled \\[x\\](y) \\`z\\`'
    """
    return _START.sub(r"\1\\\2", _MARKDOWN.sub(lambda found: f"\\{found[0]}", plain(text)))


def hydra_quoted(text: str) -> str:
    r"""Text in the quotation marks of Hydra, which reads a backslash as itself but for those in front of a mark.

    >>> print(hydra_quoted(r'a "b" \c'))
    "a \"b\" \c"
    """
    inner = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), text)
    return f'"{inner}"'


def cell(text: str) -> str:
    r"""Plain text for a cell of CSV, which no spreadsheet takes for a formula: an apostrophe stands before it.

    >>> cell("=1+1"), cell("AdamW")
    ("'=1+1", 'AdamW')
    """
    safe = plain(text)
    return f"'{safe}" if safe.startswith(FORMULA) else safe
