r"""AMSGrad: Adam whose second moment never falls.

.. math::
    m &← β_1 m + (1−β_1) g, \quad v ← β_2 v + (1−β_2) g^2, \quad v_{max} ← \max(v_{max}, v) \\
    u &= η_t α\, \frac{m}{1−β_1^t} \Big/ \left(\sqrt{\frac{v_{max}}{1−β_2^t}} + ε\right)

Source: Reddi, Kale & Kumar 2018. Conventions: with bias correction, as in torch (``amsgrad=True``), the maximum taken
before it; the paper has none, optax takes the maximum after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from adamcmp.base_settings import Beta, NonNegative
from adamcmp.optim.rule import Coefficients, Counterpart, Rule, StepWindow, Values, moment_rates, update_moments, zeros

if TYPE_CHECKING:
    from torch import Tensor


class AMSGrad(Rule):
    """AMSGrad, and with decoupled decay AMSGradW."""

    betas: tuple[Beta, Beta]
    """β1 and β2, as of Adam."""
    eps: NonNegative
    """ε, which keeps the quotient finite where gradients vanish."""

    def coefficients(self, steps: StepWindow) -> Coefficients:
        beta1, beta2 = self.betas
        return {
            **moment_rates(self.betas),
            "step_size": steps.lr / (1 - beta1**steps.t),
            "root_scale": 1 / np.sqrt(1 - beta2**steps.t),
            "eps": self.eps,
        }

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        return {"m": zeros(param), "v": zeros(param), "v_max": zeros(param)}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        update_moments(grad, s, c)
        s.v_max.copy_(s.v_max.maximum(s.v))
        return c.step_size * s.m / (c.root_scale * s.v_max.sqrt() + c.eps)

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:
        arguments = {"betas": self.betas, "eps": self.eps, "amsgrad": True}
        return Counterpart(f"torch.optim.{'AdamW' if decoupled else 'Adam'}", arguments)
