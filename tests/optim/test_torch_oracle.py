"""The kernels against torch.optim: a small network, real gradients, a new learning rate at every step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adamcmp.optim.rule import StepWindow, compute_coefficients

STEPS, BATCH = 320, 16
LR_FACTOR_T = np.random.default_rng(3).uniform(0.05, 1.0, STEPS)

CASES = [
    # (torch's optimizer, its settings, our settings, v_0)
    ("Adam", {"lr": 3e-3}, {}, 0.0),
    ("Adam", {"lr": 3e-3, "weight_decay": 0.03}, {"convention": "l2"}, 0.0),
    ("Adam", {"lr": 3e-3, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.03}, {"convention": "l2"}, 0.0),
    ("Adam", {"lr": 3e-3, "betas": (0.0, 0.5), "weight_decay": 0.03}, {"convention": "l2"}, 0.0),
    ("AdamW", {"lr": 3e-3}, {"convention": "lr_scaled", "weight_decay": 0.01}, 0.0),  # torch's default decay
    ("AdamW", {"lr": 3e-3, "weight_decay": 1.5}, {"convention": "lr_scaled"}, 0.0),
    ("AdamW", {"lr": 3e-3, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 1.5}, {"convention": "lr_scaled"}, 0.0),
    ("SGD", {"lr": 0.05}, {"momentum": 0.0}, 0.0),
    ("SGD", {"lr": 0.05, "weight_decay": 0.02}, {"momentum": 0.0, "convention": "l2"}, 0.0),
    ("SGD", {"lr": 0.02, "momentum": 0.9}, {}, 0.0),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.02}, {"convention": "l2"}, 0.0),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}, {}, 0.0),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.02}, {"convention": "l2"}, 0.0),
    ("RMSprop", {"lr": 3e-3, "alpha": 0.99}, {}, 0.0),
    ("RMSprop", {"lr": 3e-3, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.03}, {"convention": "l2"}, 0.0),
    ("Adagrad", {"lr": 0.05}, {"eps": 1e-10}, 0.0),  # torch's default ε
    ("Adagrad", {"lr": 0.05, "eps": 1e-3, "weight_decay": 0.03}, {"convention": "l2"}, 0.0),
    ("Adagrad", {"lr": 0.05, "initial_accumulator_value": 0.1}, {"eps": 1e-10}, 0.1),
]

RULES = {
    "RMSprop": {"beta1": 0.0, "bias_correction": False},
    "Adagrad": {"beta1": 0.0, "sums": True},
}


def label(case):
    name, theirs, _, _ = case
    return "-".join([name, *(key for key in theirs if key != "lr")])


@pytest.fixture
def problem():
    """θ_0 and a function from (θ, t) to the gradients of a tanh network's squared error on minibatch t."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    start = [normal(4, 6) / 2, normal(6) / 10, normal(6, 2) / 2, normal(2) / 10]
    inputs_TBD = normal(STEPS, BATCH, 4) * torch.tensor([1.0, 0.1, 3.0, 1.0])
    targets_TBC = torch.sin(inputs_TBD @ normal(4, 2)) + 0.3 * normal(STEPS, BATCH, 2)

    def gradients(params, t):
        leaves = [p.detach().clone().requires_grad_() for p in params]
        w1, b1, w2, b2 = leaves
        outputs_BC = torch.tanh(inputs_TBD[t] @ w1 + b1) @ w2 + b2
        return torch.autograd.grad((outputs_BC - targets_TBC[t]).square().mean(), leaves)

    return start, gradients


def flat(params):
    return torch.cat([p.detach().reshape(-1) for p in params]).numpy().copy()


def torch_path(name, settings, start, gradients):
    params = [p.clone().requires_grad_() for p in start]
    optimizer = getattr(torch.optim, name)(params, **settings)
    path = [flat(params)]
    for t in range(STEPS):
        optimizer.param_groups[0]["lr"] = settings["lr"] * float(LR_FACTOR_T[t])
        for p, g in zip(params, gradients(params, t), strict=True):
            p.grad = g
        optimizer.step()
        path.append(flat(params))
    return np.stack(path)


def kernel_path(rule, start, gradients, accumulator):
    """One run: its kernel on stacks of one row."""
    params = [p.clone() for p in start]
    states = [rule.kernel.start(rule, p[None], "") for p in params]
    for state in states:
        if "v" in state:
            state["v"] += accumulator
    path = [flat(params)]
    t_T, period = np.arange(1.0, STEPS + 1), np.full(STEPS, float(STEPS))
    steps = StepWindow(t_T, LR_FACTOR_T, period, rule.lr, rule.weight_decay, lambda: LR_FACTOR_T)
    table = {name: torch.from_numpy(each.copy()) for name, each in compute_coefficients(rule, steps).items()}
    for t in range(STEPS):
        for p, g, state in zip(params, gradients(params, t), states, strict=True):
            now = {name: each[t].view(1, *(1,) * p.ndim) for name, each in table.items()}
            rule.kernel.update(p[None], g[None], state, now, "")
        path.append(flat(params))
    return np.stack(path)


@pytest.mark.parametrize("case", CASES, ids=label)
def test_kernel_follows_torch(case, problem, adaptive_row, momentum_row):
    name, theirs, ours, accumulator = case
    shared = {key: theirs[key] for key in ("lr", "eps", "weight_decay", "momentum", "nesterov") if key in theirs}
    if "betas" in theirs:
        shared |= dict(zip(("beta1", "beta2"), theirs["betas"], strict=True))
    if "alpha" in theirs:
        shared["beta2"] = theirs["alpha"]
    row = momentum_row if name == "SGD" else adaptive_row
    hyper = row(**{**RULES.get(name, {}), **shared, **ours})

    kernel, oracle = kernel_path(hyper, *problem, accumulator), torch_path(name, theirs, *problem)

    np.testing.assert_allclose(kernel[1:] - kernel[0], oracle[1:] - oracle[0], rtol=1e-12, atol=1e-12)
    assert np.max(np.abs(oracle[-1] - oracle[0])) > 0.05  # the training went somewhere


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_our_decay_names_are_torchs(name, problem, adaptive_row):
    """Adam(weight_decay) is ``l2`` and AdamW ``lr_scaled``: with the names swapped, the paths are far apart."""
    swapped = {"Adam": "lr_scaled", "AdamW": "l2"}[name]
    hyper = adaptive_row(lr=3e-3, convention=swapped, weight_decay=0.5)
    ours = kernel_path(hyper, *problem, 0.0)
    theirs = torch_path(name, {"lr": 3e-3, "weight_decay": 0.5}, *problem)
    assert np.max(np.abs(ours - theirs)) > 0.01
