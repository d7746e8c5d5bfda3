r"""Lion: the sign of an interpolated momentum.

.. math:: u = η_t α\, \mathrm{sign}(β_1 m + (1−β_1) g), \quad m ← β_2 m + (1−β_2) g

Source: X. Chen et al., Symbolic Discovery of Optimization Algorithms, arXiv 2302.06675, Algorithm 2. Conventions:
decoupled decay scaled by the learning rate, as there; since every step has the size of the learning rate, that is 3 to
10 times smaller than Adam's and λ as many times larger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adamcmp.base_settings import Beta
from adamcmp.optim.rule import Code, Coefficients, Counterpart, Rule, StepWindow, Values, moment_rates, zeros

if TYPE_CHECKING:
    from torch import Tensor


class Lion(Rule):
    """Lion with all decay conventions."""

    betas: tuple[Beta, Beta]
    """β1 of the step, β2 of the momentum."""

    def coefficients(self, steps: StepWindow) -> Coefficients:
        return {"lr": steps.lr, **moment_rates(self.betas)}

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        return {"m": zeros(param)}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        direction = c.beta1 * s.m + c.one_minus_beta1 * grad
        s.m.mul_(c.beta2).add_(grad * c.one_minus_beta2)
        return c.lr * (direction.sign() + 0.0 * direction)  # torch takes the sign of NaN for 0

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:
        return Counterpart("pytorch_optimizer.Lion", {"betas": self.betas, "weight_decouple": decoupled})

    def optax(self) -> Code:
        return Code("optax.scale_by_lion", {"b1": self.betas[0], "b2": self.betas[1]})
