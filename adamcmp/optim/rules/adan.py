r"""Adan: adaptive Nesterov momentum, estimated from differences of gradients.

.. math::
    m &← β_1 m + (1−β_1) g, \quad d ← β_2 d + (1−β_2)(g − g_{−1}), \quad
    n ← β_3 n + (1−β_3)(g + β_2 (g − g_{−1}))^2 \\
    u &= η_t α \left(\frac{m}{1−β_1^t} + \frac{β_2 d}{1−β_2^t}\right) \Big/ \left(\sqrt{\frac{n}{1−β_3^t}} + ε\right)

with g_{−1} the gradient of the step before, and no difference in the first step.

Source: Xie et al., Adan, arXiv 2208.06677, Algorithm 1. Conventions: betas are those of the authors' code,
1 − β of the paper; ``proximal`` is the paper's decay, θ ← (θ − u) / (1 + d_t) with d_t that of ``decay``; without it,
and where decay is ``cautious``, θ ← θ − u − d_t θ, as ``no_prox`` of the code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from adamcmp.base_settings import Beta, NonNegative
from adamcmp.optim.decay import Array
from adamcmp.optim.rule import Coefficients, Counterpart, Rule, StepWindow, Values, zeros

if TYPE_CHECKING:
    from torch import Tensor


class Adan(Rule):
    """Adan with all decay conventions."""

    betas: tuple[Beta, Beta, Beta]
    """β of the averages of gradients, of their differences, and of squares."""
    eps: NonNegative
    """ε, which keeps the quotient finite where gradients vanish."""
    proximal: bool
    """Decay divides the new weights by 1 + d_t in place of taking d_t off the old ones."""

    @property
    def _divides(self) -> bool:
        return self.proximal and self.decay != "cautious"

    def coefficients(self, steps: StepWindow) -> Coefficients:
        beta1, beta2, beta3 = self.betas
        step_size = steps.lr / (1 + super().share(steps)) if self._divides else steps.lr
        return {
            "beta1": beta1,
            "one_minus_beta1": 1 - beta1,
            "beta2": beta2,
            "one_minus_beta2": 1 - beta2,
            "beta3": beta3,
            "one_minus_beta3": 1 - beta3,
            "late": np.where(steps.t > 1, 1.0, 0.0),
            "take_m": step_size / (1 - beta1**steps.t),
            "take_d": step_size * beta2 / (1 - beta2**steps.t),
            "root_scale": 1 / np.sqrt(1 - beta3**steps.t),
            "eps": self.eps,
        }

    def share(self, steps: StepWindow) -> Array:
        taken = super().share(steps)
        return taken / (1 + taken) if self._divides else taken

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        return {"m": zeros(param), "d": zeros(param), "n": zeros(param), "previous": zeros(param)}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        change = c.late * (grad - s.previous)
        s.previous.copy_(grad)
        s.m.mul_(c.beta1).add_(grad * c.one_minus_beta1)
        s.d.mul_(c.beta2).add_(change * c.one_minus_beta2)
        s.n.mul_(c.beta3).add_((grad + c.beta2 * change).square() * c.one_minus_beta3)
        return (c.take_m * s.m + c.take_d * s.d) / (c.root_scale * s.n.sqrt() + c.eps)

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:
        arguments = {"betas": self.betas, "eps": self.eps, "weight_decouple": not self.proximal}
        return Counterpart("pytorch_optimizer.Adan", arguments) if decoupled else None
