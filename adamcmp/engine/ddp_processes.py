"""Start and end the processes of a run that several of them train: rank 0 is the process that was asked to train.

Rank 0 evaluates, writes checkpoints and reports as it would alone. The other ranks only take the same steps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
import torch.distributed as dist

from adamcmp.config.source_hash import add_cwd_to_path
from adamcmp.data.dataset import Dataset
from adamcmp.engine import sequential
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.strategy.types import Shard


@contextmanager
def process_group(
    shard: Shard, dataset: Dataset, device: torch.device, paths: tuple[Path | None, Path | None]
) -> Iterator[None]:
    """Make this process rank 0 of the number of ranks in the shard's strategy, inside the block.

    Args:
        shard: the shard to train.
        dataset: its data.
        device: of rank 0; the others take the next accelerators of its kind.
        paths: of the checkpoint, and of the one to start from.
    """
    ranks = shard.strategy.ranks
    if ranks == 1:
        yield
        return
    context = torch.multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        arguments = (ranks, meeting, shard, dataset, str(device), paths)
        processes = [
            context.Process(target=_run_rank, args=(rank, *arguments), daemon=True) for rank in range(1, ranks)
        ]
        for other in processes:
            other.start()
        try:
            _init_process_group(0, ranks, meeting, device)
            yield
        finally:
            for other in processes:
                other.kill()
            with suppress(RuntimeError):
                dist.destroy_process_group()


def _init_process_group(rank: int, ranks: int, meeting: str, device: torch.device) -> None:
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=ranks)


def _run_rank(
    rank: int, ranks: int, meeting: str, shard: Shard, dataset: Dataset, device: str,
    paths: tuple[Path | None, Path | None],
) -> None:  # fmt: skip
    """Run another rank: the same steps, on its part of each batch."""
    add_cwd_to_path()
    rank_device = torch.device(device if device == "cpu" else f"{torch.device(device).type}:{rank}")
    _init_process_group(rank, ranks, meeting, rank_device)
    control = TrainingControl(shard=shard, checkpoint=paths[0], start=paths[1], every=float("inf"), writes=False)
    for _ in sequential.train_shard(shard, dataset, rank_device, control):
        pass
