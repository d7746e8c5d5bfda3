"""From one worker to many: measurements on this machine, and a simulation that uses them.

    .venv/bin/python scripts/bench/scaling.py

Needs an otherwise idle machine with two cores, and adamcmp[ray]; five minutes. Speed-up: the same sweep on a Ray
cluster of one node with one core and of two such nodes, by how long the driver trained. Overhead: shards that hardly
train. Costs of the store: claims, parts and merging in a folder on this disk. The simulation has each worker claim a
shard, train it, store a part and give its claim up; the study's lock is held by one at a time.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from adamcmp.execute.job_queue import MAX_LEASING_FRACTION
from adamcmp.execute.leases import DRIVERS, LEASES, DriverRegistry, Leases
from adamcmp.storage.backend import write_file
from adamcmp.storage.merging import merge_parts
from adamcmp.storage.part_files import append_runs, part_files
from adamcmp.storage.records import read_records

BOUND = ("mnist1d", "model=mlp_128_128", "optimizer=adam,adamw", "optimizer.lr=geomspace(1e-3,1e-2,8)", "study.seeds=4",
         "train.epochs=60", "execute.rows=4", "execute.compile=false", "execute.matmul=default",
         "execute.engine=vectorised", "study.confirm.seeds=0")  # fmt: skip
"""Shards of some seconds in which one core does nothing but arithmetic."""
TINY = ("digits", "optimizer=adam,adamw", "optimizer.lr=geomspace(1e-3,1e-2,16)", "study.seeds=4", "train.steps=2",
        "train.evaluations=1", "execute.rows=1", "execute.compile=false", "execute.engine=vectorised",
        "execute.processes=1", "study.confirm.seeds=0")  # fmt: skip
RUNS, WORKERS, SHARDS = 1_000_000, (1, 10, 100, 300, 1000), (1, 10, 100)
PIECE_SECONDS = 60.0
"""Seconds of a shard of 100 runs; smaller ones take their share."""


def trained(*words: str) -> float:
    """Return the seconds of training of a sweep, by its driver's file."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "adamcmp", "sweep", *words, "--results-dir", folder]
        subprocess.run(command, check=True, capture_output=True)
        (path,) = Path(folder).glob("*/drivers/*.json")
        told = json.loads(path.read_text())
        return float(told["told"] - told["progress"]["started"])


def on_nodes(count: int, *words: str) -> float:
    """Measure a Ray cluster of this many nodes with one core each."""
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 1, "object_store_memory": 200_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    try:
        for _ in range(count - 1):
            cluster.add_node(**size)
        return trained(*words, "execute=ray", f"execute.ray.address={cluster.address}")
    finally:
        cluster.shutdown()


def seconds(function: Callable[[], object], repeats: int = 20) -> float:
    """Median time of a call."""
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        found.append(time.perf_counter() - began)
    return sorted(found)[repeats // 2]


def sample() -> tuple[dict[str, object], list[dict[str, object]]]:
    """A record and its curve, as a run leaves them."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "adamcmp", "run", "digits", "train.steps=10", "--results-dir", folder]
        subprocess.run(command, check=True, capture_output=True)
        study = Path(folder) / "digits"
        curve = pd.concat([pd.read_parquet(path) for path in (study / "curves").glob("*.parquet")])
        record, *_ = _known(read_records(study))
        return record, _known(curve)


def _known(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return rows as Arrow takes them, with None for missing values."""
    rows = frame.to_dict("records")
    return [{str(key): None if pd.isna(value) else value for key, value in row.items()} for row in rows]


class Costs:
    """Measure the store with a number of drivers and of runs per lease."""

    def __init__(self, drivers: int, claimed: int) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            table = {f"d{i}": [f"{i:08x}{j:08x}" for j in range(claimed)] for i in range(drivers)}
            write_file(folder / LEASES, json.dumps(table).encode())
            for i in range(drivers):
                write_file(folder / DRIVERS / f"d{i}.json", b'{"machine": "another", "beat": 1, "told": 0}')
            leases = Leases(folder)
            leases.begin(part_files(folder))
            counter = iter(range(10**9))
            self.claim = seconds(lambda: leases.claim([[f"new{next(counter)}" for _ in range(claimed)]]))
            leases.release([f"new{i * claimed + j}" for i in range(20) for j in range(claimed)])
            self.release = seconds(lambda: leases.release(["none"]))
            lookout = DriverRegistry(folder)
            self.look_at_all = seconds(lookout.alive, 5)


def part_seconds(runs: int) -> float:
    """Return the seconds to store a part file of this many runs."""
    record, curve = sample()
    with tempfile.TemporaryDirectory() as folder:
        rows = [{**record, "run_id": f"{i:016x}"} for i in range(runs)]
        curves = [{**each, "run_id": f"{i:016x}"} for i in range(runs) for each in curve]
        return seconds(lambda: append_runs(Path(folder), rows, curves), 10)


def merged_files(count: int) -> tuple[int, float]:
    """Files of records after so many parts of one run that were merged as they came, and seconds a part of it."""
    record, curve = sample()
    with tempfile.TemporaryDirectory() as folder:
        spent = 0.0
        for i in range(count):
            append_runs(
                Path(folder), [{**record, "run_id": f"{i:016x}"}], [{**each, "run_id": f"{i:016x}"} for each in curve]
            )
            began = time.perf_counter()
            merge_parts(Path(folder))
            spent += time.perf_counter() - began
        return len(list((Path(folder) / "records").glob("*.parquet"))), spent / count


def simulated(
    workers: int, shards: int, each: float, claim: float, release: float, store: float, share: float = 0.0
) -> float:
    """The share of their time that workers train: shards of about equal length, one lock for claims and releases.

    With a ``share``, a worker claims as many shards at a time as keep its claims below that share of its time.
    """
    draw = random.Random(0)
    free_at, ended, trained_for = 0.0, 0.0, 0.0
    queue = [(draw.random() * min(each, 1.0), i, "claim") for i in range(workers)]
    heapq.heapify(queue)
    left, batch = shards, [1] * workers
    while queue:
        now, worker, what = heapq.heappop(queue)
        start = max(now, free_at)
        if what == "claim":
            if left == 0:
                continue
            count = min(batch[worker], left, max(1, shards // (4 * workers)))
            left -= count
            free_at = start + claim
            if share:
                batch[worker] = max(1, round((free_at - now) / share / each))
            took = count * each * draw.uniform(0.9, 1.1)
            trained_for += took
            heapq.heappush(queue, (free_at + took + count * store, worker, "release"))
        else:
            free_at = start + release
            ended = max(ended, free_at)
            heapq.heappush(queue, (free_at, worker, "claim"))
    return trained_for / (workers * ended)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-ray", action="store_true", help="the store and the simulation alone")
    given = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if not given.no_ray:
        found = [(on_nodes(1, *BOUND), on_nodes(2, *BOUND)) for _ in range(given.repeats)]
        one, two = (sorted(each)[len(found) // 2] for each in zip(*found, strict=True))
        pool = sorted(trained(*BOUND, "execute.processes=2") for _ in range(given.repeats))[given.repeats // 2]
        rows = [("Ray, one node of one core", one, 1.0), ("Ray, two such nodes", two, one / two),
                ("this machine's pool of two processes", pool, one / pool)]  # fmt: skip
        print(f"## Speed-up\n\nadamcmp sweep {' '.join(BOUND)}; median of {given.repeats}\n")
        print(tabulate(rows, ("where", "seconds", "times one worker"), tablefmt="pipe", floatfmt=".3g"), flush=True)
        local, ray = trained(*TINY), on_nodes(1, *TINY)
        print("\n## Overhead\n\n128 shards of one run of two steps, in one process\n")
        rows = [("this machine's pool", 1e3 * local / 128), ("Ray, one node", 1e3 * ray / 128)]
        print(
            tabulate(rows, ("where", "ms a shard, its training included"), tablefmt="pipe", floatfmt=".3g"), flush=True
        )
    costs = {workers: Costs(workers, 100) for workers in WORKERS}
    store = {runs: part_seconds(runs) for runs in SHARDS}
    files, merging = merged_files(500)
    print("\n## The store, on this disk\n")
    rows = [(w, 1e3 * c.claim, 1e3 * c.release, 1e3 * c.look_at_all) for w, c in costs.items()]
    headers = ("drivers", "claim of 100 runs (ms)", "giving it up (ms)", "a look at all drivers (ms)")
    print(tabulate(rows, headers, tablefmt="pipe", floatfmt=".3g"))
    stored = ", ".join(f"{1e3 * each:.3g} ms for {runs}" for runs, each in store.items())
    print(f"\nA part: {stored} runs. 500 parts merged as they come leave {files} files, {1e3 * merging:.2g} ms a part.")
    print(f"\n## Simulated: {RUNS:,} runs, {PIECE_SECONDS:.0f} s for 100 of them\n")
    rows = []
    for size in SHARDS:
        each = PIECE_SECONDS * size / 100
        for workers in WORKERS:
            known = costs[workers]
            shards, looked = RUNS // size, known.look_at_all
            first = simulated(workers, shards, each, known.claim + looked, known.release + looked, store[size])
            then = simulated(workers, shards, each, known.claim, known.release, store[size])
            now = simulated(workers, shards, each, known.claim, known.release, store[size], MAX_LEASING_FRACTION)
            rows.append((size, workers, f"{first:.1%}", f"{then:.1%}", f"{now:.1%}", f"{shards:,}"))
    headers = ("runs per shard", "workers", "each claim looks at all drivers", "at blocking ones",
               "and takes 1 % of the time", "parts unmerged")  # fmt: skip
    print(tabulate(rows, headers, tablefmt="pipe"))


if __name__ == "__main__":
    main()
