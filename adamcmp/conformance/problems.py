"""Random problems: gradients of T steps that are given, whatever the weights do, so that rules alone make the paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
UpdatePath = Mapping[str, Array]
"""Values of each parameter before the first step and after each, shape (T + 1, …), by name."""
SHAPES = {"matrix": (5, 4), "vector": (7,)}
STEPS = 12
SCHEDULE = (0.2, 0.6, 1.0, 1.0, 0.9, 0.9, 0.7, 0.5, 0.5, 0.3, 0.1, 0.05)
"""η_t: a rise, a plateau and a fall, which tell learning rates inside and outside of buffers and of decay apart."""


@dataclass(frozen=True)
class Problem:
    """Settings, weights, and the gradients that they get. T steps."""

    name: str
    start: Mapping[str, Array]
    """θ_0 by name, shapes ``SHAPES``."""
    gradients: Mapping[str, Array]
    """g_1 … g_T by name, shape (T, …)."""
    weight_decay: float
    lr: float = 0.02
    betas: tuple[float, float] = (0.8, 0.95)
    eps: float = 1e-3
    """Large, so that its place before or after the bias correction is seen."""
    eta: tuple[float, ...] = SCHEDULE

    @property
    def lrs(self) -> list[float]:
        """η_t α of each step."""
        return [eta * self.lr for eta in self.eta]

    def plain(self) -> dict[str, Any]:
        """Return the hyperparameters under their usual names."""
        beta1, beta2 = self.betas
        return {
            "lr": self.lr, "betas": self.betas, "beta1": beta1, "beta2": beta2, "eps": self.eps,
            "weight_decay": self.weight_decay,
        }  # fmt: skip


def make_problems() -> list[Problem]:
    """Return all of them; the same in every process.

    ``dense`` without decay and with two λ, ``small`` with gradients of the size of ε, ``sparse`` with four of five
    entries zero, and steps without any gradient, as a word that a batch lacks has them.
    """
    draw = np.random.default_rng(0)

    def normal(size: float) -> dict[str, Array]:
        return {name: size * draw.standard_normal((STEPS, *shape)) for name, shape in SHAPES.items()}

    start = {name: draw.standard_normal(shape) for name, shape in SHAPES.items()}
    sparse = {name: gradient * (draw.random(gradient.shape) < 0.2) for name, gradient in normal(1.0).items()}
    for gradient in sparse.values():
        gradient[[0, 5, 6]] = 0.0
    return [
        Problem("dense, λ = 0", start, normal(1.0), 0.0),
        Problem("dense, λ = 0.3", start, normal(1.0), 0.3),
        Problem("dense, λ = 0.01", start, normal(1.0), 0.01),
        Problem("small, λ = 0.3", start, normal(2e-3), 0.3),
        Problem("sparse, λ = 0.3", start, sparse, 0.3),
    ]


def relative_difference(ours: UpdatePath, theirs: UpdatePath) -> float:
    r"""Return the largest relative difference of an update: max over steps and parameters of |Δθ − Δθ'|_∞ / |Δθ'|_∞.

    Steps in which neither moves count as equal. A path that is not finite differs by infinity.
    """
    worst = 0.0
    for name, path in theirs.items():
        moved = np.diff(path, axis=0).reshape(len(path) - 1, -1)
        mine = np.diff(ours[name], axis=0).reshape(len(path) - 1, -1)
        if not (np.isfinite(moved).all() and np.isfinite(mine).all()):
            return float("inf")
        off, size = np.abs(mine - moved).max(1), np.maximum(np.abs(moved).max(1), np.abs(mine).max(1))
        worst = max(worst, float(np.divide(off, size, out=np.zeros_like(off), where=size > 0).max()))
    return worst
