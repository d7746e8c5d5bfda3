"""Measure a model on all parts of a data set."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from adamcmp.data.dataset import Dataset, Split
from adamcmp.data.multi_input import Plain
from adamcmp.data.raw import X
from adamcmp.engine.objective import Objective, predict
from adamcmp.engine.run_result import Evaluation, ExampleErrors
from adamcmp.metrics import functions
from adamcmp.plan.evaluation_schedule import SplitSizes

MAX_STORED_VALUES = 4096
"""Examples, or blocks of them, whose outcomes are kept of a confirming run."""
CHUNK_EXAMPLES = 2048
"""Examples shown to a model at once: bounds memory, changes no result."""
MAX_VALUES_AT_ONCE = 1 << 20
"""Inputs and logits of the examples shown at once: what they make then stays in a cache."""


@torch.no_grad()
def evaluate(model: nn.Module, shown: Dataset, criterion: Objective, step: int) -> Evaluation:
    """Loss and error on all parts, dropout off.

    Args:
        model: after ``step`` steps; it keeps its mode.
        shown: what the evaluation shows, see ``subsample``.
        criterion: what is measured.
        step: for the result.
    """
    was_training = model.training
    model.eval()
    size = chunk_size(shown, CHUNK_EXAMPLES)
    parts = (shown.train, shown.validation, shown.test)
    squares = torch.stack([functions.to_float64(p).square().sum() for p in model.parameters()]).sum()
    found = [each for part in parts for each in evaluate_split(model, part, shown.inputs, criterion, size)]
    measured = torch.stack([squares, *found])
    model.train(was_training)
    squared, *values = measured.tolist()
    return Evaluation._make((step, *values, math.sqrt(squared), {}))


def subsample(dataset: Dataset, shown: SplitSizes) -> Dataset:
    """A data set with at most so many examples in each part, evenly spread."""
    parts = (dataset.train, dataset.validation, dataset.test)
    train, validation, test = (_spread_evenly(part, count) for part, count in zip(parts, shown, strict=True))
    return replace(dataset, train=train, validation=validation, test=test)


def _spread_evenly(part: Split, count: int) -> Split:
    held = len(part.y)
    return part if count >= held else part.take(torch.arange(count, device=part.y.device) * held // count)


def chunk_size(dataset: Dataset, most: int) -> int:
    """How many examples to show at once: ``most``, fewer where each is large or has many logits, as a long text has."""
    positions = math.prod(dataset.train.y.shape[1:]) if dataset.targets == "classes" else 1
    return max(1, min(most, MAX_VALUES_AT_ONCE // (dataset.num_outputs * positions + dataset.example_numbers)))


def evaluate_split(
    model: nn.Module, part: Split, inputs: Callable[[X], Plain], criterion: Objective, size: int = CHUNK_EXAMPLES
) -> tuple[Tensor, Tensor]:
    """Mean loss and error of a model on one part, as float64.

    Args:
        model: in evaluation mode.
        part: what to show.
        inputs: makes of examples what the model takes.
        criterion: what is measured.
        size: how many examples are shown at once.
    """
    losses, statistics = [], []
    for x, y in part.chunks(size):
        given = predict(model, inputs(x))
        losses.append(criterion.losses(given, y))
        statistics.append(criterion.statistics(given, y))
    loss = functions.to_float64(_block_means(losses)).sum() / part.y.numel()
    return loss, criterion.error(_block_means(statistics), part.y)


@torch.no_grad()
def example_errors(
    model: nn.Module, part: Split, inputs: Callable[[X], Plain], criterion: Objective, size: int
) -> ExampleErrors:
    """Return the per-example errors of a model on one part, as ``influence.per_example`` defines them.

    Beyond ``MAX_STORED_VALUES`` examples whose values are not 0 or 1, the means of so many blocks of examples, evenly
    cut.
    """
    was_training = model.training
    model.eval()
    statistics = _block_means([criterion.statistics(predict(model, inputs(x)), y) for x, y in part.chunks(size)])
    model.train(was_training)
    values = criterion.per_example(statistics, part.y)
    if np.isin(values, (0.0, 1.0)).all():
        return ExampleErrors("bits", len(values), np.packbits(values.astype(bool)).tobytes())
    if len(values) > MAX_STORED_VALUES:
        values = np.array([block.mean() for block in np.array_split(values, MAX_STORED_VALUES)])
    return ExampleErrors("floats", len(values), values.astype("<f4").tobytes())


def _block_means(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]
