r"""ADOPT: Adam that scales each gradient by the second moment of those before it.

.. math::
    m ← β_1 m + (1−β_1)\, \mathrm{clip}\left(\frac{g}{\max(\sqrt{v}, ε)}, (t−1)^{1/4}\right), \quad u = η_t α m,
    \quad v ← β_2 v + (1−β_2) g^2

The first step sets v = g² and nothing else: weights are neither moved nor decayed.

Source: Taniguchi et al., ADOPT: Modified Adam Can Converge with Any β2 with the Optimal Rate, arXiv 2411.02853,
Algorithm 2. Conventions: clipping at t^{1/4}, t counted from the second step, as in the authors' code; L2 or decoupled
decay, as its ``decouple``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from adamcmp.base_settings import Beta, Positive
from adamcmp.optim.decay import Array
from adamcmp.optim.rule import Coefficients, Counterpart, Rule, StepWindow, Values, zeros

if TYPE_CHECKING:
    from torch import Tensor


class ADOPT(Rule):
    """ADOPT with all decay conventions."""

    betas: tuple[Beta, Beta]
    """β1 and β2, the decay rates of the averages of normalized gradients and of squares."""
    eps: Positive
    """ε, which keeps the quotient finite where gradients vanish."""

    def coefficients(self, steps: StepWindow) -> Coefficients:
        beta1, beta2 = self.betas
        late = np.where(steps.t > 1, 1.0, 0.0)
        return {
            "step_size": late * steps.lr,
            "beta1": beta1,
            "one_minus_beta1": late * (1 - beta1),
            "beta2": late * beta2,
            "one_minus_beta2": 1 - late * beta2,
            "most": (steps.t - 1) ** 0.25,
            "eps": self.eps,
        }

    def share(self, steps: StepWindow) -> Array:
        return (steps.t > 1) * super().share(steps)

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        return {"m": zeros(param), "v": zeros(param)}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        scaled = (grad / s.v.sqrt().maximum(c.eps)).clamp(-c.most, c.most)
        s.m.mul_(c.beta1).add_(scaled * c.one_minus_beta1)
        s.v.mul_(c.beta2).add_(grad.square() * c.one_minus_beta2)
        return c.step_size * s.m

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:
        arguments = {"betas": self.betas, "eps": self.eps, "clip_lambda": _most}
        return None if decoupled else Counterpart("pytorch_optimizer.ADOPT", arguments)  # theirs decays at first too


def _most(step: int) -> float:
    """Return the bound as pytorch_optimizer asks for it, which counts the first step."""
    return float((step - 1) ** 0.25)
