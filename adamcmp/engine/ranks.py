"""One large run in several processes, each with its share of every batch: torch's DistributedDataParallel.

The process that was asked to train is rank 0: it evaluates, writes checkpoints and answers as it would alone. It starts
the others, which do nothing but take the same steps, and ends them when it is done, or goes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from adamcmp.data.dataset import Dataset
from adamcmp.engine.strategy import Piece
from adamcmp.engine.watch import Watch


def count() -> int:
    """How many processes take the steps of this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process evaluates and answers."""
    return count() == 1 or dist.get_rank() == 0


def share(batch: Any) -> Any:
    """This process's examples of a batch."""
    ranks = count()
    return batch if ranks == 1 else tree_map(lambda each: each.chunk(ranks)[dist.get_rank()], batch)


def stream(name: str) -> str:
    """Return the name of this process's random stream: masks of other examples are drawn apart."""
    return name if is_first() else f"{name}/{dist.get_rank()}"


def weight(total: Callable[[Tensor], Tensor | float], share: Tensor, whole: Tensor) -> Tensor | float:
    """Return the factor of this process's mean loss whose mean over all processes is the loss of the whole batch.

    Args:
        total: the sum of weights that a mean loss over some targets divides by.
        share: the targets of this process.
        whole: those of all processes.
    """
    return 1.0 if count() == 1 else total(share) * count() / total(whole)


def wrapped(model: nn.Module) -> nn.Module:
    """The model whose gradients are means over all processes; it is the model itself where there is one."""
    return model if count() == 1 else nn.parallel.DistributedDataParallel(model)


def mean(loss: Tensor) -> Tensor:
    """The mean of a loss over all processes."""
    if count() > 1:
        dist.all_reduce(loss)
        loss = loss / count()
    return loss


@contextmanager
def together(
    piece: Piece, dataset: Dataset, device: torch.device, paths: tuple[Path | None, Path | None]
) -> Iterator[None]:
    """Inside the block this process is rank 0 of as many as the piece's strategy says.

    Args:
        piece: what is trained.
        dataset: its data.
        device: of rank 0; the others take the next accelerators of its kind.
        paths: of the checkpoint, and of the one to start from.
    """
    ranks = piece.strategy.ranks
    if ranks == 1:
        yield
        return
    context = torch.multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        given = (ranks, meeting, piece, dataset, str(device), paths)
        others = [context.Process(target=_follow, args=(rank, *given), daemon=True) for rank in range(1, ranks)]
        for each in others:
            each.start()
        try:
            _meet(0, ranks, meeting, device)
            yield
        finally:
            for each in others:
                each.kill()
            with suppress(RuntimeError):
                dist.destroy_process_group()


def _meet(rank: int, ranks: int, meeting: str, device: torch.device) -> None:
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=ranks)


def _follow(
    rank: int, ranks: int, meeting: str, piece: Piece, dataset: Dataset, device: str,
    paths: tuple[Path | None, Path | None],
) -> None:  # fmt: skip
    """What another process does: the same steps, on its share of each batch."""
    from adamcmp.config.instantiate import add_cwd_to_path
    from adamcmp.engine import sequential

    add_cwd_to_path()
    own = torch.device(device if device == "cpu" else f"{torch.device(device).type}:{rank}")
    _meet(rank, ranks, meeting, own)
    watch = Watch(piece=piece, checkpoint=paths[0], start=paths[1], every=float("inf"), writes=False)
    for _ in sequential.train(piece, dataset, own, watch):
        pass
