"""Every rule against a reference in NumPy, written from its paper, and against the library that has it.

References share nothing with ``adamcmp.optim``: they take one step of one run in plain arrays. Where λ enters is said
once more below, beside them, for all.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from adamcmp.optim.rule import StepWindow, builtin_rule_names, compute_coefficients, rule_class

CONFIGS = Path(__file__).parents[2] / "configs" / "optimizer"
STEPS = 16
ETA = 0.5 + 0.5 * np.cos(np.pi * np.arange(STEPS) / STEPS)
SHAPES = {"matrix": (4, 3), "wide": (2, 5), "kernel": (3, 2, 2, 2), "vector": (5,), "number": ()}
CONVENTIONS = ["lr_scaled", "l2", "schedule_only", "normalized", "lr_squared", "lr_free", "cautious", "fixed_norm"]
LR = {"adagrad": 0.1, "sgd": 0.02, "lion": 3e-3, "lamb": 0.02, "adafactor": 0.05}


def settings_of(name):
    """The first shipped configuration of a rule, by which it is tried."""
    found = [yaml.safe_load(path.read_text()) for path in sorted(CONFIGS.glob("*.yaml"))]
    return next(each for each in found if each.get("rule") == name)


def settings(name, decay="lr_scaled", weight_decay=0.3, **more):
    scale = {"schedule_only": 0.02, "lr_free": 0.02, "normalized": 0.05}.get(decay, 1.0)
    given = {**settings_of(name), "name": name, "lr": LR.get(name, 0.02), **more}
    λ = 0.0 if decay == "fixed_norm" else weight_decay * scale
    return {**given, "decay": decay, "weight_decay": λ}


def gradient(t, theta):
    noise = np.random.default_rng([t, theta.size]).normal(size=theta.shape)
    return np.tanh(theta) * np.linspace(0.3, 3, theta.size).reshape(theta.shape) + noise


# --- the papers' steps: (settings) → a function of (t, g, θ, η_t α) that gives u


def adam(p):
    (b1, b2), m, v = p["betas"], 0.0, 0.0

    def step(t, g, theta, lr):
        nonlocal m, v
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        m_hat, v_hat = (m / (1 - b1**t), v / (1 - b2**t)) if p["bias_correction"] else (m, v)
        return lr * m_hat / (np.sqrt(v_hat) + p["eps"])

    return step


def amsgrad(p):
    (b1, b2), m, v, top = p["betas"], 0.0, 0.0, 0.0

    def step(t, g, theta, lr):
        nonlocal m, v, top
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        top = np.maximum(top, v)
        return lr * m / (1 - b1**t) / (np.sqrt(top / (1 - b2**t)) + p["eps"])

    return step


def nadam(p):
    (b1, b2), m, v = p["betas"], 0.0, 0.0

    def mu(t):
        return b1 * (1 - 0.5 * 0.96 ** (t * p["momentum_decay"]))

    def step(t, g, theta, lr):
        nonlocal m, v
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        now, after = (math.prod(mu(i) for i in range(1, last + 1)) for last in (t, t + 1))
        m_hat = mu(t + 1) * m / (1 - after) + (1 - mu(t)) * g / (1 - now)
        return lr * m_hat / (np.sqrt(v / (1 - b2**t)) + p["eps"])

    return step


def radam(p):
    (b1, b2), m, v = p["betas"], 0.0, 0.0
    longest = 2 / (1 - b2) - 1

    def step(t, g, theta, lr):
        nonlocal m, v
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        length = longest - 2 * t * b2**t / (1 - b2**t)
        if length <= 5:  # the case of a short memory for good
            return lr * m / (1 - b1**t)
        r = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
        return lr * r * m / (1 - b1**t) * math.sqrt(1 - b2**t) / (np.sqrt(v) + p["eps"])

    return step


def adamax(p):
    (b1, b2), m, n = p["betas"], 0.0, 0.0

    def step(t, g, theta, lr):
        nonlocal m, n
        m, n = b1 * m + (1 - b1) * g, np.maximum(b2 * n, np.abs(g) + p["eps"])
        return lr / (1 - b1**t) * m / n

    return step


def lion(p):
    (b1, b2), m = p["betas"], 0.0

    def step(t, g, theta, lr):
        nonlocal m
        u = lr * np.sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g
        return u

    return step


def adopt(p):
    (b1, b2), m, v = p["betas"], 0.0, None

    def step(t, g, theta, lr):
        nonlocal m, v
        if v is None:
            v = g**2
            return None
        most = (t - 1) ** 0.25
        m = b1 * m + (1 - b1) * np.clip(g / np.maximum(np.sqrt(v), p["eps"]), -most, most)
        v = b2 * v + (1 - b2) * g**2
        return lr * m

    return step


def adan(p):
    (b1, b2, b3), m, d, n, last = p["betas"], 0.0, 0.0, 0.0, None

    def step(t, g, theta, lr):
        nonlocal m, d, n, last
        change = 0.0 if last is None else g - last
        last = g
        m, d = b1 * m + (1 - b1) * g, b2 * d + (1 - b2) * change
        n = b3 * n + (1 - b3) * (g + b2 * change) ** 2
        return lr * (m / (1 - b1**t) + b2 * d / (1 - b2**t)) / (np.sqrt(n / (1 - b3**t)) + p["eps"])

    return step


def lamb(p):
    (b1, b2), m, v = p["betas"], 0.0, 0.0

    def step(t, g, theta, lr):
        nonlocal m, v
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        r = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + p["eps"])
        r = r + (p["weight_decay"] * theta if p["decay"] == "trust_ratio" else 0)
        weights, size = np.sqrt((theta**2).sum()), np.sqrt((r**2).sum())
        return lr * (weights / size if weights > 0 and size > 0 else 1.0) * r

    return step


def muon(p):
    b, as_adam = 0.0, adam({**p, "bias_correction": True})

    def step(t, g, theta, lr):
        nonlocal b
        if theta.ndim < 2:
            return as_adam(t, g, theta, lr * p["adam_lr_scale"])
        mu = p["momentum"]
        b = mu * b + (1 - mu) * g
        o = ((1 - mu) * g + mu * b if p["nesterov"] else b).reshape(len(theta), -1)
        x = o / (np.sqrt((o**2).sum()) + 1e-7)
        for _ in range(p["newton_schulz"]):
            square = x @ x.T
            x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
        n, m = o.shape
        scale = math.sqrt(max(1, n / m)) if p["scale"] == "original" else 0.2 * math.sqrt(max(n, m))
        return lr * scale * x.reshape(theta.shape)

    return step


def adafactor(p):
    row, column, v = 0.0, 0.0, 0.0

    def step(t, g, theta, lr):
        nonlocal row, column, v
        new = t ** -p["beta2_decay"]
        if theta.ndim >= 2:
            row = (1 - new) * row + new * (g**2).mean(-1, keepdims=True)
            column = (1 - new) * column + new * (g**2).mean(-2, keepdims=True)
            second = row @ column / np.maximum(row.mean(-2, keepdims=True), p["eps"])
        else:
            second = v = (1 - new) * v + new * g**2
        u = g / np.sqrt(np.maximum(second, p["eps"] ** 2))
        root_mean = math.sqrt((u**2).mean())
        size = max(p["eps2"], math.sqrt((theta**2).mean()))
        return min(lr, 1 / math.sqrt(t)) * size * u / max(1.0, root_mean / p["clip"])

    return step


def adagrad(p):
    v = p["initial_accumulator_value"]

    def step(t, g, theta, lr):
        nonlocal v
        v = v + g**2
        return lr * g / (np.sqrt(v) + p["eps"])

    return step


def sgd(p):
    b = 0.0

    def step(t, g, theta, lr):
        nonlocal b
        b = p["momentum"] * b + g
        return lr * (g + p["momentum"] * b if p["nesterov"] else b)

    return step


PAPERS = {
    each.__name__: each
    for each in (adafactor, adagrad, adam, adamax, adan, adopt, amsgrad, lamb, lion, muon, nadam, radam, sgd)
}


def after(theta, at, u, p, t, first):
    """θ less u and decay, by the table of ``adamcmp/optim/decay.py``; ``first`` is θ_0."""
    eta, lr, λ = ETA[t - 1], p["lr"], p["weight_decay"]
    match p["decay"]:
        case "lr_scaled":
            taken = eta * lr * λ * at
        case "schedule_only":
            taken = eta * λ * at
        case "normalized":
            taken = eta * λ / math.sqrt(STEPS) * at
        case "lr_squared":
            taken = (eta * lr) ** 2 / lr * λ * at
        case "lr_free":
            taken = λ * at
        case "cautious":
            taken = np.where(u * at >= 0, eta * lr * λ * at, 0.0)
        case _:
            taken = 0.0
    if p.get("proximal") and p["decay"] not in ("cautious", "fixed_norm"):
        shrunk = 1 + (np.divide(taken, at, out=np.zeros_like(at), where=at != 0) if np.any(taken) else 0.0)
        return (theta - u) / shrunk
    moved = theta - u - taken
    if p["decay"] == "fixed_norm" and theta.ndim >= 2:
        return moved * np.sqrt((first**2).sum() / (moved**2).sum())
    return moved


def reference(p, start):
    """θ_0 … θ_T, and what evaluations are of."""
    theta, step = start.copy(), None if p["rule"] == "schedule_free" else PAPERS[p["rule"]](p)
    path, shown = [theta], [theta]
    z, x, v, weights = theta, theta, 0.0, []
    for t in range(1, STEPS + 1):
        g = gradient(t, theta) + (p["weight_decay"] * theta if p["decay"] == "l2" else 0)
        lr = ETA[t - 1] * p["lr"]
        if step is not None:
            u = step(t, g, theta, lr)
            theta = theta if u is None else after(theta, theta, u, p, t, start)
            x = theta
        else:
            b1, b2 = p["betas"]
            v = b2 * v + (1 - b2) * g**2
            u = lr * g / (np.sqrt(v / (1 - b2**t)) + p["eps"])
            z = after(z, theta, u, p, t, start)
            weights.append(t ** p["r"] * max(ETA[:t]) ** p["weight_lr_power"])
            c = weights[-1] / sum(weights)
            x = (1 - c) * x + c * z
            theta = (1 - b1) * z + b1 * x
        path.append(theta)
        shown.append(x)
    return np.array(path), np.array(shown)


def start_of(shape, seed=0):
    return np.random.default_rng([seed, len(shape)]).normal(size=shape)


def example():
    """The class of examples/own_rule.py."""
    spec = importlib.util.spec_from_file_location("own_rule", CONFIGS.parents[1] / "examples" / "own_rule.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Lion


@pytest.mark.parametrize("decay", CONVENTIONS)
def test_the_formula_of_a_rule_from_outside(decay, walk):
    p = settings("lion", decay)
    rule = example().model_validate(p)
    for shape in SHAPES.values():
        start = start_of(shape)
        path = walk(rule, start[None], lambda t, theta: gradient(t, theta[0])[None], ETA)[:, 0]
        np.testing.assert_allclose(path, reference(p, start)[0], rtol=1e-10, atol=1e-12)


def rule_from(p):
    return rule_class(p["rule"]).model_validate(p)


def test_every_rule_has_a_reference():
    assert {*PAPERS, "schedule_free"} == set(builtin_rule_names())


@pytest.mark.parametrize("decay", CONVENTIONS)
@pytest.mark.parametrize("name", builtin_rule_names())
def test_the_formula(name, decay, walk):
    p = settings(name, decay)
    for shape in SHAPES.values():
        start = start_of(shape)
        seen = []
        path = walk(rule_from(p), start[None], lambda t, theta: gradient(t, theta[0])[None], ETA, seen=seen)[:, 0]
        expected, shown = reference(p, start)
        np.testing.assert_allclose(path, expected, rtol=1e-10, atol=1e-12)
        assert np.abs(path[-1] - start).max() > 1e-3
        if rule_class(name).shown:
            ours = [state[rule_class(name).shown][0].numpy() for state in seen]
            np.testing.assert_allclose(ours, shown[1:], rtol=1e-10, atol=1e-12)


VARIANTS = [
    ("sgd", {"nesterov": True}),
    ("adan", {"proximal": False}),
    ("lamb", {"decay": "trust_ratio"}),
    ("muon", {"scale": "original", "nesterov": False}),
    ("schedule_free", {"r": 1.0, "weight_lr_power": 0.0}),
    ("adagrad", {"initial_accumulator_value": 0.5}),
    ("radam", {"betas": [0.9, 0.6]}),
    ("radam", {"betas": [0.9, 0.9]}),
]


@pytest.mark.parametrize(("name", "more"), VARIANTS)
def test_the_formula_of_variants(name, more, walk):
    p = settings(name) | more
    for shape in SHAPES.values():
        start = start_of(shape)
        path = walk(rule_from(p), start[None], lambda t, theta: gradient(t, theta[0])[None], ETA)[:, 0]
        np.testing.assert_allclose(path, reference(p, start)[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", builtin_rule_names())
def test_without_decay_all_conventions_are_one(name, walk):
    for shape in (SHAPES["matrix"], SHAPES["vector"]):
        start = start_of(shape)
        ends = [
            walk(rule_from(settings(name, decay, 0.0)), start[None], gradient_of_rows, ETA)[-1, 0]
            for decay in CONVENTIONS
            if decay != "fixed_norm"
        ]
        assert np.ptp(ends, axis=0).max() == 0.0


def gradient_of_rows(t, theta):
    return np.stack([gradient(t, row) for row in theta])


def rows_of(name):
    """Runs of one kernel that differ in all that may differ."""
    given = [("lr_scaled", 0.3, 1.0), ("l2", 0.3, 0.5), ("schedule_only", 0.3, 2.0), ("lr_free", 0.0, 1.0)]
    return [rule_from(settings(name, d, w, lr=LR.get(name, 0.02) * f)) for d, w, f in given]


@pytest.mark.parametrize("shape", ["matrix", "kernel", "number"])
@pytest.mark.parametrize("name", builtin_rule_names())
def test_rows_are_runs_in_any_order_and_a_lost_one_touches_no_other(name, shape, walk):
    rules = rows_of(name)
    starts = np.stack([start_of(SHAPES[shape], seed) for seed in range(len(rules))])
    together = walk(rules, starts, gradient_of_rows, ETA)
    for r, rule in enumerate(rules):
        alone = walk(rule, starts[r : r + 1], gradient_of_rows, ETA)[:, 0]
        np.testing.assert_allclose(together[:, r], alone, rtol=0, atol=1e-13)
    order = [2, 0, 3, 1]
    permuted = walk([rules[r] for r in order], starts[order], gradient_of_rows, ETA)
    np.testing.assert_allclose(permuted, together[:, order], rtol=0, atol=1e-13)

    def poisoned(t, theta):
        grad = gradient_of_rows(t, np.nan_to_num(theta))
        grad[1] = np.nan if t >= 8 else grad[1]
        return grad

    sick = walk(rules, starts, poisoned, ETA)
    assert not np.isfinite(sick[-1, 1]).any()
    others = [0, 2, 3]
    np.testing.assert_allclose(sick[:, others], together[:, others], rtol=0, atol=1e-13)


def by_library(oracle, p, starts, *, average=None):
    """Paths of another library's class over the same gradients, each parameter's; ``average`` switches around."""
    module, _, name = oracle.target.rpartition(".")
    parameters = [torch.tensor(start, requires_grad=True) for start in starts]
    kind = getattr(importlib.import_module(module), name)
    optimizer = kind(parameters, lr=p["lr"], weight_decay=p["weight_decay"], **oracle.arguments)
    if average:
        optimizer.train()
    for t in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = p["lr"] * ETA[t - 1]
        for param in parameters:
            param.grad = torch.from_numpy(np.asarray(gradient(t, param.detach().numpy())))
        optimizer.step()
    if average:
        optimizer.eval()
    return [param.detach().numpy() for param in parameters]


TOLERANCE = {"torch.optim.NAdam": 2e-6}
"""torch keeps the product of its momenta in float32."""


IN_LIBRARIES = [
    (name, decay)
    for name in builtin_rule_names()
    for decay in ("l2", "lr_scaled")
    if rule_from(settings(name, decay)).oracle
]


@pytest.mark.parametrize(("name", "decay"), IN_LIBRARIES)
def test_the_library_that_has_it(name, decay, walk):
    p = settings(name, decay)
    rule = rule_from(p)
    oracle = rule.oracle
    starts = [start_of(SHAPES[shape]) for shape in ("matrix", "vector")]
    theirs = by_library(oracle, p, starts, average=rule.shown)
    for start, expected in zip(starts, theirs, strict=True):
        seen = []
        path = walk(rule, start[None], gradient_of_rows, ETA, seen=seen)
        ours = seen[-1][rule.shown][0].numpy() if rule.shown else path[-1, 0]
        np.testing.assert_allclose(ours, expected, rtol=TOLERANCE.get(oracle.target, 1e-9), atol=1e-9)


def test_lamb_is_optaxs(walk):
    import jax
    import optax

    p = settings("lamb", "trust_ratio")
    start = start_of((4, 3))
    with jax.enable_x64(True):
        made = optax.lamb(lambda t: p["lr"] * jax.numpy.asarray(ETA)[t], *p["betas"], p["eps"], 0.0, p["weight_decay"])
        theta, state = jax.numpy.asarray(start), made.init(jax.numpy.asarray(start))
        for t in range(1, STEPS + 1):
            step, state = made.update(jax.numpy.asarray(gradient(t, np.asarray(theta))), state, theta)
            theta = theta + step
    ours = walk(rule_from(p), start[None], gradient_of_rows, ETA)[-1, 0]
    np.testing.assert_allclose(ours, np.asarray(theta), rtol=1e-9)


def test_muon_is_torchs_but_for_bf16(walk):
    p = settings("muon", scale="original", lr=0.02)
    start = start_of((6, 4))
    param = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.Muon([param], lr=p["lr"], weight_decay=p["weight_decay"], momentum=p["momentum"])
    for t in range(1, STEPS + 1):
        optimizer.param_groups[0]["lr"] = p["lr"] * ETA[t - 1]
        param.grad = torch.from_numpy(gradient(t, param.detach().numpy()))
        optimizer.step()
    ours = walk(rule_from(p), start[None], gradient_of_rows, ETA)[-1, 0]
    moved = param.detach().numpy() - start
    assert np.linalg.norm(ours - param.detach().numpy()) < 0.05 * np.linalg.norm(moved)


def test_muons_other_matrices_are_adamws(walk):
    p = settings("muon", others=("*head*",), adam_lr_scale=0.5)
    adamw = settings("adam", lr=p["lr"] * 0.5, weight_decay=p["weight_decay"])
    start = start_of((4, 3))[None]
    heads = walk(rule_from(p), start, gradient_of_rows, ETA, name="head.weight")
    np.testing.assert_allclose(heads, walk(rule_from(adamw), start, gradient_of_rows, ETA), rtol=1e-12)
    assert not np.allclose(heads, walk(rule_from(p), start, gradient_of_rows, ETA, name="layers.0.weight"))


def test_matrices_keep_their_norm_and_zeros_are_free(walk):
    rule = rule_from(settings("adam", "fixed_norm"))
    path = walk(rule, np.stack([start_of((4, 3))]), gradient_of_rows, ETA)
    norms = np.sqrt((path**2).sum((2, 3)))
    np.testing.assert_allclose(norms, norms[:1].repeat(len(norms), 0), rtol=1e-12)
    assert np.abs(walk(rule, np.zeros((1, 4, 3)), gradient_of_rows, ETA)[-1]).max() > 0.01


def test_sums_over_the_past_do_not_depend_on_the_window():
    """Coefficients of the last ten steps are the same, asked for alone or with all others."""
    for name in builtin_rule_names():
        rule = rule_from(settings(name))
        t, period = np.arange(1.0, STEPS + 1), np.full(STEPS, float(STEPS))
        whole = compute_coefficients(rule, StepWindow(t, ETA, period, 0.1, 0.1, lambda: ETA))
        late = compute_coefficients(rule, StepWindow(t[-10:], ETA[-10:], period[-10:], 0.1, 0.1, lambda: ETA))
        for key, values in whole.items():
            np.testing.assert_array_equal(values[-10:], late[key], err_msg=f"{name} {key}")
