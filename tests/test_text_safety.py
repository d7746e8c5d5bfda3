"""Names that users gave are text wherever they are shown."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamcmp.cli import app
from adamcmp.figures.csv_io import read_table
from adamcmp.report.markdown import to_markdown
from adamcmp.report.sections import Bold, Bullets, Code, CodeBlock, Section, Text
from adamcmp.report.table_formats import to_csv, to_latex, to_markdown_table
from adamcmp.text_safety import escape_csv_cell, escape_markdown, escape_rich, show_control_chars, to_one_line

HOSTILE = "<script>alert(1)</script> \"q\" 'a' \\input{x} | `b` [c](javascript:d) *e* \x1b[31mred\x07\n# f \u202etxt"


def test_control_characters_are_shown_and_not_obeyed():
    assert to_one_line("a\x1b[31m\x07b\u202e\r\n\tc") == "a\\x1b[31m\\x07b\\u202e c"
    assert show_control_chars("a\nb\x1b") == "a\nb\\x1b"
    assert escape_rich("[red]x[/red]\x1b[0m") == "\\[red]x\\[/red]\\x1b[0m"
    assert to_one_line("Größe λ₂ · 2⁻⁵ — 漢字 🙂") == "Größe λ₂ · 2⁻⁵ — 漢字 🙂"


@given(st.text())
def test_plain_text_is_one_line_of_printable_letters(text):
    safe = to_one_line(text)
    assert "\n" not in safe
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", safe)
    assert to_one_line(safe) == safe


@pytest.mark.parametrize("start", ["# a", "> a", "- a", "+ a", "1. a", "12) a", "===", "---"])
def test_nothing_at_the_beginning_of_a_line_makes_a_block(start):
    assert re.match(r"\d*\\[#>+=.)-]", escape_markdown(start))


def test_markdown_of_a_page_shows_names_as_they_are():
    blocks = [Text(HOSTILE), Bullets([(Bold(HOSTILE), ": ", Code(HOSTILE))]), CodeBlock(["run\n~~~\nx"])]
    text = to_markdown([Section(HOSTILE, blocks)])
    for line in text.splitlines():
        bare = re.sub(r"`[^`]*`", "", re.sub(r"\\.", "", line))
        assert not re.search(r"[<`|]|\[|\x1b", bare), line
    assert text.count("\n~~~") == 2  # the fence cannot be closed from inside


def test_a_markdown_table_keeps_its_columns():
    shown = pd.DataFrame({"optimizer": [HOSTILE], "a|b": ["c"]})
    lines = to_markdown_table(shown).splitlines()
    assert len(lines) == 3
    assert {len(re.sub(r"\\.", "", line).split("|")) for line in lines} == {4}


def test_latex_gets_no_commands_and_no_control_characters():
    text = to_latex(pd.DataFrame({"optimizer": [HOSTILE], "test error": ["1 %"]}))
    assert "\\input{x}" not in text
    assert "textbackslash{}input\\{x\\}" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@SUM(A1)", "\t=1", 'AdamW, "q"', "'quoted"])
def test_csv_holds_no_formula_and_reads_back(name):
    raw = pd.DataFrame({"arm": [name, "b"], "value": [-1.5, 2.0], "form": ["+.1f", ".2g"]})
    text = to_csv(raw)
    for line in text.splitlines()[1:]:
        assert not line.lstrip('"').startswith(("=", "+", "-", "@"))
    back = read_table(io.StringIO(text))
    assert back["arm"].to_list() == [to_one_line(name), "b"]
    assert back["value"].to_list() == [-1.5, 2.0]
    assert back["form"].to_list() == ["+.1f", ".2g"]
    assert escape_csv_cell(name)[:1] not in ("=", "+", "-", "@")


def test_a_label_with_escapes_is_text_in_a_plan_and_in_records(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    label = 'optimizer.label="Adam \x1b[31mred"'
    app(["run", "digits", "optimizer=adam", label, "train.steps=5"], standalone_mode=False)
    app(["report", "results", "--format", "csv"], standalone_mode=False)
    captured = capsys.readouterr()
    assert "Adam \\x1b[31mred" in captured.out
    assert "\x1b[31m" not in captured.out + captured.err
