"""Named random streams: what is drawn for one purpose depends on the seed and the purpose alone.

The same seed so gives every optimizer the same initial weights (``init``), batch order (``batches``) and dropout
masks (``dropout``), whatever else is drawn. Weights and batch order are drawn on the CPU and are the same on every
device; masks are drawn where they are used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor


def stream_seed(seed: int, name: str, index: int = 0) -> int:
    """Seed of a stream's ``index``-th part: 63 bits of SHA-256 over seed, name and index."""
    digest = hashlib.sha256(f"{seed}/{name}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def seed_device(device: torch.device, seed: int) -> None:
    """Seed the global generator of the CPU and of ``device``, from which modules draw weights and dropout masks."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        module = torch.get_device_module(device)
        getattr(module, "manual_seed_all", module.manual_seed)(seed)  # manual_seed seeds the current device only


def batch_indices(
    seed: int, examples: int, batch_size: int, device: torch.device, start: int = 0
) -> Iterator[Tensor | slice]:
    """Endless batches from step ``start`` on: a fresh permutation each epoch, without the remainder.

    A full batch is a slice, in the data's own order.
    """
    if batch_size == examples:
        while True:
            yield slice(None)
    epoch, skipped = divmod(start, examples // batch_size)
    while True:
        generator = torch.Generator().manual_seed(stream_seed(seed, "batches", epoch))
        order = torch.randperm(examples, generator=generator, device="cpu").to(device)
        yield from torch.split(order, batch_size)[skipped : examples // batch_size]
        epoch, skipped = epoch + 1, 0
