"""Where the time of a vectorised training goes: steps, evaluations, and the operations inside them.

    .venv/bin/python scripts/bench/profile_training.py [digits] [--rows 64] [--eager] [--precision bf16] [--onednn]

One single-threaded process trains the rows twice: once timed, once under torch's profiler, whose shares are printed.
"""

from __future__ import annotations

import argparse

import torch
from tabulate import tabulate
from tasks.run_group import prepared
from torch.profiler import ProfilerActivity, profile

from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.loading import CPU, as_precision
from adamcmp.engine.strategy.benchmark import time_strategies
from adamcmp.engine.strategy.types import Shard, Strategy, apply_strategy
from adamcmp.engine.vectorized import BatchedTraining

STEPS, MOST_LINES = 50, 15


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="digits", help="adamcmp's configuration, or one of this benchmark")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--onednn", action="store_true", help="fp32 products by oneDNN")
    options = parser.parse_args()
    run_group, dataset = prepared(options.config, options.rows, f"train.precision={options.precision}")
    matmul = "onednn" if options.onednn else "default"
    strategy = Strategy(engine="vectorised", rows=options.rows, compiled=not options.eager, matmul=matmul)
    (timing,) = time_strategies(run_group, [strategy], dataset, CPU)
    if timing.error:
        raise SystemExit(timing.error)
    training, evaluating = timing.step * run_group.task.steps, timing.evaluation * run_group.task.evaluations.full
    lines = [
        ["first step and evaluation: compiling", timing.first, "–"],
        [f"{run_group.task.steps:,} steps", options.rows * training, "100%"],
        [
            f"{len(run_group.task.evaluations.steps)} evaluations",
            options.rows * evaluating,
            f"{evaluating / training:.0%}",
        ],
    ]
    print(f"## {options.config}, {options.rows} rows, {options.precision}, one thread, torch {torch.__version__}\n")
    print(tabulate(lines, ["part", "seconds", "of the steps"], tablefmt="pipe", floatfmt=".3f"), "\n")

    shard = Shard.of(run_group, strategy)
    with apply_strategy(strategy, CPU), torch.no_grad():
        rehearsed = BatchedTraining(
            shard, as_precision(dataset, run_group.task.train.precision), CPU, TrainingControl()
        )
        rehearsed.rehearse(1, evaluate=False)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            rehearsed.rehearse(STEPS, evaluate=False)
    events = sorted(profiler.key_averages(), key=lambda each: each.self_cpu_time_total, reverse=True)
    total = sum(each.self_cpu_time_total for each in events)
    shown = [
        [each.key, each.count // STEPS, each.self_cpu_time_total / STEPS, f"{each.self_cpu_time_total / total:.0%}"]
        for each in events[:MOST_LINES]
    ]
    headers = ["operation", "calls a step", "µs a step", "share"]
    print(tabulate(shown, headers, tablefmt="pipe", floatfmt=".0f"))


if __name__ == "__main__":
    main()
