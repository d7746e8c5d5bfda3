"""Drives the kernels of ``adamcmp.optim`` over a path, in float64: settings of R runs in, every θ_t out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray

from adamcmp.optim.rule import Rule, StepWindow, compute_coefficients, rule_class

Array = NDArray[np.float64]
Gradient = Callable[[int, Array], Array]
"""(t counted from 1, θ of shape (R, …)) → gradient of the same shape."""


def make_rule(rule: str, **given: Any) -> Rule:
    """Settings of a run, not validated: identities are proved at values that no user may give, such as β2 = 1."""
    return rule_class(rule).model_construct(
        **{"rule": rule, "name": rule, "label": rule, "weight_decay": 0.0, "decay": "l2", **given}
    )


def make_adaptive_row(
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    convention: str = "l2",
    sums: bool = False,
    eps_before: bool = False,
    **given: Any,
) -> Rule:
    """Adam, or Adagrad where squares are summed."""
    usual = {"lr": 1e-3, "eps": 1e-8, "decay": convention, **given}
    if sums:
        usual.pop("bias_correction", None)
        return make_rule("adagrad", **{"initial_accumulator_value": 0.0, **usual})
    placement = "before" if eps_before else "after"
    return make_rule("adam", **{"bias_correction": True, **usual}, betas=(beta1, beta2), eps_placement=placement)


def make_momentum_row(*, convention: str = "l2", **given: Any) -> Rule:
    return make_rule(
        "sgd", **{"lr": 1e-2, "momentum": 0.9, "nesterov": False, "lr_in_buffer": False, **given}, decay=convention
    )


def stack_rows(rows: Sequence[Any]) -> list[Rule]:
    """Settings of R runs from R settings of one run."""
    return list(rows)


def walk_path(
    rules: Rule | Sequence[Rule],
    start: Array,
    gradient: Gradient,
    eta: ArrayLike,
    period: ArrayLike | None = None,
    *,
    accumulator: float | Array = 0.0,
    name: str = "w",
    seen: list[dict[str, torch.Tensor]] | None = None,
) -> Array:
    """θ_0 … θ_T, shape (T + 1, R, …).

    Args:
        rules: settings of R runs; rows of one kernel are trained together.
        start: θ_0, shape (R, …).
        gradient: called with t = 1 … T.
        eta: η_t, shape (T,) or (T, R).
        period: steps in the period, as ``eta``; T if not given.
        accumulator: v_0, added to what the rule starts with.
        name: of the parameter.
        seen: where the state after each step is put.
    """
    rules = [rules] if isinstance(rules, Rule) else list(rules)
    runs = len(rules)
    eta = np.asarray(eta, dtype=np.float64)
    period = np.full(len(eta), float(len(eta))) if period is None else np.asarray(period, dtype=np.float64)
    eta_TR, period_TR = (x if x.ndim == 2 else np.repeat(x[:, None], runs, axis=1) for x in (eta, period))
    param = torch.from_numpy(np.array(start, dtype=np.float64))
    alike: dict[Any, list[int]] = {}
    for r, rule in enumerate(rules):
        alike.setdefault(rule.kernel, []).append(r)
    states, tables = {}, {}
    t_T = np.arange(1.0, len(eta) + 1)
    part = rules[0].part(name, param.shape[1:])
    for kernel, rows in alike.items():
        states[kernel] = kernel_state(kernel, [rules[r] for r in rows], param[rows], part)
        if "v" in states[kernel]:
            states[kernel]["v"] += torch.as_tensor(accumulator)
        of_rows = [
            compute_coefficients(
                rules[r],
                StepWindow(
                    t_T, eta_TR[:, r], period_TR[:, r], rules[r].lr, rules[r].weight_decay,
                    lambda r=r: eta_TR[:, r], part,
                ),
            )
            for r in rows
        ]  # fmt: skip
        tables[kernel] = {key: np.stack([each[key] for each in of_rows], axis=1) for key in of_rows[0]}
    path = [param.numpy().copy()]
    for t in range(len(eta)):
        grad = torch.from_numpy(gradient(t + 1, param.numpy()))
        for kernel, rows in alike.items():
            own = param[rows]
            wide = (-1, *(1,) * (param.ndim - 1))
            now = {key: torch.from_numpy(each[t]).view(wide) for key, each in tables[kernel].items()}
            kernel.update(own, grad[rows], states[kernel], now, part)
            param[rows] = own
            if seen is not None:
                seen.append({key: each.clone() for key, each in states[kernel].items()})
        path.append(param.numpy().copy())
    return np.stack(path)


def kernel_state(kernel, rules, param, part):
    each = [kernel.start(rule, param[r : r + 1].clone(), part) for r, rule in enumerate(rules)]
    return {key: torch.cat([own[key] for own in each]) for key in each[0]}


@pytest.fixture(scope="session")
def rule() -> Callable[..., Rule]:
    return make_rule


@pytest.fixture(scope="session")
def adaptive_row() -> Callable[..., Rule]:
    return make_adaptive_row


@pytest.fixture(scope="session")
def momentum_row() -> Callable[..., Rule]:
    return make_momentum_row


@pytest.fixture(scope="session")
def stack() -> Callable[[Sequence[Any]], list[Rule]]:
    return stack_rows


@pytest.fixture(scope="session")
def walk() -> Callable[..., Array]:
    return walk_path
