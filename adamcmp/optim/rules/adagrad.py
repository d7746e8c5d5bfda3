r"""Adagrad: the sum of squared gradients in place of their moving average.

.. math:: v ← v + g^2, \quad u = η_t α\, g / (\sqrt{v} + ε)

Source: Duchi, Hazan & Singer 2011, with diagonal matrices. Conventions: ε outside the root, as in torch; optax and
Keras have it under the root. v starts at ``initial_accumulator_value``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adamcmp.base_settings import NonNegative
from adamcmp.optim.rule import Code, Coefficients, Counterpart, Rule, StepWindow, Values, zeros

if TYPE_CHECKING:
    from torch import Tensor


class Adagrad(Rule):
    """Adagrad with all decay conventions."""

    eps: NonNegative
    """ε, which keeps the quotient finite where gradients vanish."""
    initial_accumulator_value: NonNegative
    """Initial value of the sum of squared gradients."""

    def coefficients(self, steps: StepWindow) -> Coefficients:
        return {"lr": steps.lr, "eps": self.eps}

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        return {"v": zeros(param) + self.initial_accumulator_value}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        s.v.add_(grad.square())
        return c.lr * grad / (s.v.sqrt() + c.eps)

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:
        arguments = {"eps": self.eps, "initial_accumulator_value": self.initial_accumulator_value}
        return None if decoupled else Counterpart("torch.optim.Adagrad", arguments, trains=True)

    def optax(self) -> Code:
        return Code(reason="optax's Adagrad adds ε under the root, this rule outside")

    def keras(self, *, decoupled: bool) -> Code:
        arguments = {"initial_accumulator_value": self.initial_accumulator_value, "epsilon": self.eps}
        return Code("keras.optimizers.Adagrad", arguments, ("Keras adds ε under the root, the run outside.",))
