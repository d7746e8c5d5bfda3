"""One PyTorch training loop as a user writes it; prints its steps per second.

    python -m tasks.plain_loop digits 2.0

Says ``ready`` once warm and waits for a line, so that several of these can start at the same instant.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from tasks.works import WORKS, Task, build

WARM_UP = 20


def batches(task: Task) -> Iterator[Tensor]:
    """Endless whole batches of indices, a new order each epoch."""
    while True:
        yield from torch.randperm(len(task.y)).split(task.batch_size)[: task.steps_per_epoch]


def steps(task: Task) -> Iterator[int]:
    """Train with AdamW; yields the number of steps taken after each."""
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)
    for done, batch_B in enumerate(batches(task), start=1):
        optimizer.zero_grad()
        task.loss(batch_B).backward()
        optimizer.step()
        yield done


def main() -> None:
    """Warm up, wait for the start, train for so many seconds."""
    name, seconds = sys.argv[1], float(sys.argv[2])
    training = steps(build(WORKS[name]))
    next(itertools.islice(training, WARM_UP - 1, None))
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    for done in training:
        passed = time.perf_counter() - started
        if passed >= seconds:
            print((done - WARM_UP) / passed)
            return


if __name__ == "__main__":
    main()
