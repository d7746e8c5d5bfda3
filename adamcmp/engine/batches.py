"""The batches of one or several seeds, step by step, as the model sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from adamcmp.data.augment import flip_crop
from adamcmp.data.dataset import Dataset
from adamcmp.data.multi_input import Plain
from adamcmp.data.on_disk import DiskRows
from adamcmp.engine.random_streams import batch_indices, stream_seed
from adamcmp.plan.runs import TaskSpec

T = TypeVar("T")


class Batch(NamedTuple):
    """Batches of S seeds in one step, seed after seed: S·B examples as a model takes them, and their labels."""

    x: Plain
    y: Tensor


def batches(dataset: Dataset, task: TaskSpec, seeds: Sequence[int], start: int = 0) -> Iterator[Batch]:
    """Return the batches of S seeds from step ``start`` (from 0) to the last, augmented from each seed's ``augment``.

    All seeds' examples are gathered at once. What lies on disk is read one step ahead, while the step before is taken.
    """
    every = _batches(dataset, task, seeds, start)
    return prefetch(every) if isinstance(dataset.train.x, DiskRows) else every


def _batches(dataset: Dataset, task: TaskSpec, seeds: Sequence[int], start: int) -> Iterator[Batch]:
    x, y = dataset.train
    steps = range(start, task.steps)
    if task.batch_size == len(y):
        every = Batch(*tree_map(lambda leaf: torch.cat([leaf] * len(seeds)), (dataset.inputs(x), y)))
        # a model may overwrite its batch
        shown: Iterable[Batch] = (Batch(*tree_map(torch.clone, tuple(every))) for _ in steps)
    else:
        indices = batch_indices(seeds, len(y), task.batch_size, y.device, start)
        chosen = (index for _, index in zip(steps, indices, strict=False))
        shown = (Batch(dataset.inputs(x[index], copy=False), y[index]) for index in chosen)
    if task.data.augment is None:
        yield from shown
        return
    for t, batch in zip(steps, shown, strict=False):
        assert isinstance(batch.x, Tensor)  # pictures are one input
        drawn = (stream_seed(seed, "augment", t) for seed in seeds)
        moved = [flip_crop(x_B, seed) for x_B, seed in zip(torch.split(batch.x, task.batch_size), drawn, strict=True)]
        yield Batch(torch.cat(moved), batch.y)


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """Yield the same items; each is made in a thread of its own while the previous one is in use."""
    iterator = iter(items)
    nothing = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, iterator, nothing)
        while (item := coming.result()) is not nothing:
            coming = thread.submit(next, iterator, nothing)
            yield item  # type: ignore[misc]  # nothing is no item
