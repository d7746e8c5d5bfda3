"""Metrics that look into an optimizer at work: what decay takes, how large steps are, how gradients lie.

Those that take ``state`` read the record that ``optim.traced.Traced`` keeps: ``optimizer=adam_traced``,
``adamw_traced`` and ``adamc_traced`` are Adam, AdamW and AdamC with it. ``train.metrics`` names them by path:
``train.metrics=[adamcmp.instruments.decay_rates]``. Parameters of one axis (biases, norms) are left out, unless it says
otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from adamcmp.metrics.functions import to_float64
from adamcmp.metrics.losses import cross_entropy

State = Mapping[str, Mapping[str, Tensor]]
"""Optimizer state of each parameter, by the parameter's name."""
NUM_BINS = 10
"""Bins of equally many weights, from the smallest gradients to the largest."""
NUM_BANDS = 12
"""Bands of words, equally wide on a logarithmic axis of frequency."""
NUM_PROJECTIONS = 8


def _matrices(state: State, *names: str) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield the name of each parameter with two or more axes, and tensors of its record, flattened."""
    for name, tensors in state.items():
        if next(iter(tensors.values())).ndim >= 2:
            yield name, [to_float64(tensors[name]).flatten() for name in names]


def decay_rates(previous: Mapping[str, Tensor], state: State) -> dict[str, float]:
    """Return the share of the weights that decay subtracted in the last step, of each parameter and by size of the
    gradient.

    ``<name>`` is Σ θ δ / Σ θ², with δ what decay took; ``<name>_rate_k`` the same of the k-th of ten parts of the
    parameter with equally many weights, sorted by √v̂ + ε, whose median there is ``<name>_scale_k``.
    """
    rates: dict[str, float] = {}
    for name, (scale, taken) in _matrices(state, "scale", "taken"):
        before = to_float64(previous[name]).flatten()
        rates[name] = _decay_fraction(before, taken)
        for k, part in enumerate(scale.argsort().chunk(NUM_BINS)):
            rates[f"{name}_scale_{k}"] = scale[part].median().item()
            rates[f"{name}_rate_{k}"] = _decay_fraction(before[part], taken[part])
    return rates


def _decay_fraction(weights: Tensor, taken: Tensor) -> float:
    total = weights.square().sum().item()
    return (weights * taken).sum().item() / total if total else 0.0


def gradient_norms(state: State) -> dict[str, float]:
    """Return ‖g‖ of the last batch, of each parameter, and of all as ``all``."""
    norms = {name: gradient.norm().item() for name, (gradient,) in _matrices(state, "grad")}
    return norms | {"all": math.hypot(*norms.values())}


def word_rates(x: Tensor, state: State) -> dict[str, float]:
    """Return how large Adam's steps are for rare words, in bands of frequency.

    Of band k, of those words of the training documents that are in it: ``frequency_k`` is the geometric mean of the
    share of documents with the word, ``rate_k`` 1 over the root mean square of √v̂ + ε, and ``size_k`` the root mean
    square of the gradient of the last batch's words; a band without any is left out.

    Args:
        x: words (N, L), 0 for none.
        state: of a model whose first parameter of two axes is the table of words (V, D).
    """
    tensors = next(tensors for tensors in state.values() if tensors["scale"].ndim == 2)
    second_V, square_V = (to_float64(tensors[name]).square().mean(1) for name in ("scale", "grad"))
    documents = len(x)
    pairs = torch.unique(x.long() + torch.arange(documents, device=x.device)[:, None] * len(second_V))
    count_V = torch.bincount(pairs % len(second_V), minlength=len(second_V)).to(second_V)
    count_V[0] = 0  # no word
    share_V = (count_V / documents).clamp(min=1e-12).log()
    lowest, highest = share_V[count_V > 0].min(), share_V.max()
    band_V = ((share_V - lowest) / (highest - lowest) * NUM_BANDS).long().clamp(0, NUM_BANDS - 1)
    rates: dict[str, float] = {}
    for k in range(NUM_BANDS):
        in_band = (band_V == k) & (count_V > 0)
        active = in_band & (square_V > 0)
        if active.any():
            rates[f"frequency_{k}"] = share_V[in_band].mean().exp().item()
            rates[f"rate_{k}"] = second_V[in_band].mean().rsqrt().item()
            rates[f"size_{k}"] = square_V[active].mean().sqrt().item()
    return rates


def largest_weight(model: nn.Module) -> float:
    """Return ‖θ‖_∞ over all parameters."""
    return max(p.detach().abs().max().item() for p in model.parameters())


def projections(model: nn.Module) -> dict[str, float]:
    """Return the projections of all weights on eight fixed random directions, which preserve expected distances.

    ``<i>`` is ⟨r_i, θ⟩ with r_i ~ N(0, 1), so that the mean of (⟨r_i, θ⟩ − ⟨r_i, θ'⟩)² estimates ‖θ − θ'‖²; ``norm`` is
    ‖θ‖.
    """
    weights = torch.cat([to_float64(p.detach()).flatten().cpu() for p in model.parameters()])
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(NUM_PROJECTIONS, len(weights), generator=generator, dtype=weights.dtype)
    values = {str(i): value for i, value in enumerate((directions @ weights).tolist())}
    return values | {"norm": weights.norm().item()}


def scaled_cross_entropy(logits: Tensor, y: Tensor, factor: float = 1.0) -> Tensor:
    """Return a loss for ``train.loss._target_``: cross-entropy of each prediction times ``factor``, shape as y.

    With a power of two every gradient is scaled exactly.
    """
    return factor * cross_entropy(logits, y)
