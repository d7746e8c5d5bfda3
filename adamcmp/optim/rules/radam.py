r"""RAdam: Adam that leaves the second moment out until its estimate is worth something.

.. math::
    ρ_∞ &= \frac{2}{1−β_2} − 1, \quad ρ_t = ρ_∞ − \frac{2 t β_2^t}{1−β_2^t}, \quad
    r_t = \sqrt{\frac{(ρ_t−4)(ρ_t−2) ρ_∞}{(ρ_∞−4)(ρ_∞−2) ρ_t}} \\
    u &= η_t α\, \frac{m}{1−β_1^t} \cdot \begin{cases} r_t \sqrt{1−β_2^t} / (\sqrt{v} + ε) & ρ_t > 5 \\ 1 &
    \text{else} \end{cases}

Source: L. Liu et al. 2020, Algorithm 2. Conventions: ε before the bias correction and the threshold 5, as in torch
(the paper's is 4); L2 or decoupled decay, as torch's ``decoupled_weight_decay``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from adamcmp.base_settings import Beta, Positive
from adamcmp.optim.rule import Coefficients, Counterpart, Rule, StepWindow, Values, moment_rates, update_moments, zeros

if TYPE_CHECKING:
    from torch import Tensor


class RAdam(Rule):
    """RAdam with all decay conventions."""

    betas: tuple[Beta, Beta]
    """β1 and β2, as of Adam."""
    eps: Positive
    """ε, which keeps the quotient finite where gradients vanish."""

    def coefficients(self, steps: StepWindow) -> Coefficients:
        beta1, beta2 = self.betas
        power = beta2**steps.t
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * steps.t * power / (1 - power)
        is_rectified = length > 5  # so ρ∞ is more than 5 too, wherever r_t is needed
        late, end = np.where(is_rectified, length, 6.0), longest if longest > 5 else 6.0
        rectified = (late - 4) * (late - 2) * end / ((end - 4) * (end - 2) * late)
        step_size = steps.lr / (1 - beta1**steps.t)
        return {
            **moment_rates(self.betas),
            "adapted": np.where(
                is_rectified, step_size * np.sqrt(np.where(is_rectified, rectified, 1.0) * (1 - power)), 0.0
            ),
            "plain": np.where(is_rectified, 0.0, step_size),
            "eps": self.eps,
        }

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        return {"m": zeros(param), "v": zeros(param)}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        update_moments(grad, s, c)
        return s.m * (c.adapted / (s.v.sqrt() + c.eps) + c.plain)

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:
        arguments = {"betas": self.betas, "eps": self.eps, "decoupled_weight_decay": decoupled}
        return Counterpart("torch.optim.RAdam", arguments)
