r"""Schedule-free AdamW: an average of the weights in the place of a schedule.

Gradients are taken at y, between the iterate z and its average x; evaluations are of x.

.. math::
    v &← β_2 v + (1−β_2) g^2, \quad u = η_t α\, g \Big/ \left(\sqrt{\frac{v}{1−β_2^t}} + ε\right) \\
    z &← z − u − d_t y, \quad x ← (1−c_t) x + c_t z, \quad y ← (1−β_1) z + β_1 x \\
    c_t &= w_t \Big/ \sum_{i≤t} w_i, \quad w_t = t^r \left(\max_{i≤t} η_i\right)^p

Source: Defazio et al., The Road Less Scheduled, arXiv 2405.15682, Algorithm 1, and the authors' code for w_t, where r
and p are ``r`` and ``weight_lr_power``. Conventions: decay is measured at y, as there. Everything on record is of x,
weight norms too; running averages of batch norm belong to y.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adamcmp.base_settings import Beta, NonNegative
from adamcmp.optim.rule import Coefficients, Counterpart, Rule, StepWindow, Values, apply_step, zeros

if TYPE_CHECKING:
    from torch import Tensor


class ScheduleFree(Rule):
    """Schedule-free AdamW, for a constant schedule with a warmup; it works with any."""

    shown = "x"

    betas: tuple[Beta, Beta]
    """How near the average gradients are taken (0.9 to 0.98), and β2."""
    eps: NonNegative
    """ε, which keeps the quotient finite where gradients vanish."""
    r: NonNegative
    """Power of the step in the weights of the average."""
    weight_lr_power: NonNegative
    """Power of the learning rate in them."""

    def coefficients(self, steps: StepWindow) -> Coefficients:
        beta1, beta2 = self.betas

        def shares(t: Any, eta: Any) -> Any:
            weight = t**self.r * np.maximum.accumulate(eta) ** self.weight_lr_power
            total = np.cumsum(weight)
            return weight / np.where(total > 0, total, 1.0)

        return {
            "lr": steps.lr,
            "beta1": beta1,
            "beta2": beta2,
            "one_minus_beta2": 1 - beta2,
            "root_scale": 1 / np.sqrt(1 - beta2**steps.t),
            "eps": self.eps,
            "new": steps.running(shares),
        }

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        return {"v": zeros(param), "z": param.clone(), "x": param.clone()}

    @classmethod
    def update(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> None:
        s.v.mul_(c.beta2).add_(grad.square() * c.one_minus_beta2)
        apply_step(s.z, param, c.lr * grad / (c.root_scale * s.v.sqrt() + c.eps), s, c)
        s.x.add_(c.new * (s.z - s.x))
        param.copy_(s.z + c.beta1 * (s.x - s.z))

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:
        arguments = {"betas": self.betas, "eps": self.eps, "r": self.r, "weight_lr_power": self.weight_lr_power}
        return Counterpart("pytorch_optimizer.ScheduleFreeAdamW", arguments) if decoupled else None
