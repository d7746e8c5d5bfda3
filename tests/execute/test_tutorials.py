"""Every block of the tutorials runs, and prints what the page shows: by real commands, from an empty folder."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = runpy.run_path(str(ROOT / "scripts" / "readme"))
INSTALLATION = ["pip install .\n"]
"""Blocks that are not run here: scripts/fresh installs adamcmp in CI."""


SLOW = ("docs/tutorial/first-verdict.md", "docs/tutorial/own-script.md")
"""Tutorials that take minutes of processor time."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in README["TUTORIALS"]]
)
def test_every_block_of_a_tutorial_runs(tmp_path, name):
    """Up to a minute: real commands, and a script that is started thirty times."""
    text = (ROOT / name).read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert {language for language, _ in blocks} <= {"python", "console", "sh"}
    for language, block in blocks:
        if language == "sh":
            assert block in INSTALLATION
        elif language == "python":
            if not README["save_file"](block, str(tmp_path)):
                run(block, tmp_path)
        else:
            for _, command, documented in README["commands"](block):
                check_output(command, documented, README["output"](command, str(tmp_path)))


def run(code, folder):
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)


def check_output(command, documented, printed):
    """Numbers and verdicts differ between machines; lines begin with the same words."""
    known = {line.split()[0] for line in printed if line.split()}
    words = [line.split()[0] for line in documented if line.split() and re.match(r"\s*[A-Za-z]", line)]
    missing = [word for word in words if word not in known]
    assert len(missing) <= 0.2 * len(words), (command, missing, printed)
