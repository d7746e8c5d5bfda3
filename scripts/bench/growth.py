"""How the cost of training grows with R, with the size of the model, and with the number of steps.

    .venv/bin/python scripts/bench/growth.py [--quick]

R and size: one single-threaded process trains the MLP of `digits` as one compiled fp32 program. Steps: `adamcmp sweep`
of 256 runs, timed from outside, caches warm. n = 1. Needs an otherwise idle machine; ten minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable

import torch
from tabulate import tabulate
from tasks import machine
from tasks.run_group import prepared
from tasks.sweeps import timed

from adamcmp.engine.loading import CPU
from adamcmp.engine.strategy.benchmark import time_strategies
from adamcmp.engine.strategy.types import Strategy

ROWS, WIDTHS, STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256), (16, 32, 64, 128, 256, 512), (250, 500, 1000, 2000, 4000)


def program(rows: int, *overrides: str) -> tuple[float, float, float]:
    """Milliseconds of a step of the whole program, microseconds of one of its runs, and seconds of compiling."""
    torch.compiler.reset()
    run_group, dataset = prepared("digits", rows, *overrides)
    for matmul in ("onednn", "default"):  # some processors refuse the first
        strategy = Strategy(engine="vectorised", rows=rows, compiled=True, matmul=matmul)
        (timing,) = time_strategies(run_group, [strategy], dataset, CPU)
        if not timing.error:
            break
    else:
        raise SystemExit(timing.error)
    return 1e3 * rows * timing.step, 1e6 * timing.step, timing.first


def by_width(width: int) -> tuple[float, ...]:
    """Return the same measurement of 16 runs of an MLP with two hidden layers of that width."""
    return program(16, f"model.hidden=[{width},{width}]")


def by_steps(steps: int) -> tuple[float, float]:
    """Wall seconds of a sweep of 256 runs, and microseconds of a step of one."""
    for _ in range(2):  # the first call fills the caches, and may choose another engine than a shorter sweep's
        with tempfile.TemporaryDirectory() as folder:
            seconds = timed(
                "sweep", "digits", "optimizer=adam,adamw", f"train.steps={steps}", "--results-dir", folder,
                "optimizer.lr=geomspace(1e-4,1e-2,8)", "optimizer.weight_decay=geomspace(1e-5,1e-2,16)",
            )  # fmt: skip
    return seconds, 1e6 * seconds / (256 * steps)


def table(title: str, headers: list[str], values: Iterable[int], measure: Callable[[int], tuple[float, ...]]) -> None:
    """Measure each value, and print a line for each."""
    lines = [[value, *measure(value)] for value in values]
    print(f"\n## {title}\n\n{tabulate(lines, headers, tablefmt='pipe', floatfmt='.3g')}", flush=True)


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke test whose figures mean nothing")
    most = 2 if parser.parse_args().quick else None
    print(*machine.describe(), sep="\n")
    torch.set_num_threads(1)
    columns = ["ms a step of all", "µs a step of a run", "s compiling"]
    table("By R: MLP 64-32-10, batch 100", ["R", *columns], ROWS[:most], program)
    table("By size: MLP 64-h-h-10, R = 16", ["h", *columns], WIDTHS[:most], by_width)
    table("By steps: 256 runs on digits", ["steps", "wall s", "µs a step of a run"], STEPS[:most], by_steps)


if __name__ == "__main__":
    main()
