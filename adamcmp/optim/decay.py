r"""Weight decay: where λθ enters an update, and what λ in one convention is in another.

Every convention is a choice of three coefficients of one update (the "three doors"):

.. math::
    g_m = g + a_m θ, \quad g_v = g + a_v θ, \quad θ ← θ − (\text{step}) − d_t θ_{old}

================== ============ ============================ ===========================================
convention         a_m, a_v     d_t                          who does it so
================== ============ ============================ ===========================================
``l2``             λ, λ         0                            torch.optim.Adam, torch.optim.SGD
``l2_m_only``      λ, 0         0                            ablation
``l2_v_only``      0, λ         0                            ablation
``lr_scaled``      0, 0         η_t α λ                      torch.optim.AdamW, optax.adamw, Keras AdamW
``schedule_only``  0, 0         η_t λ                        Loshchilov & Hutter, Algorithms 1 and 2
``normalized``     0, 0         η_t λ √(B / (N T_epochs))    Loshchilov & Hutter, Appendix B.1
================== ============ ============================ ===========================================

B is the batch size, N the number of training examples and T_epochs the length in epochs of the schedule, or of its
current period where it restarts; since N T_epochs / B is the number S of steps, the root is 1/√S.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Decoupled = Literal["lr_scaled", "schedule_only", "normalized"]
Decay = Literal["l2", "l2_m_only", "l2_v_only"] | Decoupled


class Doors(NamedTuple):
    """The static part of the doors, one value a run: ``d_t = η_t · decoupled / (√S_t if normalized else 1)``."""

    l2_m: Array
    l2_v: Array
    decoupled: Array
    normalized: NDArray[np.bool_]

    def decay(self, eta: Array, period: Array) -> Array:
        """d_t: the share of each weight that one step takes off."""
        return eta * self.decoupled / np.where(self.normalized, np.sqrt(period), 1.0)


def doors(convention: Decay, weight_decay: float, lr: float) -> Doors:
    """The doors of one run (arrays of one value)."""
    table: dict[Decay, tuple[float, float, float]] = {
        "l2": (weight_decay, weight_decay, 0.0),
        "l2_m_only": (weight_decay, 0.0, 0.0),
        "l2_v_only": (0.0, weight_decay, 0.0),
        "lr_scaled": (0.0, 0.0, lr * weight_decay),
        "schedule_only": (0.0, 0.0, weight_decay),
        "normalized": (0.0, 0.0, weight_decay),
    }
    l2_m, l2_v, decoupled = table[convention]
    normalized = convention == "normalized"
    return Doors(np.array([l2_m]), np.array([l2_v]), np.array([decoupled]), np.array([normalized]))


def convert_weight_decay(
    weight_decay: float, source: Decoupled, target: Decoupled, *, lr: float, steps: float
) -> float:
    r"""λ of one decoupled convention, expressed in another: both take the same share off every weight.

    .. math:: λ_{schedule\_only} = α λ_{lr\_scaled} = λ_{normalized} / \sqrt{S}

    Args:
        weight_decay: λ in the convention ``source``.
        source: the convention it is given in.
        target: the convention it is wanted in.
        lr: the peak learning rate α.
        steps: S, the optimizer steps of the schedule, or of its (first) period where it restarts.

    L2 has no place here: for an adaptive method no λ makes it equal to decoupled decay (Proposition 2 of Loshchilov
    & Hutter); for SGD without momentum, L2 with λ is ``lr_scaled`` with λ (Proposition 1).
    """
    in_schedule_only = {"lr_scaled": lr, "schedule_only": 1.0, "normalized": 1.0 / math.sqrt(steps)}
    return weight_decay * in_schedule_only[source] / in_schedule_only[target]
