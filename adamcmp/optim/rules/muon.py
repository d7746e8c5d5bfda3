r"""Muon: momentum made orthogonal, for matrices; AdamW for everything else.

.. math::
    b &← μ b + (1−μ) g, \quad o = \text{with Nesterov's momentum } (1−μ) g + μ b, \text{ else } b \\
    X_0 &= o / \|o\|_F, \quad X ← a X + (b_5 X X^T + c (X X^T)^2) X \text{, as often as ``newton_schulz``} \\
    u &= η_t α\, s\, X, \quad s = \sqrt{\max(1, n/m)} \text{ or } 0.2 \sqrt{\max(n, m)} \text{ for n × m}

with (a, b_5, c) = (3.4445, −4.7750, 2.0315): five iterations bring all singular values near 1. Kernels of convolutions
are matrices of one row per output.

Source: K. Jordan et al., Muon, 2024; the second scale: J. Liu et al., Muon is Scalable for LLM Training, arXiv
2502.16982. Conventions: as torch.optim.Muon but for its bf16 products, which are made in the precision of the weights
here (compared in tests/optim);
``others`` names the matrices that AdamW treats (embeddings, heads), by pattern, beside all that has less than two axes.
AdamW's learning rate is ``adam_lr_scale`` times Muon's, its λ the same.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from adamcmp.base_settings import Beta, Count, NonNegative, Positive
from adamcmp.optim.decay import Array
from adamcmp.optim.rule import Coefficients, Rule, StepWindow, Values, moment_rates, norm, update_moments, zeros

if TYPE_CHECKING:
    from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonal(matrix: Tensor, iterations: int) -> Tensor:
    """Return each run's matrix with its singular values brought near 1, shape (R, n, m), as batched products over R."""
    a, b, c = QUINTIC
    x = matrix.mT if matrix.shape[1] > matrix.shape[2] else matrix
    x = x / (norm(x) + 1e-7)
    for _ in range(iterations):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if matrix.shape[1] > matrix.shape[2] else x


class Muon(Rule):
    """Muon for hidden matrices, AdamW for the rest."""

    static: ClassVar[tuple[str, ...]] = ("newton_schulz", "others")

    momentum: Beta
    """μ, the decay rate of the average of gradients."""
    nesterov: bool
    """Nesterov's momentum."""
    newton_schulz: Count
    """Iterations of Newton and Schulz."""
    scale: Literal["original", "match_rms_adamw"]
    """s: √max(1, n/m), or 0.2 √max(n, m), with which learning rates are AdamW's."""
    others: tuple[str, ...]
    """Patterns of names: matrices that AdamW treats."""
    adam_lr_scale: Positive
    """Factor of the learning rate of the AdamW part."""
    betas: tuple[Beta, Beta]
    """Betas of the AdamW part."""
    eps: NonNegative
    """ε of the AdamW part."""

    def part(self, name: str, shape: tuple[int, ...]) -> str:
        if len(shape) < 2 or any(fnmatchcase(name, pattern) for pattern in self.others):
            return "adam"
        return "muon"

    def coefficients(self, steps: StepWindow) -> Coefficients:
        if steps.part == "adam":
            beta1, beta2 = self.betas
            return {
                **moment_rates(self.betas),
                "step_size": steps.lr * self.adam_lr_scale / (1 - beta1**steps.t),
                "root_scale": 1 / np.sqrt(1 - beta2**steps.t),
                "eps": self.eps,
            }
        return {
            "lr": steps.lr,
            "momentum": self.momentum,
            "take_grad": 1 - self.momentum if self.nesterov else 0.0,
            "take_buffer": self.momentum if self.nesterov else 1.0,
            "rms": float(self.scale == "match_rms_adamw"),
        }

    def share(self, steps: StepWindow) -> Array:
        """Return d_t: AdamW's part decays by its own learning rate."""
        scale = self.adam_lr_scale if steps.part == "adam" else 1.0
        return super().share(replace(steps, peak=steps.peak * scale))

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:
        return {"m": zeros(param), "v": zeros(param)} if part == "adam" else {"buffer": zeros(param)}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        if c.part == "adam":
            update_moments(grad, s, c)
            return c.step_size * s.m / (c.root_scale * s.v.sqrt() + c.eps)
        s.buffer.mul_(c.momentum).add_(grad * (1 - c.momentum))
        matrix = (c.take_grad * grad + c.take_buffer * s.buffer).flatten(2)
        n, m = matrix.shape[1:]
        scale = c.rms * (0.2 * math.sqrt(max(n, m))) + (1 - c.rms) * math.sqrt(max(1.0, n / m))
        return c.lr * scale * orthogonal(matrix, int(c.newton_schulz)).view(param.shape)
