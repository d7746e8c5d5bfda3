from __future__ import annotations

import io
import re
from csv import DictReader

import numpy as np
import pytest

from adamcmp.analysis import leaderboard, trials_table
from adamcmp.report.table_formats import escape_latex, to_csv, to_latex, to_markdown_table
from adamcmp.report.tables import grid_display, leaderboard_display


@pytest.fixture(scope="module")
def records(synthetic):
    return synthetic.make_records({"Adam + L2": "l2", "AdamW_100% & {more} | ^~#$\\": "lr_scaled"})


def test_leaderboard_shows_means_with_intervals_and_leaves_out_empty_columns(records):
    shown = leaderboard_display(leaderboard(records))
    assert "note" not in shown
    assert "on the edge" not in shown
    for name in ("validation error", "test error", "test error, best epoch"):
        assert shown[name].str.fullmatch(r"\d+\.\d+ ± \d+\.\d+ %").all()
    assert shown["train loss"].str.endswith(" nat").all()
    assert shown["gap"].str.endswith(" pp").all()


def test_csv_round_trips_every_number(records):
    for raw in (leaderboard(records), trials_table(records)):
        rows = list(DictReader(io.StringIO(to_csv(raw))))
        assert list(rows[0]) == list(raw)
        for name in raw.select_dtypes("number"):
            back = [float(row[name]) if row[name] else float("nan") for row in rows]
            np.testing.assert_array_equal(back, raw[name])


def test_markdown_is_one_table_whatever_the_names(records):
    lines = to_markdown_table(leaderboard_display(leaderboard(records))).splitlines()
    assert len(lines) == 2 + 2
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
    assert len(set(bars)) == 1


def test_latex_has_booktabs_rules_and_escapes(records):
    text = to_latex(leaderboard_display(leaderboard(records)))
    body = text.split("\n", 1)[1]
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}", r"\end{tabular}"):
        assert rule in body
    assert r"AdamW\_100\% \& \{more\} \textbar{} \textasciicircum{}\textasciitilde{}\#\$\textbackslash{}" in body
    assert r"$\lambda$" in body
    assert re.search(r"\d \$\\pm\$ \d+\.\d+ \\%", body)
    assert text.isascii()  # pdflatex reads it without a Unicode package
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", body)
    assert columns is not None
    for line in body.splitlines():
        if line.endswith(r"\\"):
            assert len(re.findall(r"(?<!\\)&", line)) == len(columns[1]) - 1
            assert line.count("$") % 2 == 1 or "\\$" not in line
    assert not re.search(r"(?<!\\)%", body.replace("%\n", ""))


def test_a_long_grid_becomes_several_tables_that_fit_the_line(records):
    text = to_latex(grid_display(trials_table(records)))
    assert text.count(r"\begin{tabular}") == text.count(r"\resizebox{\ifdim") == 2
    assert text.count(r"\\") == 84 + 2  # a head each
    assert "diverged" not in text


def test_latex_text_leaves_nothing_active():
    assert escape_latex("λ = 2 ± 1 % – a_b") == r"$\lambda$ = 2 $\pm$ 1 \% -- a\_b"


def test_the_grid_has_one_row_a_cell_and_dashes_for_what_is_not_known(synthetic, records):
    shown = grid_display(trials_table(synthetic.end(records, records["lr"] > 0.05, "diverged")))
    assert len(shown) == 2 * 6 * 7
    gone = shown[shown["lr"] == "0.1"]
    assert (gone["test error"] == "–").all()
    assert (gone["diverged"] == "3").all()
