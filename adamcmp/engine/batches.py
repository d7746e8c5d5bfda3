"""The batches of one or several seeds, step by step, as the model sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from adamcmp.data.augment import flip_crop
from adamcmp.data.dataset import Dataset
from adamcmp.data.rows import Rows
from adamcmp.engine.streams import batch_indices, stream_seed
from adamcmp.plan.runs import Task

T = TypeVar("T")


class Batch(NamedTuple):
    """What S seeds see in one step: examples x_SB… as a model takes them, and labels y_SB…."""

    x: Tensor
    y: Tensor


def batches(dataset: Dataset, task: Task, seeds: Sequence[int], start: int = 0) -> Iterator[Batch]:
    """The batches of S seeds from step ``start`` (from 0) to the last, augmented from each seed's ``augment``.

    All seeds' examples are gathered at once. What lies on disk is read one step ahead, while the step before is taken.
    """
    every = _batches(dataset, task, seeds, start)
    return ahead(every) if isinstance(dataset.train.x, Rows) else every


def _batches(dataset: Dataset, task: Task, seeds: Sequence[int], start: int) -> Iterator[Batch]:
    x, y = dataset.train
    indices = batch_indices(seeds, len(y), task.batch_size, y.device, start)
    for t, index_SB in zip(range(start, task.steps), indices, strict=False):
        if isinstance(index_SB, slice):
            shown = Batch(*(each.expand(len(seeds), *each.shape) for each in (dataset.inputs(x), y)))
        else:
            flat = index_SB.flatten()
            shown = Batch(*(each.view(*index_SB.shape, *each.shape[1:]) for each in (dataset.inputs(x[flat]), y[flat])))
        if task.data.augment == "flip_crop":
            shown = shown._replace(x=_moved(shown.x, [stream_seed(seed, "augment", t) for seed in seeds]))
        yield shown


def _moved(x_SBCHW: Tensor, drawn: Sequence[int]) -> Tensor:
    return torch.stack([flip_crop(x_BCHW, seed) for x_BCHW, seed in zip(x_SBCHW, drawn, strict=True)])


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, each made in a thread of its own while the one before is in use."""
    iterator = iter(items)
    nothing = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, iterator, nothing)
        while (item := coming.result()) is not nothing:
            coming = thread.submit(next, iterator, nothing)
            yield item  # type: ignore[misc]  # nothing is no item
