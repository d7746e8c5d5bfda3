r"""LAMB: Adam's step, scaled layer by layer to the size of the weights.

.. math::
    r &= \frac{m}{1−β_1^t} \Big/ \left(\sqrt{\frac{v}{1−β_2^t}} + ε\right) + λ' θ \\
    u &= η_t α \frac{\|θ\|}{\|r\|} r

with norms of one tensor of one run; where one of them is 0, their ratio is 1.

Source: You et al. 2020, Algorithm 2, φ(z) = z. Conventions: as optax.lamb; ``trust_ratio``, the paper's decay,
puts λ' = λ into r, so that it is scaled with the rest; in all other conventions λ' = 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from adamcmp.base_settings import Beta, NonNegative
from adamcmp.optim.decay import Decay
from adamcmp.optim.rule import Coefficients, Rule, StepWindow, Values, moment_rates, norm, update_moments, zeros

if TYPE_CHECKING:
    from torch import Tensor


class LAMB(Rule):
    """LAMB, with the paper's decay and all others."""

    decay: Literal[Decay, "trust_ratio"]  # type: ignore[assignment]  # more than all rules have
    betas: tuple[Beta, Beta]
    """β1 and β2, as of Adam."""
    eps: NonNegative
    """ε, which keeps the quotient finite where gradients vanish."""

    def coefficients(self, steps: StepWindow) -> Coefficients:
        beta1, beta2 = self.betas
        return {
            "lr": steps.lr,
            **moment_rates(self.betas),
            "m_scale": 1 / (1 - beta1**steps.t),
            "root_scale": 1 / np.sqrt(1 - beta2**steps.t),
            "eps": self.eps,
            "inside": steps.weight_decay if self.decay == "trust_ratio" else 0.0,
        }

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        return {"m": zeros(param), "v": zeros(param)}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        update_moments(grad, s, c)
        direction = c.m_scale * s.m / (c.root_scale * s.v.sqrt() + c.eps) + c.inside * param
        weights, size = norm(param), norm(direction)
        return c.lr * (weights / size).where((weights > 0) & (size > 0), 1.0) * direction
