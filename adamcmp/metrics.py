"""Metrics as pure functions. Shapes: B examples, C classes; more axes in front are allowed.

Those that ``train.metrics`` may name take any of ``logits`` and ``y`` (they are then measured on the validation and on
the test part), ``model``, ``previous`` (its parameters before its last step, by name), and ``x`` and ``y`` of
training examples, and give a number or a dictionary of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

HESSIAN_EXAMPLES = 1000
NARROW = frozenset({"mps"})
"""Devices that have no float64."""


def wide(x: Tensor) -> Tensor:
    """The same numbers as float64, to be summed: where they lie, or on the CPU where their device has no float64."""
    return (x.cpu() if x.device.type in NARROW else x).double()


def cross_entropy(logits_BC: Tensor, y_B: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy −log softmax(logits)_y in nats, averaged (or summed) over all predictions; at least in fp32."""
    logits_BC = logits_BC.to(torch.promote_types(logits_BC.dtype, torch.float32))
    return functional.cross_entropy(logits_BC.flatten(0, -2), y_B.flatten(), reduction=reduction)


def errors(logits_BC: Tensor, y_B: Tensor) -> Tensor:
    """Number of predictions (the class of the largest logit) that differ from the label."""
    return (logits_BC.argmax(-1) != y_B).sum()


def top5_error(logits: Tensor, y: Tensor) -> float:
    """Share of predictions whose label is not among the five largest logits (of fewer classes: among all)."""
    found = logits.topk(min(5, logits.shape[-1]), dim=-1).indices == y.unsqueeze(-1)
    return 1 - wide(found.any(-1)).mean().item()


def balanced_error(logits: Tensor, y: Tensor) -> float:
    """Mean over the classes that occur of the share of their examples that are predicted wrongly."""
    wrong_N = wide((logits.argmax(-1) != y).flatten())
    class_N = y.flatten().to(wrong_N.device)
    count_C = class_N.bincount(minlength=logits.shape[-1])
    wrong_C = wrong_N.new_zeros(len(count_C)).index_add(0, class_N, wrong_N)
    return (wrong_C / count_C)[count_C > 0].mean().item()


def calibration_error(logits: Tensor, y: Tensor, bins: int = 15) -> float:
    r"""Expected calibration error: what confidence and accuracy differ by, in bins of confidence of equal width.

    .. math:: \mathrm{ECE} = \sum_m \frac{|B_m|}{n} \, |\mathrm{acc}(B_m) - \mathrm{conf}(B_m)|

    Source: C. Guo et al., On Calibration of Modern Neural Networks, arXiv 1706.04599, eq. 3; 15 bins as there.
    """
    confidence_N, guess_N = (each.flatten() for each in wide(logits).softmax(-1).max(-1))
    right_N = wide(guess_N == y.flatten().to(guess_N.device))
    bin_N = (confidence_N * bins).ceil().long().clamp(1, bins) - 1  # (m/M, (m+1)/M]
    zeros_M = right_N.new_zeros(bins)
    accuracy_M, sure_M = (zeros_M.index_add(0, bin_N, each) for each in (right_N, confidence_N))
    return (accuracy_M - sure_M).abs().sum().item() / len(right_N)


def weight_norms(model: nn.Module) -> dict[str, float]:
    """Euclidean norm of each parameter, and its share of the squared norm of all: ``<name>`` and ``<name>_share``."""
    squares = {name: wide(p.detach()).square().sum().item() for name, p in model.named_parameters()}
    total = sum(squares.values()) or 1.0
    return {name: math.sqrt(each) for name, each in squares.items()} | {
        f"{name}_share": each / total for name, each in squares.items()
    }


def updates(model: nn.Module, previous: Mapping[str, Tensor]) -> dict[str, float]:
    """What the last step did to each parameter of two or more axes: relative size and angle.

    ``<name>_ratio`` is ‖θ_t − θ_{t−1}‖ / ‖θ_{t−1}‖; ``<name>_angle`` is the angle between θ_{t−1} and θ_t in radians,
    whose expected value in equilibrium is √(2 η λ) under AdamW. 0 where a norm is 0.

    Source: A. Kosson, B. Messmer and M. Jaggi, Rotational Equilibrium, arXiv 2305.17212, sections 2 and 3.
    """
    found: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            continue
        before, now = wide(previous[name]).flatten(), wide(parameter.detach()).flatten()
        norm = before.norm()
        found[f"{name}_ratio"] = ((now - before).norm() / norm).item() if norm > 0 else 0.0
        # atan2 of both halves keeps small angles that acos would round to 0
        a, b = (functional.normalize(each, dim=0) for each in (before, now))
        found[f"{name}_angle"] = 2 * torch.atan2((a - b).norm(), (a + b).norm()).item()
    return found


def hessian_eigenvalue(model: nn.Module, x: Tensor, y: Tensor, iterations: int = 20) -> float:
    """The eigenvalue of largest size of the Hessian of the mean training loss over at most 1,000 examples.

    Power iteration v ← Hv / ‖Hv‖ from a fixed random v; the Rayleigh quotient vᵀHv of the last one is given.

    Source: B. Pearlmutter, Fast Exact Multiplication by the Hessian, Neural Computation 6(1), 1994.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    with torch.enable_grad():
        loss = cross_entropy(model(x[:HESSIAN_EXAMPLES]), y[:HESSIAN_EXAMPLES])
        gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    generator = torch.Generator().manual_seed(0)
    v = [torch.randn(p.shape, generator=generator).to(p) for p in parameters]
    eigenvalue = 0.0
    for _ in range(iterations):
        norm = math.sqrt(sum(wide(each).square().sum().item() for each in v))
        if norm == 0:
            return 0.0
        v = [each / norm for each in v]
        product = torch.autograd.grad(gradients, parameters, v, retain_graph=True, materialize_grads=True)
        eigenvalue = sum((wide(a) * wide(b)).sum().item() for a, b in zip(v, product, strict=True))
        v = [each.detach() for each in product]
    return eigenvalue


def bits_per_byte(loss: float, bytes_per_label: float) -> float:
    """Cross-entropy in nats a label → bits a byte: loss / (ln 2 · bytes a label)."""
    return loss / (math.log(2) * bytes_per_label)


def generalization_gap(train_error: float, test_error: float) -> float:
    """Test error − train error, of the same weights."""
    return test_error - train_error
