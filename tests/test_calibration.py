"""The script that calibrates verdicts, in small."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts/calibrate"
TRIALS = 40
COVERS = ("all intervals hold 0", "interval holds the gap", "covers")


def table_rows(text):
    """Every table of the output: its heads and rows."""
    for part in text.split("\n\n"):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if "|" in line]
        if part.lstrip().startswith("|"):
            yield lines[0], lines[2:]


@pytest.mark.slow
def test_false_claims_are_rare_and_intervals_hold_the_truth():
    done = subprocess.run([sys.executable, SCRIPT, "--quick"], capture_output=True, text=True, timeout=600, check=True)
    tables = list(table_rows(done.stdout))
    assert [len(rows) for _, rows in tables] == [2, 4, 2, 1, 6, 5]
    checked = 0
    for heads, rows in tables:
        for row in rows:
            cells = dict(zip(heads, row, strict=True))
            value = {head: float(cell.partition(" (")[0]) for head, cell in cells.items() if " (" in cell}
            symmetric = cells.get("sequence") == "symmetric" and "collapses" in cells["optimizers"]
            trials = TRIALS // 2 if "sequence" in cells else TRIALS
            most = 100 * (0.05 + 3 * math.sqrt(0.05 * 0.95 / trials))
            if "different, falsely" in value:
                assert symmetric or value["different, falsely"] <= most, row
                checked += 1
            for head in COVERS:
                if head in value:
                    assert value[head] >= 80, row  # 3.6 standard deviations of forty trials
                    checked += 1
    assert checked == 2 * 2 + 4 * 2 + 2 + 1 + 6 + 5
