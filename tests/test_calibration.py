"""The script that calibrates verdicts, in small."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts/calibrate"
TRIALS = 40


@pytest.mark.slow
def test_an_optimizer_is_hardly_ever_told_apart_from_itself():
    done = subprocess.run([sys.executable, SCRIPT, "--quick"], capture_output=True, text=True, timeout=600, check=True)
    tables = [part.splitlines() for part in done.stdout.split("\n\n") if part.startswith("|")]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for table in tables for row in table[2:]]
    assert [len(table) for table in tables] == [4, 3, 3, 5]
    most = 100 * (0.05 + 2 * math.sqrt(0.05 * 0.95 / TRIALS))
    for row, column in zip(rows, (3, 3, 2), strict=False):  # one pair, six pairs, settled
        assert float(row[column].partition(" %")[0]) <= most
