"""The state of the CPU that trainings want: how many threads a task is worth, and no denormal numbers.

Threads wait for each other at every operation: for a small model that costs more than it brings, most of all where
another process wants the cores too. Measured with torch 2.14 on two cores, batch 100, AdamW, microseconds a step with
one and with two threads: MLP 64-32-10 164 and 200, 784-64-10 399 and 378, 784-256-256-10 1505 and 1180. The choice
depends on the task alone and never on a clock, so that a resumed sweep computes the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from adamcmp.data.dataset import Dataset

ONE_THREAD_BELOW = 10e6
"""FLOPs of one forward pass of a batch."""


@contextmanager
def suitable_threads(model: nn.Module, dataset: Dataset, batch_size: int) -> Iterator[None]:
    """Use one thread inside the block where a batch is little work; torch's own number (OMP_NUM_THREADS) elsewhere."""
    before = torch.get_num_threads()
    if _flops_per_example(model, dataset) * batch_size < ONE_THREAD_BELOW:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _flops_per_example(model: nn.Module, dataset: Dataset) -> float:
    """FLOPs of a forward pass; infinite for a model that fails here, since its runs are the place to say so."""
    x = dataset.train.x[:2]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), FlopCounterMode(display=False) as counter:
            model.eval()(x)
    except Exception:  # an own model may fail in any way
        return math.inf
    return float(counter.get_total_flops()) / len(x)


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Take denormal numbers for zero: second moments of dead inputs decay into them, which is 5 times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)  # torch's default; there is no asking what it was
