"""Write tables as Markdown, CSV and LaTeX."""

from __future__ import annotations

import unicodedata

import pandas as pd

from adamcmp.analysis import task_metrics
from adamcmp.figures.axis_labels import display_unit, with_unit
from adamcmp.report.tables import DISPLAY_COLUMNS, display_table
from adamcmp.text_safety import escape_csv_cell, escape_markdown, to_one_line

_TEXT_COLUMNS = {
    "a",
    "b",
    "verdict",
    "metric",
    "optimizer",
    "optimizers",
    "decay",
    "boundary",
    "note",
    "on",
    "statement",
    "measured",
    "wins / ties / losses of a",
    "value",
    "error",
    "task",
    "such as run",
}
"""Columns of text: aligned left, where numbers are aligned right."""
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "α": r"$\alpha$",
        "β": r"$\beta$",
        "ε": r"$\epsilon$",
        "η": r"$\eta$",
        "λ": r"$\lambda$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "·": r"$\cdot$",
        "−": "$-$",
        "–": "--",
        "§": r"\S{}",
        "τ": r"$\tau$",
        "√": r"$\sqrt{}$",
        "≤": r"$\le$",
        "≥": r"$\ge$",
        "²": r"$^2$",
        "½": r"$\frac12$",
        "’": "'",
        "…": r"\ldots{}",
    }
)


def to_markdown_table(display: pd.DataFrame) -> str:
    """Return a GitHub table."""
    safe = display.map(escape_markdown).rename(columns=escape_markdown)
    align = ["left" if name in _TEXT_COLUMNS else "right" for name in display.columns]
    return str(safe.to_markdown(index=False, disable_numparse=True, colalign=align)) + "\n"


def to_csv(raw: pd.DataFrame) -> str:
    """Return the raw numbers, as the shortest text that reads back as the same float; text that is no formula."""
    texts = raw.select_dtypes(exclude=["number", "bool", "datetimetz"])
    safe = raw.assign(**{str(name): texts[name].map(_cell) for name in texts})
    return safe.to_csv(index=False, lineterminator="\n")


def _cell(value: object) -> object:
    return escape_csv_cell(value) if isinstance(value, str) else value


PARAGRAPHS = {"statement": 0.34, "measured": 0.28}
"""Columns of sentences, and their share of the line."""
PAGE = 50
"""Maximum number of rows of a LaTeX table; longer ones become several."""
_FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""Makes a table smaller that is wider than the line."""


def to_latex(display: pd.DataFrame) -> str:
    """Return booktabs tables for pdflatex, no wider than the line, one per ``PAGE`` rows; special characters are
    escaped.

    Columns of counts that are all 0 are left out.
    """
    kept = display[[name for name in display if name not in ("diverged", "failed") or (display[name] != "0").any()]]
    wraps = not PARAGRAPHS.keys().isdisjoint(kept.columns)
    packages = "array, booktabs" if wraps else "booktabs, graphicx"
    note = (
        f"% \\usepackage{{{packages}}}; after a plus-minus sign: half width of a 95 % Student t interval over seeds\n"
    )
    columns = "".join(map(_column, kept.columns))
    texts = []
    for start in range(0, len(kept), PAGE):
        page = kept.iloc[start : start + PAGE].map(escape_latex).rename(columns=escape_latex)
        text = page.style.hide(axis="index").to_latex(hrules=True, column_format=columns)
        texts.append(f"\\begingroup\\small\n{text}\\endgroup\n" if wraps else f"{_FITTED}\n{text.rstrip()}%\n}}%\n")
    return note + "\\par\\bigskip\\noindent\n".join(texts)


MAIN_COLUMNS = ("optimizer", "lr", "λ", "n")
"""Columns of the leaderboard for one journal column, next to validation and test error."""


def latex_leaderboard(display: pd.DataFrame, board: pd.DataFrame) -> tuple[str, str]:
    """Return the leaderboard for one column of a journal, six columns wide, and all other columns for an appendix.

    Args:
        display: ``leaderboard_display``.
        board: ``analysis.leaderboard``.
    """
    criteria = task_metrics(board)
    unit = display_unit("final_test_error", criteria)[1]
    validation, test = (display_table(metric, criteria) for metric in DISPLAY_COLUMNS[:2])
    errors = [validation, test] if test in display else [test.removeprefix("test ")]
    main = display[[*MAIN_COLUMNS[:3], *errors, MAIN_COLUMNS[3]]].copy()
    for name in errors:
        main[name] = main[name].str.removesuffix(f" {unit}")
    heads = {name: with_unit(name.partition(" ")[0] if name == validation else name, unit) for name in errors}
    text = main.rename(columns=heads).map(escape_latex).rename(columns=escape_latex)
    body = text.style.hide(axis="index").to_latex(hrules=True, column_format="l" + "r" * (len(main.columns) - 1))
    first = (
        "% \\usepackage{booktabs}; after a plus-minus sign: half width of a 95 % Student t interval over n seeds\n"
        "\\begingroup\\footnotesize\\setlength{\\tabcolsep}{3pt}\n"
    )
    rest = display.drop(columns=[name for name in (*MAIN_COLUMNS[1:], *errors) if name in display])
    return f"{first}{body}\\endgroup\n", to_latex(rest)


def _column(name: str) -> str:
    """Return how LaTeX sets a column: sentences as paragraphs, other text from the left, numbers from the right."""
    if name in PARAGRAPHS:
        return rf">{{\raggedright\arraybackslash}}p{{{PARAGRAPHS[name]}\linewidth}}"
    return "l" if name in _TEXT_COLUMNS else "r"


def escape_latex(text: object) -> str:
    r"""Return text in which nothing means anything to LaTeX: ``2 ± 1 %`` → ``2 $\pm$ 1 \%``.

    Letters that it may lack are made plain.
    """
    safe = to_one_line(text).translate(_LATEX)
    return "".join(letter if letter.isascii() else _plain(letter) for letter in safe)


def _plain(letter: str) -> str:
    """Return a letter without its accents; ``?`` where nothing is left."""
    return unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode() or "?"
