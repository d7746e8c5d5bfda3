"""Metrics as pure functions. Shapes: B examples, C classes, D quantities, L labels.

To add a metric that ``train.metrics`` takes by name, add its function here and to ``CLASS_METRICS`` or
``MODEL_METRICS``. Functions that ``train.metrics`` may name take any of ``outputs`` (or ``logits``) and ``y``, both in
the unit of the data (they are then measured on the validation and on the test part), ``model``, ``previous`` (its
parameters before its last step, by name), ``objective`` (a function that gives the training loss over some examples),
and ``x`` and ``y`` of training examples, and give a number or a dictionary of numbers.

``METRIC_FUNCTIONS`` holds the primary metrics of tasks, in two steps: statistics of each example, which programs of
many runs compute chunk by chunk, and the error over all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

DEVICES_WITHOUT_FLOAT64 = frozenset({"mps"})
"""Devices that have no float64."""


def to_float64(x: Tensor) -> Tensor:
    """Return the numbers as float64, to be summed: on their device, or on the CPU if their device has no float64.

    Complex numbers become pairs of real ones, with the same sum of squares.
    """
    x = torch.view_as_real(x) if x.is_complex() else x
    return (x.cpu() if x.device.type in DEVICES_WITHOUT_FLOAT64 else x).double()


class MetricFunction(NamedTuple):
    """An error in two steps, for outputs and targets as ``losses`` has them."""

    statistics: Callable[[Tensor, Tensor], Tensor]
    """(outputs_B…, y_B…) → (B, K): statistics of each example that the metric is computed from."""
    error: Callable[[Tensor, Tensor], Tensor]
    """(statistics_…NK of all N examples, y_N…) → …, in float64; axes in front are runs."""

    def __call__(self, outputs: Tensor, y: Tensor) -> float:
        """Return both steps at once."""
        return self.error(self.statistics(outputs, y), y).item()


def _of_each(values: Tensor) -> Tensor:
    """Return (B, …) → (B, 1): the sum over an example's predictions."""
    return values.flatten(1).sum(1, keepdim=True) if values.ndim > 1 else values.unsqueeze(1)


def _share(wrong: Tensor, y: Tensor) -> Tensor:
    return to_float64(wrong.sum((-2, -1))) / y.numel()


def _mean(statistics: Tensor, _: Tensor) -> Tensor:
    """Return (…, N, D) → (…, D)."""
    return to_float64(statistics).mean(-2)


def _r2(squares: Tensor, y: Tensor) -> Tensor:
    """Return 1 − Σ (ŷ − y)² / Σ (y − ȳ)² of each target; of one that does not vary 1 or 0, as in scikit-learn."""
    residual = to_float64(squares).sum(-2)
    total = (to_float64(y) - to_float64(y).mean(0)).square().sum(0)
    constant = (residual > 0).to(residual)
    return (1 - torch.where(total > 0, residual / torch.where(total > 0, total, 1.0), constant)).mean(-1)


def _confusion(logits: Tensor, y: Tensor) -> Tensor:
    """Return whether each label is a true positive, a false positive, a false negative: (B, 3 L)."""
    guess, true = logits > 0, y > 0.5
    return torch.cat([guess & true, guess & ~true, ~guess & true], dim=-1)


def _f1(confusion: Tensor, _: Tensor) -> Tensor:
    true_positive, false_positive, false_negative = to_float64(confusion.sum(-2)).chunk(3, dim=-1)
    twice = 2 * true_positive
    return (twice / (twice + false_positive + false_negative).clamp(min=1)).mean(-1)


def _average_precision(scores: Tensor, y: Tensor) -> Tensor:
    order = scores.argsort(dim=-2, descending=True)
    ranked = scores.gather(-2, order)
    true = to_float64(y).to(scores.device).expand(scores.shape).gather(-2, order)
    place = torch.arange(scores.shape[-2], device=scores.device).unsqueeze(-1)
    ends = torch.ones_like(ranked, dtype=torch.bool)  # the last of equal scores: a threshold takes all of them
    ends[..., :-1, :] = ranked[..., :-1, :] != ranked[..., 1:, :]
    end = torch.where(ends, place, scores.shape[-2] - 1).flip(-2).cummin(-2).values.flip(-2)
    precision = true.cumsum(-2).gather(-2, end) / (end + 1)
    positive = true.sum(-2)
    occurs = positive > 0
    precision_L = (true * precision).sum(-2) / positive.clamp(min=1)
    return (precision_L * occurs).sum(-1) / occurs.sum(-1).clamp(min=1)


error_rate = MetricFunction(lambda logits, y: _of_each(logits.argmax(-1) != y), _share)
"""Share of predictions (the class of the largest logit) that differ from the label."""
rmse = MetricFunction(lambda outputs, y: (outputs - y).square(), lambda s, y: _mean(s, y).sqrt().mean(-1))
"""Root of the mean squared error of each target, averaged over targets, in their unit."""
mae = MetricFunction(lambda outputs, y: (outputs - y).abs(), lambda s, y: _mean(s, y).mean(-1))
"""Mean absolute error, averaged over targets, in their unit."""
r2 = MetricFunction(lambda outputs, y: (outputs - y).square(), _r2)
"""Coefficient of determination 1 − Σ (ŷ − y)² / Σ (y − ȳ)², averaged over targets."""
f1 = MetricFunction(_confusion, _f1)
"""F1 = 2 TP / (2 TP + FP + FN) at probability ½, averaged over labels; 0 for a label that never occurs nor is named."""
average_precision = MetricFunction(lambda logits, _: logits, _average_precision)
"""Σ_n (R_n − R_{n−1}) P_n over the thresholds, averaged over the labels that occur (mAP)."""
hamming_loss = MetricFunction(lambda logits, y: _of_each((logits > 0) != (y > 0.5)), _share)
"""Share of labels that are predicted wrongly, at probability ½."""
METRIC_FUNCTIONS: Mapping[str, MetricFunction] = {
    "error_rate": error_rate,
    "rmse": rmse,
    "mae": mae,
    "r2": r2,
    "f1": f1,
    "average_precision": average_precision,
    "hamming_loss": hamming_loss,
}
"""Functions by the names of ``metrics.spec.METRIC_SPECS``."""


def top5_error(logits: Tensor, y: Tensor) -> float:
    """Return the share of predictions whose label is not among the five largest logits (of fewer classes: among
    all).

    Args:
        logits: shape (B, …, C).
        y: labels, shape (B, …).

    >>> top5_error(torch.arange(20.0).reshape(2, 10), torch.tensor([9, 0]))
    0.5
    """
    is_among = logits.topk(min(5, logits.shape[-1]), dim=-1).indices == y.unsqueeze(-1)
    return 1 - to_float64(is_among.any(-1)).mean().item()


def balanced_error(logits: Tensor, y: Tensor) -> float:
    """Return the mean over the classes that occur of the share of their examples that are predicted wrongly.

    Args:
        logits: shape (B, …, C).
        y: labels, shape (B, …).

    >>> balanced_error(torch.eye(2)[[0, 0, 0, 0]], torch.tensor([0, 0, 0, 1]))
    0.5
    """
    wrong_N = to_float64((logits.argmax(-1) != y).flatten())
    class_N = y.flatten().to(wrong_N.device)
    count_C = class_N.bincount(minlength=logits.shape[-1])
    wrong_C = wrong_N.new_zeros(len(count_C)).index_add(0, class_N, wrong_N)
    return (wrong_C / count_C)[count_C > 0].mean().item()


def calibration_error(logits: Tensor, y: Tensor, bins: int = 15) -> float:
    """Return the expected calibration error: the difference of confidence and accuracy in bins of equal width.

    ECE = Σ_m |B_m|/n · |acc(B_m) − conf(B_m)| over bins B_m of the n predictions.

    Source: C. Guo et al., On Calibration of Modern Neural Networks, arXiv 1706.04599, eq. 3; 15 bins as there.

    Args:
        logits: shape (B, …, C).
        y: labels, shape (B, …).
        bins: number of bins of the confidence.

    >>> calibration_error(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]))
    0.0
    """
    confidence_N, guess_N = (tensor.flatten() for tensor in to_float64(logits).softmax(-1).max(-1))
    right_N = to_float64(guess_N == y.flatten().to(guess_N.device))
    bin_N = (confidence_N * bins).ceil().long().clamp(1, bins) - 1  # (m/M, (m+1)/M]
    zeros_M = right_N.new_zeros(bins)
    accuracy_M, sure_M = (zeros_M.index_add(0, bin_N, values_N) for values_N in (right_N, confidence_N))
    return (accuracy_M - sure_M).abs().sum().item() / len(right_N)


def weight_norms(model: nn.Module) -> dict[str, float]:
    """Return the Euclidean norm of each parameter, and its share of the squared norm of all: ``<name>`` and
    ``<name>_share``.

    >>> weight_norms(nn.ParameterDict({"w": torch.tensor([3.0, 4.0])}))
    {'w': 5.0, 'w_share': 1.0}
    """
    squares = {name: to_float64(p.detach()).square().sum().item() for name, p in model.named_parameters()}
    total = sum(squares.values()) or 1.0
    return {name: math.sqrt(square) for name, square in squares.items()} | {
        f"{name}_share": square / total for name, square in squares.items()
    }


def updates(model: nn.Module, previous: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the relative size and angle of the last step of each parameter of two or more axes.

    ``<name>_ratio`` is ‖θ_t − θ_{t−1}‖ / ‖θ_{t−1}‖; ``<name>_angle`` is the angle between θ_{t−1} and θ_t in radians,
    whose expected value in equilibrium is √(2 η λ) √((1 − β1)/(1 + β1)) under AdamW with random gradients: momentum
    shortens single steps. 0 where a norm is 0.

    Source: A. Kosson, B. Messmer and M. Jaggi, Rotational Equilibrium, arXiv 2305.17212, sections 2 and 3.

    Args:
        model: after the step.
        previous: parameters before it, by name.

    >>> updates(nn.ParameterDict({"w": torch.ones(2, 2)}), {"w": torch.full((2, 2), 0.5)})
    {'w_ratio': 1.0, 'w_angle': 0.0}
    """
    sizes: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            continue
        before, now = to_float64(previous[name]).flatten(), to_float64(parameter.detach()).flatten()
        norm = before.norm()
        sizes[f"{name}_ratio"] = ((now - before).norm() / norm).item() if norm > 0 else 0.0
        # atan2 of both halves keeps small angles that acos would round to 0
        a, b = (functional.normalize(weights, dim=0) for weights in (before, now))
        sizes[f"{name}_angle"] = 2 * torch.atan2((a - b).norm(), (a + b).norm()).item()
    return sizes


def hessian_eigenvalue(model: nn.Module, objective: Callable[[], Tensor], iterations: int = 20) -> float:
    """Return the eigenvalue of largest size of the Hessian of the mean training loss over at most 1,000 examples.

    Power iteration v ← Hv / ‖Hv‖ from a fixed random v; the Rayleigh quotient vᵀHv of the last one is given.

    Source: B. Pearlmutter, Fast Exact Multiplication by the Hessian, Neural Computation 6(1), 1994.

    Args:
        model: its parameters that require gradients count.
        objective: returns the mean loss, which gradients are taken of.
        iterations: of the power iteration.

    >>> model = nn.ParameterDict({"w": torch.tensor([1.0, 2.0])})
    >>> round(hessian_eigenvalue(model, lambda: 1.5 * model["w"].square().sum()), 6)
    3.0
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    with torch.enable_grad():
        gradients = torch.autograd.grad(objective(), parameters, create_graph=True, materialize_grads=True)
    generator = torch.Generator().manual_seed(0)
    v = [torch.randn(p.shape, generator=generator).to(p) for p in parameters]
    eigenvalue = 0.0
    for _ in range(iterations):
        norm = math.sqrt(sum(to_float64(tensor).square().sum().item() for tensor in v))
        if norm == 0:
            return 0.0
        v = [tensor / norm for tensor in v]
        product = torch.autograd.grad(gradients, parameters, v, retain_graph=True, materialize_grads=True)
        eigenvalue = sum((to_float64(a) * to_float64(b)).sum().item() for a, b in zip(v, product, strict=True))
        v = [tensor.detach() for tensor in product]
    return eigenvalue


def bits_per_byte(loss: float, bytes_per_label: float) -> float:
    """Convert cross-entropy in nats per label to bits per byte: loss / (ln 2 · bytes per label)."""
    return loss / (math.log(2) * bytes_per_label)


CLASS_METRICS = (top5_error, balanced_error, calibration_error)
"""Metrics of classes that ``train.metrics`` takes by name, besides the metrics of ``METRIC_FUNCTIONS``."""
MODEL_METRICS = (weight_norms, updates, hessian_eigenvalue)
"""Metrics of any model that ``train.metrics`` takes by name."""
