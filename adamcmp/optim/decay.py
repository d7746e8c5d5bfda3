r"""Weight decay: where λθ enters a step, and conversion of λ between conventions.

With L2 the penalty's slope enters the gradient, g ← g + λθ, before a rule sees it. Every other convention subtracts a
share d_t of the weights, in addition to the step u_t of the rule:

.. math:: θ ← θ − u_t − d_t θ

================== ============================ ===================================================================
convention         d_t                          who does it so
================== ============================ ===================================================================
``l2``             0                            torch.optim.Adam, torch.optim.SGD
``lr_scaled``      η_t α λ                      torch.optim.AdamW, optax.adamw, Keras AdamW
``schedule_only``  η_t λ                        Loshchilov & Hutter, Algorithms 1 and 2
``normalized``     η_t λ √(B / (N T_epochs))    Loshchilov & Hutter, Appendix B.1
``lr_squared``     η_t² α λ                     AdamC (Defazio, arXiv 2506.02285): γ_t² λ / γ_max, γ_max = α
``lr_free``        λ                            constant, whatever the learning rate does
``cautious``       η_t α λ where u_t θ ≥ 0      L. Chen et al., Cautious Weight Decay, arXiv 2510.12402
``fixed_norm``     –                            none: each matrix is scaled back to the norm that it began with
================== ============================ ===================================================================

B is the batch size, N the number of training examples and T_epochs the length in epochs of the schedule, or of its
current period where it restarts; since N T_epochs / B is the number S of steps, the root is 1/√S. Where the norm is
fixed, parameters of less than two axes, and matrices that begin with zeros, are neither decayed nor scaled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from adamcmp.lazy_imports import LazyModule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
else:
    np, Array = LazyModule("numpy"), Any
Convertible = Literal["lr_scaled", "schedule_only", "normalized"]
"""Conventions in which d_t is η_t times a constant, so that λ can be converted between them."""
Decoupled = Literal[Convertible, "lr_squared", "lr_free", "cautious", "fixed_norm"]
Decay = Literal["l2", Decoupled]
NOT_SCALED_BY_LR = ("schedule_only", "normalized", "lr_free")
"""Conventions whose decay is independent of the learning rate; it scales all others, those of single rules too."""
CONVERTIBLE: tuple[Convertible, ...] = ("lr_scaled", "schedule_only", "normalized")


def decay_fraction(convention: str, weight_decay: float, lr: float, eta: Array, period: Array) -> Array:
    """Return d_t, the share of each weight that a step removes, by the table above.

    Args:
        convention: where λ enters; one that the table lacks takes nothing off.
        weight_decay: λ.
        lr: the peak learning rate α.
        eta: the schedule's multiplier η_t of each step, shape (T,).
        period: steps in the schedule's current period, shape (T,).
    """
    taken: dict[str, Array] = {
        "lr_scaled": eta * (lr * weight_decay),
        "schedule_only": eta * weight_decay,
        "normalized": eta * weight_decay / np.sqrt(period),
        "lr_squared": eta * eta * (lr * weight_decay),
        "lr_free": np.full_like(eta, weight_decay),
        "cautious": eta * (lr * weight_decay),
    }
    return taken.get(convention, np.zeros_like(eta))


def convert_weight_decay(
    weight_decay: float, source: Convertible, target: Convertible, *, lr: float, steps: float
) -> float:
    r"""Return λ of one decoupled convention, expressed in another: both take the same share off every weight.

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
