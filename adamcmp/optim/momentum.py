r"""SGD with momentum, SGD with L2 and SGDW as one update with different coefficients.

.. math::
    b &← μ b + c_{in} (g + a θ) \\
    θ &← θ − c_{out} (k_g (g + a θ) + k_b b) − d_t θ_{old}

With the learning rate outside the buffer, as in torch, c_in = 1 and c_out = η_t α; inside it, as in Algorithm 1 of
Loshchilov & Hutter, c_in = η_t α and c_out = 1. (k_g, k_b) = (0, 1), with Nesterov's momentum (c_in, μ). The two
places differ only while the learning rate changes. The doors a, d_t are those of ``decay.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from adamcmp.optim.adaptive import Coefficient, stacked
from adamcmp.optim.decay import Array, Doors


class MomentumHyper(NamedTuple):
    """What does not change during a training, one value a run, shape (R,)."""

    lr: Array
    momentum: Array
    doors: Doors
    nesterov: NDArray[np.bool_]
    lr_in_buffer: NDArray[np.bool_]


class MomentumCoefficients(NamedTuple):
    """The coefficients of one step, each (R,), a number, or a tensor that broadcasts over (R, …)."""

    l2: Coefficient
    momentum: Coefficient
    scale_in: Coefficient
    scale_out: Coefficient
    take_grad: Coefficient
    take_buffer: Coefficient
    decay: Coefficient


def momentum_coefficients(hyper: MomentumHyper, eta: Array, period: Array) -> Array:
    """The ``MomentumCoefficients`` of a step, stacked: shape (7, R) or (7, T, R); see ``adaptive_coefficients``."""
    lr = eta * hyper.lr
    scale_in = np.where(hyper.lr_in_buffer, lr, 1.0)
    return stacked(
        [
            hyper.doors.l2_m,
            hyper.momentum,
            scale_in,
            np.where(hyper.lr_in_buffer, 1.0, lr),
            np.where(hyper.nesterov, scale_in, 0.0),
            np.where(hyper.nesterov, hyper.momentum, 1.0),
            hyper.doors.decay(eta, period),
        ]
    )


def momentum_update(param: Tensor, grad: Tensor, buffer: Tensor, c: MomentumCoefficients) -> None:
    """One step on one parameter and its momentum buffer, in place; see the module for the formula."""
    gradient = grad + c.l2 * param
    buffer.mul_(c.momentum).add_(c.scale_in * gradient)
    step = c.scale_out * (c.take_grad * gradient + c.take_buffer * buffer)
    param.mul_(1.0 - c.decay).sub_(step)
