r"""AdamW in other frameworks and papers: where λ and ε enter, defaults, and conversion of λ between them.

This is a table; ``adamcmp conformance`` measures installed libraries, and tests compare both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from adamcmp.optim.decay import CONVERTIBLE, Convertible, convert_weight_decay


class FrameworkConvention(NamedTuple):
    """AdamW's convention in a framework or paper."""

    title: str
    """Human-readable name."""
    call: str
    decay: Convertible
    eps_placement: str
    defaults: Mapping[str, float]
    """``lr``, ``beta1``, ``beta2``, ``eps``, ``weight_decay``, as far as there are any."""
    arguments: Mapping[str, str]
    """Its names of them."""
    config: str
    """Configuration of adamcmp that takes the same steps."""


_TORCH = {"lr": "lr", "beta1": "beta1", "beta2": "beta2", "eps": "eps", "weight_decay": "weight_decay"}
_KERAS = {
    "lr": "learning_rate", "beta1": "beta_1", "beta2": "beta_2", "eps": "epsilon", "weight_decay": "weight_decay"
}  # fmt: skip
_OPTAX = {"lr": "learning_rate", "beta1": "b1", "beta2": "b2", "eps": "eps", "weight_decay": "weight_decay"}
_FASTAI = {"lr": "lr", "beta1": "mom", "beta2": "sqr_mom", "eps": "eps", "weight_decay": "wd"}


def _defaults(lr: float | None, eps: float, weight_decay: float | None, beta2: float = 0.999) -> dict[str, float]:
    arguments = {"lr": lr, "beta1": 0.9, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    return {name: value for name, value in arguments.items() if value is not None}


FRAMEWORKS: Mapping[str, FrameworkConvention] = {
    "torch": FrameworkConvention(
        "PyTorch", "torch.optim.AdamW", "lr_scaled", "after", _defaults(1e-3, 1e-8, 0.01), _TORCH, "optimizer=adamw"
    ),
    "keras": FrameworkConvention(
        "Keras, TensorFlow", "keras.optimizers.AdamW", "lr_scaled", "before", _defaults(1e-3, 1e-7, 0.004), _KERAS,
        "optimizer=adamw optimizer/framework=keras",
    ),
    "optax": FrameworkConvention(
        "optax (JAX)", "optax.adamw", "lr_scaled", "after", _defaults(None, 1e-8, 1e-4), _OPTAX,
        "optimizer=adamw optimizer/framework=optax",
    ),
    "timm": FrameworkConvention(
        "timm", "timm.optim.AdamWLegacy", "lr_scaled", "after", _defaults(1e-3, 1e-8, 0.01), _TORCH,
        "optimizer=adamw optimizer/framework=timm",
    ),
    "fastai": FrameworkConvention(
        "fastai", "fastai.optimizer.Adam", "lr_scaled", "after", _defaults(None, 1e-5, 0.01, 0.99), _FASTAI,
        "optimizer=adamw optimizer/framework=fastai",
    ),
    "paper": FrameworkConvention(
        "Loshchilov & Hutter, Algorithm 2", "", "schedule_only", "after", _defaults(1e-3, 1e-8, None), _TORCH,
        "optimizer=adamw_paper",
    ),
    "paper_normalized": FrameworkConvention(
        "Loshchilov & Hutter, normalized λ", "", "normalized", "after", _defaults(1e-3, 1e-8, None), _TORCH,
        "optimizer=adamw_normalized",
    ),
}  # fmt: skip
"""Conventions by the names of ``adamcmp convert --from``."""


class DecayConversion(NamedTuple):
    """Effect of a weight decay, in every convention."""

    lambdas: Mapping[Convertible, float]
    """λ of each convention; ``normalized`` only where the number of steps is known."""
    per_step: float
    """η α λ: the share of the weights that a step at the peak removes."""
    half_life: float
    """Steps at the peak after which half of a weight without gradient is left: ln 2 / −ln(1 − d)."""
    timescale: float
    """Steps over which AdamW's weights are a moving average of its updates: 1 / d."""
    epochs: float
    """Time scale in epochs, B / (N d); NaN if N or B is unknown."""


def convert_decay(
    source: Convertible, lr: float, weight_decay: float, *, steps: float | None = None, batch: float | None = None,
    examples: float | None = None,
) -> DecayConversion:  # fmt: skip
    r"""Return the effect of a λ at the peak learning rate, and the λ of all other conventions.

    Args:
        source: the convention.
        lr: the peak learning rate α.
        weight_decay: λ in that convention.
        steps: S of the schedule, which ``normalized`` needs.
        batch: B, examples a step.
        examples: N, training examples.

    Raises:
        ValueError: it is ``normalized``, and ``steps`` is not given.

    Source: the time scale is X. Wang and L. Aitchison, How to set AdamW's weight decay, arXiv 2405.13698.
    """
    if source == "normalized" and steps is None:
        raise ValueError("a normalized λ needs the number of steps")
    targets = [convention for convention in CONVERTIBLE if convention != "normalized" or steps is not None]
    lambdas = {
        target: convert_weight_decay(weight_decay, source, target, lr=lr, steps=steps or 1.0) for target in targets
    }
    share = lambdas["schedule_only"]
    half = math.log(2) / -math.log1p(-share) if 0 < share < 1 else math.nan if share else math.inf
    timescale = 1 / share if share else math.inf
    is_known = batch is not None and examples is not None
    return DecayConversion(lambdas, share, half, timescale, timescale * batch / examples if is_known else math.nan)  # type: ignore[operator]
