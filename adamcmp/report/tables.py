"""Tables: leaderboard and grid as text for people, and as Markdown, CSV, LaTeX and a terminal table.

CSV holds the raw numbers with every digit; the others show ``2.31 ± 0.20 %``. What ± means stands beside each table.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from adamcmp.report.labels import decay_name, quantity, short

NOTHING = "–"

_SHOWN = {
    "final_validation_error": "validation error",
    "final_test_error": "test error",
    "best_test_error": "test error, best epoch",
    "final_train_loss": "train loss",
    "final_gap": "gap",
}
_WORDS = {"optimizer", "optimizers", "decay", "on the edge", "note", "error", "such as run"}
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
        "…": r"\ldots{}",
    }
)


def leaderboard_display(board: pd.DataFrame) -> pd.DataFrame:
    """``analysis.leaderboard`` as text: its best cell's mean ± 95 % half width an arm; no empty columns."""
    shown = pd.DataFrame({"optimizer": board["arm"], **_cell_columns(board)})
    for name in ("n", "trials", "diverged", "failed"):
        shown[name] = board[name].astype(str)
    shown["on the edge"], shown["note"] = board["edge"], board["note"]
    return _without_empty(shown, ("on the edge", "note"))


def grid_display(table: pd.DataFrame) -> pd.DataFrame:
    """``analysis.cells`` as text: one row a cell."""
    shown = pd.DataFrame({"optimizer": table["arm"], **_cell_columns(table)})
    for name in ("n", "diverged", "failed"):
        shown[name] = table[name].astype(str)
    return shown


def _cell_columns(table: pd.DataFrame) -> dict[str, list[str]]:
    columns = {
        "lr": [short(x, 4) if pd.notna(x) else NOTHING for x in table["lr"]],
        "λ": [short(x, 4) if pd.notna(x) else NOTHING for x in table["weight_decay"]],
        "decay": table["decay"].map(decay_name, na_action=None).tolist(),
    }
    for metric, name in _SHOWN.items():
        pairs = zip(table[metric].to_numpy(float), table[f"{metric}_half_width"].to_numpy(float), strict=True)
        columns[name] = [quantity(mean, half, metric) for mean, half in pairs]
    return columns


def _without_empty(shown: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    return shown.drop(columns=[name for name in names if shown[name].eq("").all()])


def markdown(shown: pd.DataFrame) -> str:
    """A GitHub table."""
    safe = shown.map(lambda text: str(text).replace("|", "\\|").replace("\n", " "))
    align = ["left" if name in _WORDS else "right" for name in shown.columns]
    return str(safe.to_markdown(index=False, disable_numparse=True, colalign=align)) + "\n"


def csv(raw: pd.DataFrame) -> str:
    """The raw numbers, as the shortest text that reads back as the same float."""
    return raw.to_csv(index=False, lineterminator="\n")


def latex(shown: pd.DataFrame) -> str:
    """A booktabs table for pdflatex (``longtable`` above 50 rows); everything special is escaped."""
    long = len(shown) > 50
    packages = "booktabs, longtable" if long else "booktabs"
    note = (
        f"% \\usepackage{{{packages}}}; after a plus-minus sign: half width of a 95 % Student t interval over seeds\n"
    )
    styler = shown.map(latex_text).rename(columns=latex_text).style.hide(axis="index")
    columns = "".join("l" if name in _WORDS else "r" for name in shown.columns)
    return note + styler.to_latex(hrules=True, column_format=columns, environment="longtable" if long else None)


def latex_text(text: object) -> str:
    r"""Text in which nothing means anything to LaTeX: ``2 ± 1 %`` → ``2 $\pm$ 1 \%``."""
    return str(text).replace("\n", " ").translate(_LATEX)


def terminal(board: pd.DataFrame, title: str = "") -> Table:
    """The leaderboard for a terminal of 100 columns: what decides; edges and notes stand below the table."""
    shown = leaderboard_display(board)
    heads = {"validation error": ("validation\nerror (%)", " %"), "test error": ("test\nerror (%)", " %")}
    heads["gap"] = ("gap (pp)", " pp")
    remarks = [
        f"{arm}: best cell on the edge, {sides}"
        for arm, sides in zip(board["arm"], board["edge"], strict=True)
        if sides
    ]
    remarks += [f"{arm}: {note}" for arm, note in zip(board["arm"], board["note"], strict=True) if note]
    table = Table(title=escape(title) or None, title_justify="left", header_style="bold", box=SIMPLE_HEAD, padding=0)
    table.caption, table.caption_justify = escape("\n".join(remarks)) or None, "left"
    table.add_column("optimizer", style="bold", overflow="fold")
    columns = ["lr", "λ", *heads, "n", "trials", "diverged", "failed"]
    for name in columns:
        table.add_column(heads[name][0] if name in heads else name, justify="right", no_wrap=True)
    for row in shown[["optimizer", *columns]].to_dict("records"):  # a few arms
        table.add_row(*(escape(str(row[k]).removesuffix(heads[k][1] if k in heads else "")) for k in row))
    return table
