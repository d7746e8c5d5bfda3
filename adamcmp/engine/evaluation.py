"""Measure a model on all parts of a data set."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from adamcmp import metrics
from adamcmp.data.dataset import Dataset, Split
from adamcmp.data.rows import Rows
from adamcmp.engine.outcome import Evaluation

CHUNK = 2048
"""Examples shown to a model at once: bounds memory, changes no result."""
FEW_LOGITS = 1 << 15
"""Of one example, beyond which so many fewer examples are shown at once."""


@torch.no_grad()
def evaluate(model: nn.Module, dataset: Dataset, step: int, eval_examples: int) -> Evaluation:
    """Loss and error on all parts, dropout off; of the training part at most ``eval_examples``, evenly spread."""
    was_training = model.training
    model.eval()
    parts = (shown_train(dataset, eval_examples), dataset.validation, dataset.test)
    size = at_once(dataset, CHUNK)
    measured = [measure(model, part, dataset.inputs, size) for part in parts]
    model.train(was_training)
    norm = math.sqrt(sum(p.double().square().sum().item() for p in model.parameters()))
    (train_loss, train_error), (validation_loss, validation_error), (test_loss, test_error) = measured
    return Evaluation(step, train_loss, train_error, validation_loss, validation_error, test_loss, test_error, norm)


def shown_train(dataset: Dataset, eval_examples: int) -> Split:
    """The training examples that an evaluation shows: at most so many, evenly spread."""
    return dataset.train.take(slice(None, None, -(-len(dataset.train.y) // eval_examples)))


def at_once(dataset: Dataset, most: int) -> int:
    """How many examples to show at once: ``most``, fewer where each has many logits, as a long text has."""
    logits = dataset.num_classes * math.prod(dataset.train.y.shape[1:])
    return max(1, most * FEW_LOGITS // max(logits, FEW_LOGITS))


def measure(
    model: nn.Module, part: Split, inputs: Callable[[Tensor | Rows], Tensor], size: int = CHUNK
) -> tuple[float, float]:
    """Mean cross-entropy in nats and share of wrong predictions of a model on one part.

    Args:
        model: in evaluation mode.
        part: what to show.
        inputs: makes of examples what the model takes.
        size: how many examples are shown at once.
    """
    loss, wrong = 0.0, 0
    for x, y in part.chunks(size):
        logits = model(inputs(x))
        loss += metrics.cross_entropy(logits, y, reduction="sum").item()
        wrong += int(metrics.errors(logits, y).item())
    return loss / part.y.numel(), wrong / part.y.numel()
