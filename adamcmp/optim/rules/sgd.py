r"""SGD with momentum, with Nesterov's, with L2, and SGDW.

.. math::
    b &← μ b + c_{in} g \\
    u &= c_{out}\, b, \quad\text{with Nesterov's momentum}\quad c_{out} (c_{in} g + μ b)

Source: torch.optim.SGD, c_in = 1 and c_out = η_t α; Loshchilov & Hutter 2019, Algorithm 1, where the learning rate is
inside the buffer: c_in = η_t α and c_out = 1. The two differ only while the learning rate changes. Nesterov's momentum:
Sutskever et al. 2013.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import model_validator

from adamcmp.base_settings import Beta
from adamcmp.optim.rule import Code, Coefficients, Counterpart, Rule, StepWindow, Values, zeros

if TYPE_CHECKING:
    from torch import Tensor


class SGD(Rule):
    """SGD in all its variants."""

    momentum: Beta
    """Factor of the momentum buffer per step."""
    nesterov: bool
    """Nesterov's momentum."""
    lr_in_buffer: bool
    """The learning rate enters the momentum buffer (the paper's Algorithm 1) or leaves it (torch)."""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> SGD:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=true needs optimizer.momentum > 0")
        return self

    def coefficients(self, steps: StepWindow) -> Coefficients:
        inside = steps.lr if self.lr_in_buffer else 1.0
        return {
            "momentum": self.momentum,
            "scale_in": inside,
            "scale_out": 1.0 if self.lr_in_buffer else steps.lr,
            "take_grad": inside if self.nesterov else 0.0,
            "take_buffer": self.momentum if self.nesterov else 1.0,
        }

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        return {"buffer": zeros(param)}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        s.buffer.mul_(c.momentum).add_(c.scale_in * grad)
        return c.scale_out * (c.take_grad * grad + c.take_buffer * s.buffer)

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:
        arguments = {"momentum": self.momentum, "nesterov": self.nesterov}
        inside = self.lr_in_buffer and self.momentum > 0
        trains = not self.lr_in_buffer
        return None if decoupled else Counterpart("torch.optim.SGD", arguments, trains, scales_gradients=inside)

    def optax(self) -> Code:
        if self.momentum == 0:
            return Code("optax.identity")
        return Code("optax.trace", {"decay": self.momentum, "nesterov": self.nesterov})

    def keras(self, *, decoupled: bool) -> Code:
        changes = "Keras takes the learning rate into the momentum, the run did not: they differ while it changes."
        notes = (changes,) if self.momentum > 0 and not self.lr_in_buffer else ()
        return Code("keras.optimizers.SGD", {"momentum": self.momentum, "nesterov": self.nesterov}, notes)
