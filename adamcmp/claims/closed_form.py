"""Problems that are solved on paper, run by adamcmp's kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from adamcmp.analysis.intervals import Array


def rule_settings(name: str, **changes: Any) -> Any:
    """Return settings of a rule as adamcmp ships it, some changed."""
    from adamcmp.config.builtin_rules import builtin_rule

    return builtin_rule(name, **changes)


def instrumented_adam(decay: str, **changes: Any) -> Any:
    """Return Adam with a record of the contribution of decay."""
    from adamcmp.optim.traced import Traced

    settings = rule_settings("adamw", **changes).model_dump()
    return Traced.model_validate({**settings, "decay": decay, "rule": "adamcmp.optim.traced.Traced"})


def simulate(rules: Sequence[Any], start: Any, gradient: Any, steps: int, **how: Any) -> Any:
    """Return ``engine.simulate``, which brings torch; reports do without it."""
    from adamcmp.engine.simulate import simulate as run

    return run(rules, start, gradient, steps, **how)


def weights_path(rules: Sequence[Any], start: float, gradient: Callable[[int], float], steps: int) -> Array:
    """Return the weight of each rule under a gradient that depends on the step alone, start included: (T + 1, R).

    Args:
        rules: settings, each of one run.
        start: of all weights.
        gradient: of all weights, as a function of the step, from 0.
        steps: T.
    """
    import torch

    start_R1 = torch.full((len(rules), 1), start, dtype=torch.float64)
    path = [start_R1.clone()]
    simulate(
        rules,
        start_R1,
        lambda weights, t: torch.full_like(weights, gradient(t - 1)),
        steps,
        callback=lambda t, weights, state: path.append(weights.clone()),
    )
    return np.asarray(torch.stack(path)[..., 0])


def normal_tensor(*shape: int, seed: int = 0) -> Any:
    """Return a tensor of N(0, 1), float64."""
    import torch

    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def gradients_before_norm(weights: Any, generator: Any) -> Any:
    """Return random gradients of weights (R, D) whose length counts for nothing: orthogonal to them, and over their
    length.
    """
    import torch

    noise = torch.randn(weights.shape, generator=generator, dtype=torch.float64)
    square = weights.square().sum(1, keepdim=True)
    return (noise - weights * (noise * weights).sum(1, keepdim=True) / square) / square.sqrt()


class GridErrors(NamedTuple):
    """Test errors of a regression over a grid."""

    lrs: Array
    lambdas: Array
    errors: Array
    """(lr, λ, draw): mean squared error over all inputs, without the noise."""


NUM_EXAMPLES, NUM_FEATURES, NUM_DRAWS = 24, 32, 12


def regression(
    name: str, lrs: Sequence[float], lambdas: Sequence[float], steps: int = 400, draws: int = NUM_DRAWS, **changes: Any
) -> GridErrors:
    """Return linear regression with fewer examples than features, whose scales lie a factor of ten around 1; a cosine.

    Each draw has its own inputs x = s ⊙ N(0, I), with s from 10^−½ to 10^½, a teacher N(0, I)/√D and targets with noise
    of half the signal. Gradients are of the mean over batches of six. The error over all inputs is known:
    (θ − θ*)ᵀ diag(s²) (θ − θ*).
    """
    import torch

    draw = np.random.default_rng(1)
    scale_D = torch.from_numpy(np.geomspace(10**-0.5, 10**0.5, NUM_FEATURES))
    x_GND = torch.from_numpy(draw.standard_normal((draws, NUM_EXAMPLES, NUM_FEATURES))) * scale_D
    teacher_GD = torch.from_numpy(draw.standard_normal((draws, NUM_FEATURES))) / NUM_FEATURES**0.5
    signal_GN = (x_GND * teacher_GD[:, None]).sum(-1)
    y_GN = signal_GN + 0.5 * signal_GN.std() * torch.from_numpy(draw.standard_normal((draws, NUM_EXAMPLES)))
    batches = [draw.choice(NUM_EXAMPLES, 6, replace=False) for _ in range(steps)]
    grid = [(lr, decay) for lr in lrs for decay in lambdas]
    rules = [rule_settings(name, lr=lr, weight_decay=decay, **changes) for lr, decay in grid for _ in range(draws)]

    def gradient(weights_RD: Any, t: int) -> Any:
        weights_KGD = weights_RD.view(len(grid), draws, NUM_FEATURES)
        few_GND, few_GN = x_GND[:, batches[t]], y_GN[:, batches[t]]
        off_KGN = torch.einsum("gnd,kgd->kgn", few_GND, weights_KGD) - few_GN
        return torch.einsum("kgn,gnd->kgd", off_KGN, few_GND).reshape(weights_RD.shape) / len(batches[t])

    eta = 0.5 + 0.5 * np.cos(np.pi * np.arange(steps) / steps)
    found_RD = simulate(rules, torch.zeros(len(rules), NUM_FEATURES, dtype=torch.float64), gradient, steps, eta=eta)
    off = found_RD.view(len(grid), draws, NUM_FEATURES) - teacher_GD
    errors = (off * scale_D).square().sum(-1).view(len(lrs), len(lambdas), draws).numpy()
    return GridErrors(np.asarray(lrs), np.asarray(lambdas), errors)


def leave_one_out_best(errors_CG: Array) -> Array:
    """Return for each draw the trial with the smallest errors on all other draws, by their logarithms: indices,
    (draw,).
    """
    logs = np.log(errors_CG)
    return np.asarray((logs.sum(1, keepdims=True) - logs).argmin(0))


def best_lambda_by_lr(grid: GridErrors) -> Array:
    """Return log₂ of the best λ > 0 of each draw at each learning rate, (draw, lr), by a parabola through the least
    three.

    NaN where it lies on the edge of the grid.
    """
    positive = grid.lambdas > 0
    x = np.log2(grid.lambdas[positive])
    errors = np.log(grid.errors[:, positive])
    least = errors.argmin(1)
    inner = least.clip(1, len(x) - 2)
    rows = np.arange(len(errors))[:, None]
    columns = np.arange(errors.shape[2])[None]
    a, b, c = (errors[rows, inner + step, columns] for step in (-1, 0, 1))
    curved = a - 2 * b + c
    shift = np.where(curved > 0, 0.5 * (a - c) / np.where(curved > 0, curved, 1.0), 0.0)
    best = x[inner] + shift.clip(-1, 1) * (x[1] - x[0])
    return np.where((least == 0) | (least == len(x) - 1), np.nan, best).T
