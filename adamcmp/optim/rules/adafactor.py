r"""Adafactor: Adam without a first moment, with a second one of rows and columns.

.. math::
    β_t &= 1 − t^{−γ}, \quad R ← β_t R + (1−β_t)\, \overline{g^2}_{row} \\
    C &← β_t C + (1−β_t)\, \overline{g^2}_{col}, \quad V = R C / \bar R \\
    û &= g / \sqrt{V}, \quad u = \max(ε_2, \mathrm{RMS}(θ))\, \min(η_t α, 1/\sqrt t)\, û / \max(1, \mathrm{RMS}(û)/d)

Parameters of fewer than two axes keep a whole V.

Source: Shazeer & Stern 2018, Algorithms 4 and 5. Conventions: as torch.optim.Adafactor: ε1 (``eps``) bounds the mean of
R, its square V, from below; the learning rate is relative to the size of the weights, and never above 1/√t;
decoupled decay scaled by the learning rate alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from adamcmp.base_settings import NonNegative, Number, Positive
from adamcmp.optim.rule import Coefficients, Counterpart, Rule, StepWindow, Values, norm, zeros

if TYPE_CHECKING:
    from torch import Tensor


class Adafactor(Rule):
    """Adafactor with all decay conventions."""

    eps: Annotated[Number, Field(ge=1e-18)]
    """ε1: V is at least its square, which float32 has to hold; the mean of R is at least it."""
    eps2: NonNegative
    """ε2: weights count as at least so large."""
    clip: Positive
    """d: the root mean square of û is at most so large."""
    beta2_decay: Positive
    """γ: how soon the second moment's memory grows."""

    def coefficients(self, steps: StepWindow) -> Coefficients:
        return {
            "new": steps.t**-self.beta2_decay,
            "lr": steps.lr.clip(max=steps.t**-0.5),
            "eps": self.eps,
            "eps2": self.eps2,
            "clip": self.clip,
        }

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        if param.ndim > 2:
            return {"row": zeros(param[..., :1]), "column": zeros(param[..., :1, :])}
        return {"v": zeros(param)}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        squares = grad.square()
        if param.ndim > 2:
            s.row.add_(c.new * (squares.mean(-1, keepdim=True) - s.row))
            s.column.add_(c.new * (squares.mean(-2, keepdim=True) - s.column))
            v = s.row * s.column / s.row.mean(-2, keepdim=True).maximum(c.eps)
        else:
            s.v.add_(c.new * (squares - s.v))
            v = s.v
        scaled = grad / v.maximum(c.eps * c.eps).sqrt()
        root = math.sqrt(param[0].numel())
        size = (norm(param) / root).maximum(c.eps2)
        return c.lr * size * scaled / (norm(scaled) / (root * c.clip)).clamp(min=1.0)

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:
        arguments = {"eps": (self.eps, self.eps2), "d": self.clip, "beta2_decay": -self.beta2_decay}
        return Counterpart("torch.optim.Adafactor", arguments) if decoupled else None
