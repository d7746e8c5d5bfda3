"""Every shipped configuration as `adamcmp run` trains it, beside a plain loop of the same steps with one evaluation.

    .venv/bin/python scripts/bench/single_runs.py [CONFIG …] [--seconds 10] [--markdown table.md]

Both sides train the same model on the same data in a process of their own, one after the other, in turns; the quickest
of each counts. The plain loop is a user's: torch's fused AdamW, default threads, one evaluation of all of
validation and test and of as many training examples as adamcmp shows at last. adamcmp's time is that of its record:
training, checkpoints and all of its evaluations. A last column has the time of its evaluations, by a run with a single
one. Data sets that are not here are random images of their size; long configurations are cut to --seconds of the
plain loop, with the evaluations of that many steps.
"""

from __future__ import annotations

import argparse
import itertools
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate
from tasks import machine
from tasks.sweeps import command, environment

from adamcmp.config.lookup import find_config
from adamcmp.engine.loading import CPU, build_model, dataset_metadata, load_data
from adamcmp.plan.expand import plan_study

if TYPE_CHECKING:
    import torch

    from adamcmp.config.schema import Data, ExecutionSettings
    from adamcmp.data.dataset import Dataset
    from adamcmp.plan.runs import DatasetMetadata, Run

TURNS = 3
RANDOM = "data._target_=tasks.pictures.random_pictures"
CONFIGS: dict[str, tuple[str, ...]] = {
    "digits": (),
    "mnist1d": (),
    "mnist": (RANDOM, "data.examples=70000"),
    "fashion_mnist": (RANDOM, "data.examples=70000"),
    "cifar10": (RANDOM, "data.examples=60000", "data.channels=3", "data.side=32"),
    "image_folder": (RANDOM, "data.examples=5000", "data.channels=3", "data.side=32"),
    "text": (),
    "modular_addition": (),
    "sparse_words": (),
    "table": ("data.path=table.csv",),
}
"""Overrides that stand in for data; newsgroups has the model of sparse_words and text that cannot be made up."""


def planned(config: str, overrides: list[str]) -> tuple[Run, Dataset]:
    """The run that adamcmp plans, and its data."""
    loaded: list[Dataset] = []

    def load(settings: Data, _: ExecutionSettings) -> DatasetMetadata:
        loaded.append(load_data(settings))
        return dataset_metadata(loaded[0])

    (run,) = plan_study(find_config(config), overrides, load).runs
    return run, loaded[0]


def plain(config: str, overrides: list[str], seconds: float) -> tuple[int, float]:
    """Steps of the loop, as many as it takes in some seconds and no more than are planned; and its seconds."""
    import torch
    from torch.nn import functional

    run, data = planned(config, overrides)
    task = run.task
    model = build_model(task, 0, CPU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.steps)

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(model(data.inputs(x)).flatten(0, -2), y.flatten())

    def batches() -> Iterator[torch.Tensor]:
        while True:
            yield from torch.randperm(len(data.train.y)).split(task.batch_size)[: task.steps_per_epoch]

    loss(data.train.x[: task.batch_size], data.train.y[: task.batch_size]).backward()  # warm up
    done, started = 0, time.perf_counter()
    for index in itertools.islice(batches(), task.steps):
        optimizer.zero_grad()
        loss(data.train.x[index], data.train.y[index]).backward()
        optimizer.step()
        schedule.step()
        done += 1
        if time.perf_counter() - started > seconds:
            break
    model.eval()
    with torch.no_grad():
        for part, shown in zip((data.train, data.validation, data.test), task.evaluations.last, strict=True):
            for start in range(0, shown, 256):
                x, y = part.take(slice(start, min(start + 256, shown)))
                loss(x, y).item()
    return done, time.perf_counter() - started


def ours(config: str, overrides: list[str], folder: str, evaluations: str) -> tuple[float, str, int]:
    """Seconds of the record, how it was trained, and how often it was evaluated."""
    import adamcmp

    results = tempfile.mkdtemp(dir=folder)
    call = command("run", config, *overrides, f"train.evaluations={evaluations}", "--results-dir", results)
    done = subprocess.run(call, env=environment(), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    records, curves = adamcmp.load(results)
    row = records.iloc[0]
    return row["seconds"], f"{row['engine']} {row['engine_settings']}", len(curves)


def measured(config: str, seconds: float, folder: str) -> list[object]:
    """One row of the table."""
    overrides = list(CONFIGS[config])
    steps, _ = loop(config, overrides, seconds, folder)
    overrides += [f"train.steps={steps}", "schedule.warmup_steps=0"]
    loops, runs, once = [], [], []
    for _ in range(TURNS):
        loops.append(loop(config, overrides, math.inf, folder)[1])
        runs.append(ours(config, overrides, folder, "auto"))
        once.append(ours(config, overrides, folder, "1"))
    best, alone, single = min(runs), min(loops), min(once)
    share = max(best[0] - single[0], 0.0) / single[0]
    return [config, steps, alone, best[0], best[0] / alone, best[2], f"{share:.0%}", best[1]]


def loop(config: str, overrides: list[str], seconds: float, folder: str) -> tuple[int, float]:
    """The plain loop in a process of its own."""
    call = [sys.executable, str(Path(__file__).resolve()), "--loop", config, str(seconds), *overrides]
    done = subprocess.run(call, env=environment(), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    steps, taken = done.stdout.split()[-2:]
    return int(steps), float(taken)


def write_table(path: Path) -> None:
    """A table of 2,000 rows and 20 numbers."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(2000, 20)), columns=[f"c{i}" for i in range(20)])
    frame.assign(kind=(frame["c0"] + frame["c1"] > 0).astype(int)).to_csv(path, index=False)


def main() -> None:
    """Measure, and print a table."""
    if sys.argv[1:2] == ["--loop"]:
        print(*plain(sys.argv[2], sys.argv[4:], float(sys.argv[3])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", metavar="CONFIG", help=", ".join(CONFIGS))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "table.csv")
        for config in options.configs or CONFIGS:
            rows.append(measured(config, options.seconds, folder))
            print(*rows[-1], flush=True)
    headers = ["configuration", "steps", "plain loop (s)", "adamcmp (s)", "ratio", "evaluations", "their share", "how"]
    table = tabulate(rows, headers, tablefmt="github", floatfmt=".3g")
    text = "\n".join([*machine.describe(), "", table, ""])
    print(text)
    if options.markdown:
        options.markdown.write_text(text)


if __name__ == "__main__":
    main()
