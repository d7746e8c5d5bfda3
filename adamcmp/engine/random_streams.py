"""Named random streams: the numbers for one purpose depend only on the seed and the purpose.

The same seed so gives every optimizer the same initial weights (``init``), batch order (``batches``) and dropout
masks (``dropout``), whatever else is drawn. Weights and batch order are drawn on the CPU and are the same on every
device; masks are drawn where they are used.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor


def stream_seed(seed: int, name: str, index: int = 0) -> int:
    """Return the seed of a stream's ``index``-th part: 32 bits of SHA-256 over seed, name and index.

    torch's generator on the CPU takes no more. Among 1,000 seeds, two start from equal weights with a chance of
    1000² / 2³³ = 1 in 8,600.
    """
    digest = hashlib.sha256(f"{seed}/{name}/{index}".encode()).digest()
    return (int.from_bytes(digest[:8], "little") >> 1) & 0xFFFF_FFFF


def seed_device(device: torch.device, seed: int) -> None:
    """Seed the global generator of the CPU and of ``device``, from which modules draw weights and dropout masks."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":  # a write in this process; torch.cuda.manual_seed_all would seed every device there is
        index = torch.cuda.current_device() if device.index is None else device.index  # type: ignore[redundant-expr]
        torch.cuda.default_generators[index].manual_seed(seed)
    elif device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


HostState = list[Any]
"""States of Python's and NumPy's global generators, as plain numbers that a checkpoint may hold."""


def host_state() -> HostState:
    """Return the states of Python's and NumPy's global generators."""
    _, numbers, next_gauss = random.getstate()
    name, keys, position, has_gauss, gauss = cast("tuple[str, Any, int, int, float]", np.random.get_state())
    return [list(numbers), next_gauss, [name, keys.tolist(), position, has_gauss, gauss]]


def set_host_state(state: HostState) -> None:
    """Set Python's and NumPy's global generators to states that ``host_state`` has returned."""
    numbers, gauss, (name, keys, *rest) = state
    random.setstate((3, tuple(numbers), gauss))
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))


@contextmanager
def host_streams(seed: int) -> Iterator[None]:
    """Seed Python's and NumPy's global generators inside the block, and restore them afterwards.

    A run has one such stream, from its first step to its last: seeding both at every step takes longer than a step
    of a small model.
    """
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed & 0xFFFF_FFFF)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


@contextmanager
def all_streams(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch on the CPU inside the block, and restore them."""
    with host_streams(seed), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def batch_indices(
    seeds: Sequence[int], examples: int, batch_size: int, device: torch.device, start: int = 0
) -> Iterator[Tensor]:
    """Yield endless batches of S seeds from step ``start`` on, S·B indices each, seed behind seed.

    Each epoch is a permutation, without the remainder. (A full batch is all examples in the data's own order.)
    """
    steps = examples // batch_size
    epoch, skipped = divmod(start, steps)
    while True:
        generators = [torch.Generator().manual_seed(stream_seed(seed, "batches", epoch)) for seed in seeds]
        orders = [
            torch.randperm(examples, generator=generator, device="cpu")[: steps * batch_size]
            for generator in generators
        ]
        index_STB = torch.stack(orders).view(len(seeds), steps, batch_size)
        yield from index_STB.transpose(0, 1).flatten(1).to(device)[skipped:]
        epoch, skipped = epoch + 1, 0
