r"""NAdam and NAdamW: Adam with Nesterov's momentum.

.. math::
    μ_t &= β_1 (1 − ½\, 0.96^{ψ t}) \\
    m &← β_1 m + (1−β_1) g, \quad v ← β_2 v + (1−β_2) g^2 \\
    u &= η_t α \left( \frac{μ_{t+1} m}{1 − \prod_{i≤t+1} μ_i} + \frac{(1−μ_t) g}{1 − \prod_{i≤t} μ_i} \right)
         \Big/ \left(\sqrt{\frac{v}{1−β_2^t}} + ε\right)

Source: Dozat 2016; ψ is ``momentum_decay``. Conventions: as torch.optim.NAdam, which has both decays
(``decoupled_weight_decay``); Keras has the same μ_t, optax none (μ_t = β1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adamcmp.base_settings import Beta, NonNegative
from adamcmp.optim.rule import Coefficients, Counterpart, Rule, StepWindow, Values, moment_rates, update_moments, zeros

if TYPE_CHECKING:
    from torch import Tensor


class NAdam(Rule):
    """NAdam with L2, NAdamW with decoupled decay."""

    betas: tuple[Beta, Beta]
    """β1 and β2, as of Adam."""
    eps: NonNegative
    """ε, which keeps the quotient finite where gradients vanish."""
    momentum_decay: NonNegative
    """ψ: how soon μ_t comes to β1."""

    def coefficients(self, steps: StepWindow) -> Coefficients:
        beta1, beta2 = self.betas

        def mu(t: Any) -> Any:
            return beta1 * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))

        product = steps.running(lambda t, _: np.cumprod(mu(t)))
        after = mu(steps.t + 1)
        return {
            **moment_rates(self.betas),
            "take_m": steps.lr * after / (1 - product * after),
            "take_grad": steps.lr * (1 - mu(steps.t)) / (1 - product),
            "root_scale": 1 / np.sqrt(1 - beta2**steps.t),
            "eps": self.eps,
        }

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        return {"m": zeros(param), "v": zeros(param)}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        update_moments(grad, s, c)
        return (c.take_m * s.m + c.take_grad * grad) / (c.root_scale * s.v.sqrt() + c.eps)

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:
        arguments = {"betas": self.betas, "eps": self.eps, "momentum_decay": self.momentum_decay}
        return Counterpart("torch.optim.NAdam", {**arguments, "decoupled_weight_decay": decoupled})
