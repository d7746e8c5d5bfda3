r"""Adam, AdamW and RMSProp.

.. math::
    m &← β_1 m + (1−β_1)(g + a_m θ) \\
    v &← β_2 v + (1−β_2)(g + a_v θ)^2 \\
    u &= η_t α\, \frac{m}{1−β_1^t} \Big/ \left(\sqrt{\frac{v}{1−β_2^t}} + ε\right)

Source: Kingma & Ba 2015, Algorithm 1; with decoupled decay Loshchilov & Hutter 2019, Algorithm 2. RMSProp (Hinton
2012) is β1 = 0 without bias correction.

Conventions: ε after the bias correction of v, as in torch, optax and the papers, or before it, as in Keras ("ε hat"):
u = η_t α √(1−β2^t)/(1−β1^t) · m/(√v + ε). L2 enters both moments, a_m = a_v = λ; the ablations ``l2_m_only`` and
``l2_v_only`` open one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from adamcmp.base_settings import Beta, NonNegative
from adamcmp.lazy_imports import LazyModule
from adamcmp.optim.decay import Decay
from adamcmp.optim.rule import Code, Coefficients, Counterpart, Rule, StepWindow, Values, moment_rates, zeros

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
else:
    np = LazyModule("numpy")


class Adam(Rule):
    """Adam in all its variants."""

    decay: Literal[Decay, "l2_m_only", "l2_v_only"]  # type: ignore[assignment]  # more than all rules have
    betas: tuple[Beta, Beta]
    """β1 and β2, the decay rates of the averages of gradients and of their squares."""
    eps: NonNegative
    """ε, which keeps the quotient finite where gradients vanish."""
    eps_placement: Literal["after", "before"]
    """ε is added after the bias correction of v (torch, the paper) or before it (Keras)."""
    bias_correction: bool
    """Divide both moments by 1 − βᵗ."""

    def coefficients(self, steps: StepWindow) -> Coefficients:
        beta1, beta2 = self.betas
        correction1 = 1 - beta1**steps.t if self.bias_correction else 1.0
        root = np.sqrt(1 - beta2**steps.t) if self.bias_correction else 1.0
        before = self.eps_placement == "before"
        return {
            **moment_rates(self.betas),
            "step_size": steps.lr / correction1 * (root if before else 1.0),
            "root_scale": 1.0 if before else 1.0 / root,
            "eps": self.eps,
        }

    def penalty(self) -> Mapping[str, bool]:
        return {"l2_m": self.decay in ("l2", "l2_m_only"), "l2_v": self.decay in ("l2", "l2_v_only")}

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        return {"m": zeros(param), "v": zeros(param)}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        s.m.mul_(c.beta1).add_((grad + c.l2_m * param) * c.one_minus_beta1)
        s.v.mul_(c.beta2).add_((grad + c.l2_v * param).square() * c.one_minus_beta2)
        return c.step_size * s.m / (c.root_scale * s.v.sqrt() + c.eps)

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:
        if self.eps_placement == "before":
            return None
        if self.bias_correction:
            name = "AdamW" if decoupled else "Adam"
            return Counterpart(f"torch.optim.{name}", {"betas": self.betas, "eps": self.eps}, trains=True)
        if self._is_rmsprop and not decoupled:
            return Counterpart("torch.optim.RMSprop", {"alpha": self.betas[1], "eps": self.eps}, trains=True)
        return None

    @property
    def _is_rmsprop(self) -> bool:
        return self.betas[0] == 0 and not self.bias_correction

    def optax(self) -> Code:
        if self.eps_placement == "before":
            return Code(reason="optax adds ε after the bias correction, this rule before it, as Keras does")
        if self._is_rmsprop:
            return Code("optax.scale_by_rms", {"decay": self.betas[1], "eps": self.eps, "eps_in_sqrt": False})
        if not self.bias_correction:
            return Code(reason="optax has no Adam without bias correction")
        return Code("optax.scale_by_adam", {"b1": self.betas[0], "b2": self.betas[1], "eps": self.eps})

    def keras(self, *, decoupled: bool) -> Code:
        beta1, beta2 = self.betas
        if self._is_rmsprop:
            under = "Keras adds ε under the root, the run outside."
            return Code("keras.optimizers.RMSprop", {"rho": beta2, "epsilon": self.eps}, (under,))
        if not self.bias_correction:
            return Code(reason="Keras has no Adam without bias correction")
        before = "Keras adds ε before the bias correction, the run after it: in the first steps it counts more."
        notes = (before,) if self.eps_placement == "after" else ()
        name = "AdamW" if decoupled else "Adam"
        return Code(f"keras.optimizers.{name}", {"beta_1": beta1, "beta_2": beta2, "epsilon": self.eps}, notes)
