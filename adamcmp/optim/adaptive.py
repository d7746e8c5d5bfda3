r"""Adam, AdamW, RMSProp and Adagrad as one update with different coefficients.

.. math::
    m &← β_1 m + (1−β_1)(g + a_m θ) \\
    v &← ρ v + κ (g + a_v θ)^2 \\
    θ &← θ − s_t\, m / (c_t \sqrt{v} + ε) − d_t θ_{old}

Adam has ρ = β2, κ = 1 − β2 (Kingma & Ba 2015, Algorithm 1); RMSProp is Adam with β1 = 0 and no bias correction;
Adagrad has β1 = 0, ρ = κ = 1 (Duchi et al. 2011). With ε *after* the bias correction, as in torch and in the paper,
s_t = η_t α / (1−β1^t) and c_t = 1/√(1−β2^t); with ε *before* it, as in Keras ("ε hat"),
s_t = η_t α √(1−β2^t) / (1−β1^t) and c_t = 1. The doors a_m, a_v, d_t are those of ``decay.py``.

Coefficients are NumPy float64 with one value a run, shape (R,); the update takes them as numbers, or as tensors that
broadcast over parameters with a leading run axis, shape (R, …).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from adamcmp.optim.decay import Array, Doors

Coefficient = float | Tensor


class AdaptiveHyper(NamedTuple):
    """What does not change during a training, one value a run, shape (R,)."""

    lr: Array
    beta1: Array
    beta2: Array
    eps: Array
    doors: Doors
    sums: NDArray[np.bool_]
    """v is the sum of the squares (Adagrad), not their moving average."""
    eps_before: NDArray[np.bool_]
    bias_correction: NDArray[np.bool_]


class AdaptiveCoefficients(NamedTuple):
    """The coefficients of one step, each (R,), a number, or a tensor that broadcasts over (R, …)."""

    l2_m: Coefficient
    l2_v: Coefficient
    beta1: Coefficient
    one_minus_beta1: Coefficient
    rho: Coefficient
    kappa: Coefficient
    step_size: Coefficient
    root_scale: Coefficient
    eps: Coefficient
    decay: Coefficient


def adaptive_coefficients(hyper: AdaptiveHyper, step: int | Array, eta: Array, period: Array) -> Array:
    """The ``AdaptiveCoefficients`` of a step, stacked: shape (10, R); of T steps at once: (10, T, R).

    Args:
        hyper: settings of R runs.
        step: t, counted from 1; or T of them, shape (T, 1).
        eta: the schedule's multiplier η_t of each run, shape (R,) or (T, R).
        period: steps in the schedule's current period of each run, shape (R,) or (T, R).
    """
    correction1 = np.where(hyper.bias_correction, 1.0 - hyper.beta1**step, 1.0)
    correction2 = np.where(hyper.bias_correction & ~hyper.sums, 1.0 - hyper.beta2**step, 1.0)
    root = np.sqrt(correction2)
    step_size = eta * hyper.lr / correction1
    return stacked(
        [
            hyper.doors.l2_m,
            hyper.doors.l2_v,
            hyper.beta1,
            1.0 - hyper.beta1,
            np.where(hyper.sums, 1.0, hyper.beta2),
            np.where(hyper.sums, 1.0, 1.0 - hyper.beta2),
            np.where(hyper.eps_before, step_size * root, step_size),
            np.where(hyper.eps_before, 1.0, 1.0 / root),
            hyper.eps,
            hyper.doors.decay(eta, period),
        ]
    )


def stacked(coefficients: Sequence[Array]) -> Array:
    """Coefficients of one shape, (R,) or (T, R), on a new first axis; those that do not change in time are repeated."""
    return np.stack(np.broadcast_arrays(*coefficients))


def adaptive_update(param: Tensor, grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, c: AdaptiveCoefficients) -> None:
    """One step on one parameter and its two moments, in place; see the module for the formula."""
    exp_avg.mul_(c.beta1).add_((grad + c.l2_m * param) * c.one_minus_beta1)
    exp_avg_sq.mul_(c.rho).add_((grad + c.l2_v * param).square() * c.kappa)
    step = c.step_size * exp_avg / (c.root_scale * exp_avg_sq.sqrt() + c.eps)
    param.mul_(1.0 - c.decay).sub_(step)
