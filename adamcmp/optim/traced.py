r"""Adam that records the contribution of decay to each step, wherever λθ enters the update.

What L2 adds to the gradient passes through the moments. The numerator of the step is linear in the gradients, so that
the penalty's part of it is exact, by a moment of its own:

.. math::
    p &← β_1 p + (1−β_1)\, a_m θ \\
    \text{taken} &= η_t α\, \frac{p}{1−β_1^t} \Big/ \left(\sqrt{\hat v} + ε\right) + d_t θ

Decoupled decay is d_t θ alone, and L2 the first term. That λθ enlarges v̂ as well is in the denominator, as it is in
the step. Weights move as Adam's do, to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from adamcmp.optim.rule import Counterpart, Values, zeros
from adamcmp.optim.rules.adam import Adam

if TYPE_CHECKING:
    from torch import Tensor


class Traced(Adam):
    """Adam with four tensors of state more: ``penalty`` p, ``taken``, ``scale`` √v̂ + ε, and ``grad``."""

    decay: Literal["l2", "l2_m_only", "l2_v_only", "lr_scaled", "schedule_only", "normalized", "lr_squared", "lr_free"]
    """Cautious decay is not among them: which weights it spares is decided behind the step."""
    eps_placement: Literal["after"]

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        """Return Adam's moments, and tensors for the record."""
        traced = {name: zeros(param) for name in ("penalty", "taken", "scale", "grad")}
        return {**super().start(param, part), **traced}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        """Return Adam's step; the record is of this step."""
        moved = Adam.step(param, grad, s, c)
        s.penalty.mul_(c.beta1).add_(c.l2_m * param * c.one_minus_beta1)
        s.scale.copy_(c.root_scale * s.v.sqrt() + c.eps)
        s.taken.copy_(c.step_size * s.penalty / s.scale + c.decay * param)
        s.grad.copy_(grad)
        return moved

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:  # noqa: ARG002
        """Return None: no class for PyTorch keeps such a record."""
        return None
