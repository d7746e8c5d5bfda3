"""Time a command, such as the whole test suite, and compare it with the committed figure.

    .venv/bin/python scripts/bench/suite.py pytest -n 2 -m "not slow"     compare
    .venv/bin/python scripts/bench/suite.py --commit pytest …             and write the figure to suite.json

User plus system time of all processes is divided by that of ``python -c "import torch"``, measured in the same run, so
that machines of different speed can be compared. It only warns: the exit code is the command's.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

FIGURE = Path(__file__).with_name("suite.json")
TOLERANCE = 0.05
"""Share by which the time may grow before a warning is printed."""


def cpu_seconds() -> float:
    """Return user plus system time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def unit_seconds(repeats: int = 4) -> float:
    """Return the least user plus system time of an import of torch in a new process."""
    times = []
    for _ in range(repeats):
        before = cpu_seconds()
        subprocess.run([sys.executable, "-c", "import torch"], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        times.append(cpu_seconds() - before)
    return min(times)


def main() -> None:
    """Run the command, and print its time next to the committed one."""
    words = sys.argv[1:]
    commit = words[:1] == ["--commit"]
    unit = unit_seconds()
    before, start = cpu_seconds(), time.monotonic()
    code = subprocess.run(words[commit:], check=False).returncode
    wall, cpu = time.monotonic() - start, cpu_seconds() - before
    found = {
        "cpu_seconds": round(cpu), "wall_seconds": round(wall), "import_torch_seconds": round(unit, 2),
        "multiples": round(cpu / unit, 1), "cores": os.cpu_count(), "python": platform.python_version(),
    }  # fmt: skip
    print(f"tests: {cpu:,.0f} s of user + system time, {wall:,.0f} s of wall time; {cpu / unit:,.0f} × `import torch`")
    if FIGURE.exists():
        known = json.loads(FIGURE.read_text())["multiples"]
        growth = cpu / unit / known - 1
        print(f"tests: {growth:+.0%} against the {known:,.0f} × of scripts/bench/suite.json")
        if growth > TOLERANCE:
            print("tests: WARNING: slower than the committed figure by more than 5 %; see docs/development/testing.md")
    if commit:
        FIGURE.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
