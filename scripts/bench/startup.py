#!/usr/bin/env python3
"""Measure how long commands take to start, as multiples of ``import torch`` on the same machine.

    .venv/bin/python scripts/bench/startup.py

Each command runs three times in an empty folder; the fastest counts. The first dry run has empty caches of metadata.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOALS = {
    "adamcmp --help": None,
    "adamcmp list": 0.25,
    "adamcmp show digits": 0.25,
    "adamcmp sweep figure2 --dry-run (cached metadata)": 0.5,
    "adamcmp sweep figure2 --dry-run (first)": 1.6,
    "adamcmp sweep mnist1d --dry-run (first)": 1.6,
    "adamcmp run digits": 1.6,
}
"""Largest multiple that each command should take."""


def seconds(words: list[str], folder: Path, *, caches: bool) -> float:
    """Return the wall time of one command."""
    cache = folder / ("cache" if caches else f"cache{time.monotonic_ns()}")
    started = time.perf_counter()
    subprocess.run(words, cwd=folder, env={**os.environ, "XDG_CACHE_HOME": str(cache)}, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch = min(seconds([sys.executable, "-c", "import torch"], folder, caches=True) for _ in range(5))
        print(f"{'import torch':<52}{torch:6.2f} s")
        for text, goal in GOALS.items():
            words = text.partition(" (")[0].split()[1:]
            times = []
            for turn in range(4 if "cached" in text else 3):
                extra = ["--results-dir", f"results{turn}"] if words[0] == "run" else []
                command = [sys.executable, "-m", "adamcmp", *words, *extra]
                times.append(seconds(command, folder, caches="(first)" not in text))
            times = times[1:] if "cached" in text else times
            aim = f"   goal ≤ {goal:.2f} ×" if goal else ""
            print(f"{text:<52}{min(times):6.2f} s{min(times) / torch:7.2f} ×{aim}", flush=True)


if __name__ == "__main__":
    main()
