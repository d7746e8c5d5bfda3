"""Cost of adamcmp outside training: start-up, planning, storing and reporting, each measured here and now.

    .venv/bin/python scripts/bench/overheads.py [--runs 100000]

Prints medians with their spread; peak memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

SELF = Path(__file__).resolve()


def plan_many(count: int) -> None:
    """Plan ``count`` runs of the digits study."""
    plan = planned(count)
    print(f"{len(plan.runs):,} runs")


def planned(count: int):
    """A plan of ``count`` runs: a square grid times ten seeds."""
    from adamcmp.config.lookup import find_config
    from adamcmp.plan.expand import plan_study
    from adamcmp.plan.runs import DatasetMetadata

    side = round((count / 10) ** 0.5)
    grid = [f"optimizer.lr=geomspace(1e-5,1,{side})", f"optimizer.weight_decay=geomspace(1e-5,1,{side})"]
    facts = DatasetMetadata("0" * 16, 1079, 10, (1, 8, 8), 100, 100)
    return plan_study(find_config("digits"), [*grid, "study.seeds=10"], lambda *_: facts)


def store_many(count: int, folder: str) -> None:
    """Store ``count`` made-up outcomes of ten evaluations each, and print the milliseconds a run."""
    from adamcmp.engine.run_result import Evaluation, RunResult
    from adamcmp.engine.strategy.types import Strategy
    from adamcmp.execute.run_writer import Provenance, RunWriter

    curve = tuple(Evaluation(50 * i, *(1.0 / i,) * 7) for i in range(1, 11))
    now = datetime.now(UTC)
    outcomes = [
        RunResult(run=run, status="completed", evaluations=curve, parameters=2410, strategy=Strategy(), device="cpu",
                seconds=0.1, finished_at=now)
        for run in planned(count).runs
    ]  # fmt: skip
    started = time.perf_counter()
    pending = RunWriter(Path(folder) / "many", Provenance.here("many"))
    for outcome in outcomes:
        pending.add([outcome])
    pending.store()
    print(f"{1000 * (time.perf_counter() - started) / len(outcomes):.3f} ms a run")


def measure(name: str, command: list[str], repeats: int) -> None:
    """Print the median seconds, spread and peak memory of a command."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    spread = f"{min(seconds):.2f}–{max(seconds):.2f}"
    said = done.stdout.strip().splitlines()[-1][:40] if done.stdout.strip() else ""
    print(
        f"{name:34} {statistics.median(seconds):7.2f} s ({spread}, n = {repeats}), peak so far {peak:6.0f} MB  {said}"
    )


def main() -> None:
    """Run all measurements, or the one part that a child process was started for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        name, *rest = options.part
        {"plan": plan_many, "store": store_many}[name](options.runs, *rest)
        return
    print(f"Python {platform.python_version()}, {platform.machine()}, {options.runs:,} runs")
    adamcmp = str(Path(sys.executable).with_name("adamcmp"))
    own = [sys.executable, str(SELF), "--runs", str(options.runs), "--part"]
    measure("adamcmp --help", [adamcmp, "--help"], 5)
    measure("adamcmp list", [adamcmp, "list"], 5)
    with tempfile.TemporaryDirectory() as folder:
        measure("plan", [*own, "plan"], 3)
        measure("plan and store", [*own, "store", folder], 1)
        measure("report, all formats", [adamcmp, "report", f"{folder}/many"], 1)


if __name__ == "__main__":
    main()
