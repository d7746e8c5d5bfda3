"""A short form of scripts/storm: nothing is lost, whatever is killed, damaged or cut off."""

import subprocess
import sys
from pathlib import Path

import pytest

STORM = Path(__file__).parents[2] / "scripts" / "storm"


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", ["kills", "drivers", "clocks", "cluster", "signals", "files", "lines", "limits", "store"]
)
def test_nothing_is_lost(part):
    ended = subprocess.run([sys.executable, str(STORM), part, "--short"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
