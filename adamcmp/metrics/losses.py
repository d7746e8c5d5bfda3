r"""Losses as pure functions of a model's outputs and targets, without reduction. Shapes: B examples, C classes.

Outputs are logits of classes, shape (B, C) or (B, T, C), of labels, (B, L), or standardized quantities, (B, D). Each
function gives one loss for each prediction: (B,), (B, T), (B, L) or (B, D); at least in fp32.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def to_fp32_or_wider(x: Tensor) -> Tensor:
    """Return the numbers at least as fp32: bf16 would round a loss."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def cross_entropy(
    logits: Tensor,
    y: Tensor,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
    reduction: str = "none",
) -> Tensor:
    r"""Return cross-entropy −log softmax(logits)_y in nats, as ``torch.nn.functional.cross_entropy`` has it.

    With ``label_smoothing`` ε the target is (1 − ε) onehot(y) + ε/C; with ``class_weights`` w a mean is
    Σ w_y ℓ / Σ w_y.

    Args:
        logits: (B, C), or (B, T, C) for a label at each position.
        y: int64, (B,) or (B, T).
        label_smoothing: ε, in [0, 1).
        class_weights: (C,).
        reduction: ``none`` gives (B,) or (B, T); ``mean`` and ``sum`` one number.
    """
    losses = functional.cross_entropy(
        to_fp32_or_wider(logits).flatten(0, -2),
        y.flatten(),
        weight=class_weights,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )
    return losses.view(y.shape) if reduction == "none" else losses


def mse(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the squared error (ŷ − y)²."""
    return (to_fp32_or_wider(outputs) - y).square()


def huber(outputs: Tensor, y: Tensor, delta: float = 1.0) -> Tensor:
    r"""Return the Huber loss: d²/2 where |d| = |ŷ − y| ≤ δ, else δ (|d| − δ/2).

    Source: P. J. Huber, Robust Estimation of a Location Parameter, Annals of Mathematical Statistics 35(1), 1964.
    """
    distance = (
        to_fp32_or_wider(outputs) - y
    ).abs()  # torch's function has a rule for vmap that confuses rows and examples
    return torch.where(distance <= delta, 0.5 * distance.square(), delta * (distance - 0.5 * delta))


def bce(logits: Tensor, y: Tensor, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> Tensor:
    """Return the binary cross-entropy of each label in nats, −[w y log σ(z) + (1 − y) log(1 − σ(z))].

    Args:
        logits: z, (B, L).
        y: 0 or 1, (B, L).
        label_smoothing: ε: the target is (1 − ε) y + ε/2.
        class_weights: w, (L,): weight of a label that holds.
    """
    target = y * (1 - label_smoothing) + label_smoothing / 2 if label_smoothing else y
    return functional.binary_cross_entropy_with_logits(
        to_fp32_or_wider(logits), target, pos_weight=class_weights, reduction="none"
    )
