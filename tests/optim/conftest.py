"""Drives the kernels of ``adamcmp.optim`` over a path, in float64: rows of settings in, every θ_t out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray

from adamcmp.optim.adaptive import AdaptiveCoefficients, AdaptiveHyper, adaptive_coefficients, adaptive_update
from adamcmp.optim.decay import Doors, doors
from adamcmp.optim.momentum import MomentumCoefficients, MomentumHyper, momentum_coefficients, momentum_update

Array = NDArray[np.float64]
Hyper = AdaptiveHyper | MomentumHyper
Gradient = Callable[[int, Array], Array]
"""(t counted from 1, θ of shape (R, …)) → gradient of the same shape."""


def make_adaptive_row(
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    convention: str = "l2",
    weight_decay: float = 0.0,
    sums: bool = False,
    eps_before: bool = False,
    bias_correction: bool = True,
) -> AdaptiveHyper:
    return AdaptiveHyper(
        lr=np.array([lr]),
        beta1=np.array([beta1]),
        beta2=np.array([beta2]),
        eps=np.array([eps]),
        doors=doors(convention, weight_decay, lr),
        sums=np.array([sums]),
        eps_before=np.array([eps_before]),
        bias_correction=np.array([bias_correction]),
    )


def make_momentum_row(
    *,
    lr: float = 1e-2,
    momentum: float = 0.9,
    convention: str = "l2",
    weight_decay: float = 0.0,
    nesterov: bool = False,
    lr_in_buffer: bool = False,
) -> MomentumHyper:
    return MomentumHyper(
        lr=np.array([lr]),
        momentum=np.array([momentum]),
        doors=doors(convention, weight_decay, lr),
        nesterov=np.array([nesterov]),
        lr_in_buffer=np.array([lr_in_buffer]),
    )


def stack_rows(rows: list[Hyper]) -> Hyper:
    """Settings of R runs from R settings of one run."""
    columns = [
        Doors(*map(np.concatenate, zip(*column, strict=True)))
        if isinstance(column[0], Doors)
        else np.concatenate(column)
        for column in zip(*rows, strict=True)
    ]
    return type(rows[0])(*columns)


def walk_path(
    hyper: Hyper,
    start: Array,
    gradient: Gradient,
    eta: ArrayLike,
    period: ArrayLike | None = None,
    *,
    accumulator: float | Array = 0.0,
) -> Array:
    """θ_0 … θ_T, shape (T + 1, R, …), of the kernel that ``hyper`` belongs to.

    Args:
        hyper: settings of R runs.
        start: θ_0, shape (R, …).
        gradient: called with t = 1 … T.
        eta: η_t, shape (T,) or (T, R).
        period: steps in the period, as ``eta``; T if not given.
        accumulator: v_0.
    """
    runs = len(hyper.lr)
    eta = np.asarray(eta, dtype=np.float64)
    period = np.full(len(eta), float(len(eta))) if period is None else np.asarray(period, dtype=np.float64)
    eta_TR, period_TR = (x if x.ndim == 2 else np.repeat(x[:, None], runs, axis=1) for x in (eta, period))
    param = torch.from_numpy(np.array(start, dtype=np.float64))
    first = torch.zeros_like(param)
    second = torch.from_numpy(np.array(np.broadcast_to(accumulator, param.shape), dtype=np.float64))
    path = [param.numpy().copy()]
    for t, (eta_R, period_R) in enumerate(zip(eta_TR, period_TR, strict=True), start=1):
        grad = torch.from_numpy(gradient(t, param.numpy()))
        if isinstance(hyper, AdaptiveHyper):
            table = torch.from_numpy(adaptive_coefficients(hyper, t, eta_R, period_R))
            wide = table.reshape(len(table), runs, *[1] * (param.ndim - 1))
            adaptive_update(param, grad, first, second, AdaptiveCoefficients(*wide))
        else:
            table = torch.from_numpy(momentum_coefficients(hyper, eta_R, period_R))
            wide = table.reshape(len(table), runs, *[1] * (param.ndim - 1))
            momentum_update(param, grad, first, MomentumCoefficients(*wide))
        path.append(param.numpy().copy())
    return np.stack(path)


@pytest.fixture(scope="session")
def adaptive_row() -> Callable[..., AdaptiveHyper]:
    return make_adaptive_row


@pytest.fixture(scope="session")
def momentum_row() -> Callable[..., MomentumHyper]:
    return make_momentum_row


@pytest.fixture(scope="session")
def stack() -> Callable[[list[Hyper]], Hyper]:
    return stack_rows


@pytest.fixture(scope="session")
def walk() -> Callable[..., Array]:
    return walk_path
