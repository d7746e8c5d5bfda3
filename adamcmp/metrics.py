"""Metrics as pure functions of logits and labels. Shapes: B examples, C classes; more axes in front are allowed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(logits_BC: Tensor, y_B: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy −log softmax(logits)_y in nats, averaged (or summed) over all predictions; at least in fp32."""
    logits_BC = logits_BC.to(torch.promote_types(logits_BC.dtype, torch.float32))
    return functional.cross_entropy(logits_BC.flatten(0, -2), y_B.flatten(), reduction=reduction)


def errors(logits_BC: Tensor, y_B: Tensor) -> Tensor:
    """Number of predictions (the class of the largest logit) that differ from the label."""
    return (logits_BC.argmax(-1) != y_B).sum()


def generalization_gap(train_error: float, test_error: float) -> float:
    """Test error − train error, of the same weights."""
    return test_error - train_error
