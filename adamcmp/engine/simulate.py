"""Optimizers on gradients that a formula gives: the kernels alone, many settings at once, without model and data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from adamcmp.engine.coefficients import ParamKind, build_coefficient_table
from adamcmp.optim.decay import Array
from adamcmp.optim.rule import Rule
from adamcmp.optim.schedules import constant, custom_schedule


class StepCallback(Protocol):
    """Callback after every step."""

    def __call__(self, t: int, weights: Tensor, state: dict[str, Tensor]) -> None:
        """Receive step t, from 1, the weights (R, …), and the rule's state, in its own tensors."""


def simulate(
    rules: Sequence[Rule],
    start: Tensor,
    gradient: Callable[[Tensor, int], Tensor],
    steps: int,
    *,
    eta: Array | None = None,
    callback: StepCallback | None = None,
) -> Tensor:
    """Return the weights after ``steps`` steps of R optimizers of one kernel.

    Args:
        rules: R settings; all share rule, kind of decay and static settings.
        start: θ_0, shape (R, …), float64.
        gradient: of (θ, t), with θ (R, …) and t from 0; of the same shape.
        steps: T.
        eta: η_t, shape (T,); 1 without it.
        callback: called after every step.

    Raises:
        ValueError: the rules do not share a kernel.
    """
    kernels = {rule.kernel for rule in rules}
    if len(kernels) != 1:
        names = ", ".join(sorted(kernel.name for kernel in kernels))
        raise ValueError(f"{len(kernels)} kernels in one simulation: {names}")
    (kernel,) = kernels
    schedule = constant(steps) if eta is None else custom_schedule(steps, lambda t: float(eta[t]))
    tables = [build_coefficient_table(rule, ParamKind(None, matrix=True), schedule, 0, steps) for rule in rules]
    values_TCR = torch.from_numpy(np.stack([table.values for table in tables], axis=-1))
    weights = start.clone()
    states = [kernel.start(rule, start[i : i + 1], "") for i, rule in enumerate(rules)]
    state = {name: torch.cat([state[name] for state in states]) for name in states[0]}
    shape = (-1, *(1,) * (start.ndim - 1))
    for t in range(steps):
        now = {name: values_TCR[t, i].view(shape) for i, name in enumerate(tables[0].names)}
        kernel.update(weights, gradient(weights, t), state, now, "")
        if callback is not None:
            callback(t + 1, weights, state)
    return weights
