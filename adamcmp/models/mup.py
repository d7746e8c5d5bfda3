r"""Maximal update parametrisation (μP): a model whose best learning rate does not depend on its width.

With r = width / base, and at base the model is the standard one, bit for bit:

================ ==================== ============= =========== ===============
weights          standard deviation   learning rate λ           output
================ ==================== ============= =========== ===============
first, vectors   as at base           α             λ           –
hidden matrices  as usual, ∝ 1/√width α / r         λ √r        –
last             as at base           α             λ           divided by r
================ ==================== ============= =========== ===============

Attention divides Q Kᵀ by √(d r), which is d but for a constant. The model says r of each hidden matrix in
``width_ratios``; the optimizer applies ``r ** width_lr`` to its learning rate and ``r ** width_decay`` to its λ (the
columns above are the defaults −1 and ½; where the learning rate does not scale decay, both powers apply to λ).

Source: Yang et al., Tensor Programs V, arXiv 2203.03466, Table 8, for Adam and similar rules (steps whose size does
not depend on the gradient's); λ ∝ √width: Fan et al., arXiv 2510.15262. SGD scales otherwise.
"""

from __future__ import annotations

import torch
from torch import nn

from adamcmp.models import arguments


def ratio(width: int, base: int | None) -> float:
    """Return r: the width over that at which the model is the standard one; 1 without such a base."""
    return 1.0 if base is None else width / arguments.size("mup_base", base)


@torch.no_grad()
def as_at_base(layer: nn.Linear, r: float, *, weight: bool) -> None:
    """Scale a bias, or a last layer's weights, to the standard deviation at base."""
    if weight:
        layer.weight.mul_(r**0.5)
    if layer.bias is not None:
        layer.bias.mul_(r**0.5)
