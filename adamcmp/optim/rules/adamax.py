r"""Adamax: Adam with the infinity norm.

.. math::
    m ← β_1 m + (1−β_1) g, \quad n ← \max(β_2 n, |g| + ε), \quad u = \frac{η_t α}{1−β_1^t} \frac{m}{n}

Source: Kingma & Ba 2015, Algorithm 2. Conventions: ε beside |g|, as in torch; the paper has none, Keras has it
beside n.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adamcmp.base_settings import Beta, Positive
from adamcmp.optim.rule import Code, Coefficients, Counterpart, Rule, StepWindow, Values, zeros

if TYPE_CHECKING:
    from torch import Tensor


class Adamax(Rule):
    """Adamax with all decay conventions."""

    betas: tuple[Beta, Beta]
    """β1 of the average of gradients, β2 of the largest gradient."""
    eps: Positive
    """ε, which keeps the quotient finite where gradients vanish."""

    def coefficients(self, steps: StepWindow) -> Coefficients:
        beta1, beta2 = self.betas
        return {
            "beta1": beta1,
            "one_minus_beta1": 1 - beta1,
            "beta2": beta2,
            "step_size": steps.lr / (1 - beta1**steps.t),
            "eps": self.eps,
        }

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        return {"m": zeros(param), "largest": zeros(param)}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        s.m.mul_(c.beta1).add_(grad * c.one_minus_beta1)
        s.largest.copy_((c.beta2 * s.largest).maximum(grad.abs() + c.eps))
        return c.step_size * s.m / s.largest

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:
        arguments = {"betas": self.betas, "eps": self.eps}
        return None if decoupled else Counterpart("torch.optim.Adamax", arguments)

    def optax(self) -> Code:
        return Code("optax.scale_by_adamax", {"b1": self.betas[0], "b2": self.betas[1], "eps": self.eps})
