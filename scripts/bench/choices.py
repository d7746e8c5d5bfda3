"""How often the quicker of two libraries of matrix products is found, by timings in turns and by one after the other.

    .venv/bin/python scripts/bench/choices.py [CONFIG] [--rows 64] [--times 20]

The truth is the library that is quicker by the median over all timings in turns, which is printed with the table: where
the two differ by a per cent or two, either is a right choice.
"""

from __future__ import annotations

import argparse
import statistics

from tabulate import tabulate
from tasks import machine
from tasks.run_group import prepared

from adamcmp.engine.loading import CPU
from adamcmp.engine.strategy.benchmark import time_strategies
from adamcmp.engine.strategy.types import Strategy


def main() -> None:
    """Time, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="digits")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    run_group, dataset = prepared(options.config, options.rows)
    ways = [Strategy(engine="vectorised", rows=options.rows, matmul=matmul) for matmul in ("default", "onednn")]
    timings = [time_strategies(run_group, ways, dataset, CPU) for _ in range(options.times)]
    if error := next((timing.error for timing in timings[0] if timing.error), None):
        print(f"nothing to compare: {error}")
        return
    turns = [[timing.step for timing in pair] for pair in timings]
    apart = [[time_strategies(run_group, [way], dataset, CPU)[0].step for way in ways] for _ in range(options.times)]
    medians = [statistics.median(pair[i] for pair in turns) for i in range(2)]
    quicker = medians.index(min(medians))
    rows = [
        [name, sum(pair.index(min(pair)) == quicker for pair in pairs), options.times]
        for name, pairs in (("in turns", turns), ("one after the other", apart))
    ]
    print(*machine.describe(), sep="\n")
    print(f"\n{ways[quicker].matmul} is quicker by {max(medians) / min(medians) - 1:.1%}\n")
    print(tabulate(rows, ["timings", "quicker one found", "of"], tablefmt="github"))


if __name__ == "__main__":
    main()
