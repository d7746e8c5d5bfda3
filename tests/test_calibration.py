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
    cells = [[[cell.strip() for cell in row.strip("|").split("|")] for row in table] for table in tables]
    assert [len(table) - 2 for table in cells] == [2, 2, 2, 2, 11]
    most = 100 * (0.05 + 2 * math.sqrt(0.05 * 0.95 / TRIALS))
    checked = 0
    for heads, _, *rows in cells:
        for row in rows:
            for head, cell in zip(heads, row, strict=True):
                if head.endswith("falsely") or head == "the larger is told better":
                    assert float(cell.partition(" %")[0]) <= most, (head, row)
                    checked += 1
                if head.startswith("covers") and cell != "–":
                    assert float(cell.partition(" %")[0]) >= 80, row  # 3.6 standard deviations of forty trials
                    checked += 1
    assert checked == 2 + 2 + 2 + 19
