"""The help: four panels, one line per command, an example per command that can be typed."""

from __future__ import annotations

import re
import shlex

import pytest
import typer

from adamcmp.cli import PANELS, app

from .execute.conftest import CommandLine

ENTRIES = {name: entry for commands in PANELS.values() for name, entry in commands.items()}


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def test_the_root_help_has_four_panels_and_one_line_per_command_on_80_columns(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    ended = cli("--help")
    assert ended.code == 0
    assert [title for title in re.findall(r"╭─ (.+?) ─", ended.out) if title != "Options"] == list(PANELS)
    shown = ended.out.partition("Train and compare")[2]
    rows = re.findall(r"^│ (\S.*?) +│$", shown, re.MULTILINE)
    assert [row.split()[0] for row in rows] == list(ENTRIES)
    assert not re.search(r"^│   ", shown, re.MULTILINE)  # no line is continued
    assert not re.search(r"\bwork\b", " ".join(row.split()[0] for row in rows))
    assert "Start:  adamcmp sweep" in ended.out


def test_adamcmp_alone_and_help_print_help_and_exit_with_0(cli):
    alone = cli()
    assert alone == cli("--help") == cli("help")
    assert alone.code == 0
    assert cli("help", "sweep") == cli("sweep", "--help")
    assert cli("help", "swep").code == 2


@pytest.mark.parametrize("name", ENTRIES)
def test_every_command_has_an_example_that_can_be_typed(cli, name):
    words = shlex.split(ENTRIES[name].example)
    assert words[:2] == ["adamcmp", name]
    command = typer.main.get_command(app).commands[name]
    assert command.make_context(name, words[2:]).params
    shown = " ".join(cli(name, "--help").out.split())
    assert f"Example: {ENTRIES[name].example}" in shown
    first = (ENTRIES[name].call.__doc__ or "").strip()
    assert re.fullmatch(r"[A-Z][^\n]{10,61}\.", first), first
