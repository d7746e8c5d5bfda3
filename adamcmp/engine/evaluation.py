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
from adamcmp.engine.criterion import Criterion, predict
from adamcmp.engine.outcome import Evaluation, Outcomes
from adamcmp.metrics import functions
from adamcmp.plan.evaluation_schedule import SplitSizes

MOST_KEPT = 4096
"""Examples, or blocks of them, whose outcomes are kept of a confirming run."""
CHUNK = 2048
"""Examples shown to a model at once: bounds memory, changes no result."""
AT_ONCE = 1 << 20
"""Inputs and logits of the examples shown at once: what they make then stays in a cache."""


@torch.no_grad()
def evaluate(model: nn.Module, shown: Dataset, criterion: Criterion, step: int) -> Evaluation:
    """Loss and error on all parts, dropout off.

    Args:
        model: after ``step`` steps; it keeps its mode.
        shown: what the evaluation shows, see ``reduced``.
        criterion: what is measured.
        step: for the result.
    """
    was_training = model.training
    model.eval()
    size = at_once(shown, CHUNK)
    parts = (shown.train, shown.validation, shown.test)
    squares = torch.stack([functions.to_float64(p).square().sum() for p in model.parameters()]).sum()
    found = [each for part in parts for each in measure(model, part, shown.inputs, criterion, size)]
    measured = torch.stack([squares, *found])
    model.train(was_training)
    squared, *values = measured.tolist()
    return Evaluation._make((step, *values, math.sqrt(squared), {}))


def reduced(dataset: Dataset, shown: SplitSizes) -> Dataset:
    """A data set with at most so many examples in each part, evenly spread."""
    parts = (dataset.train, dataset.validation, dataset.test)
    train, validation, test = (_spread(part, count) for part, count in zip(parts, shown, strict=True))
    return replace(dataset, train=train, validation=validation, test=test)


def _spread(part: Split, count: int) -> Split:
    held = len(part.y)
    return part if count >= held else part.take(torch.arange(count, device=part.y.device) * held // count)


def at_once(dataset: Dataset, most: int) -> int:
    """How many examples to show at once: ``most``, fewer where each is large or has many logits, as a long text has."""
    positions = math.prod(dataset.train.y.shape[1:]) if dataset.targets == "classes" else 1
    return max(1, min(most, AT_ONCE // (dataset.num_outputs * positions + dataset.example_numbers)))


def measure(
    model: nn.Module, part: Split, inputs: Callable[[X], Plain], criterion: Criterion, size: int = CHUNK
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
    loss = functions.to_float64(_whole(losses)).sum() / part.y.numel()
    return loss, criterion.error(_whole(statistics), part.y)


@torch.no_grad()
def outcomes(model: nn.Module, part: Split, inputs: Callable[[X], Plain], criterion: Criterion, size: int) -> Outcomes:
    """Return the per-example errors of a model on one part, as ``influence.per_example`` defines them.

    Beyond ``MOST_KEPT`` examples whose values are not 0 or 1, the means of so many blocks of examples, evenly cut.
    """
    was_training = model.training
    model.eval()
    statistics = _whole([criterion.statistics(predict(model, inputs(x)), y) for x, y in part.chunks(size)])
    model.train(was_training)
    values = criterion.per_example(statistics, part.y)
    if np.isin(values, (0.0, 1.0)).all():
        return Outcomes("bits", len(values), np.packbits(values.astype(bool)).tobytes())
    if len(values) > MOST_KEPT:
        values = np.array([block.mean() for block in np.array_split(values, MOST_KEPT)])
    return Outcomes("floats", len(values), values.astype("<f4").tobytes())


def _whole(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]
