"""One large run in several processes, each with its part of every batch: torch's DistributedDataParallel.

Without a process group, all functions act as for one process. ``ddp_processes`` starts the group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._pytree import tree_map


def world_size() -> int:
    """Return how many processes take the steps of this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Return whether this process evaluates and answers."""
    return world_size() == 1 or dist.get_rank() == 0


def local_batch(batch: Any) -> Any:
    """Return this process's examples of a batch."""
    ranks = world_size()
    return batch if ranks == 1 else tree_map(lambda leaf: leaf.chunk(ranks)[dist.get_rank()], batch)


def local_stream_name(name: str) -> str:
    """Return the name of this process's random stream: masks of other examples are drawn apart."""
    return name if is_first() else f"{name}/{dist.get_rank()}"


def loss_weight(total: Callable[[Tensor], Tensor | float], share: Tensor, all_targets: Tensor) -> Tensor | float:
    """Return the factor of this process's mean loss whose mean over all processes is the loss of the whole batch.

    Args:
        total: the sum of weights that a mean loss over some targets divides by.
        share: the targets of this process.
        all_targets: those of all processes.
    """
    return 1.0 if world_size() == 1 else total(share) * world_size() / total(all_targets)


def wrap_model(model: nn.Module) -> nn.Module:
    """Return a model whose gradients are means over all processes; the model itself if there is only one process."""
    return model if world_size() == 1 else nn.parallel.DistributedDataParallel(model)


def mean_over_ranks(loss: Tensor) -> Tensor:
    """Return the mean of a loss over all processes."""
    if world_size() > 1:
        dist.all_reduce(loss)
        loss = loss / world_size()
    return loss
