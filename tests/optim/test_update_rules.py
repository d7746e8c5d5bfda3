"""The kernels against a reference that follows the papers' equations, one scalar at a time.

The reference shares nothing with ``adamcmp.optim``: no coefficients, no schedule, no tensors. Updates are compared
relative to the start point, at every step, so that small updates cannot hide behind large weights.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from adamcmp.optim.schedules import warm_restarts, with_warmup

TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}

# A training of 50 epochs: N examples in batches of B, restarts after 4, 8, 16, … epochs, a warmup of 9 steps.
EXAMPLES, BATCH = 64, 8
STEPS_PER_EPOCH = EXAMPLES // BATCH
FIRST_PERIOD_EPOCHS, MULTIPLIER, WARMUP = 4, 2, 9
STEPS = 360

START = [0.7, -1.3, 25.0, 1e-3, -0.2, 100.0]
NOISE_TP = np.random.default_rng(0).normal(size=(STEPS, len(START))) * [1.0, 0.1, 3.0, 1.0, 1e-2, 1.0]
NOISE_TP[:, 4] *= np.random.default_rng(1).random(STEPS) < 0.2  # a feature that is seldom there


def gradient_of_one(t: int, i: int, theta: float) -> float:
    """g_{t,i}: noise and the slope of √(1 + θ²)."""
    return float(NOISE_TP[t - 1, i]) + 0.3 * theta / math.sqrt(1.0 + theta * theta)


def gradient(t, theta_RP):
    return np.array([[gradient_of_one(t, i, float(x)) for i, x in enumerate(row)] for row in theta_RP])


def reference_schedule() -> list[tuple[float, int]]:
    """(η_t, epochs of the current period) of each step, by counting."""
    rolled = [((t + 1) / WARMUP, FIRST_PERIOD_EPOCHS) for t in range(WARMUP)]
    epochs, current = FIRST_PERIOD_EPOCHS, 0
    while len(rolled) < STEPS:
        rolled.append((0.5 + 0.5 * math.cos(math.pi * current / (epochs * STEPS_PER_EPOCH)), epochs))
        current += 1
        if current == epochs * STEPS_PER_EPOCH:
            epochs, current = epochs * MULTIPLIER, 0
    return rolled


def decoupled_decay(convention: str, lr: float, weight_decay: float, eta: float, epochs: int) -> float:
    """The factor of θ_old in each decoupled convention."""
    if convention == "lr_scaled":
        return eta * lr * weight_decay
    if convention == "schedule_only":
        return eta * weight_decay
    if convention == "normalized":
        return eta * weight_decay * math.sqrt(BATCH / (EXAMPLES * epochs))
    return 0.0


def reference_adam(*, lr, beta1, beta2, eps, convention, weight_decay, eps_before, bias_correction):
    """Kingma & Ba 2015, Algorithm 1, with the decay of Loshchilov & Hutter 2019, Algorithm 2."""
    theta, m, v = list(START), [0.0] * len(START), [0.0] * len(START)
    path = [list(theta)]
    for t, (eta, epochs) in enumerate(reference_schedule(), start=1):
        for i, old in enumerate(path[-1]):
            g = gradient_of_one(t, i, old)
            g_m = g + weight_decay * old if convention in ("l2", "l2_m_only") else g
            g_v = g + weight_decay * old if convention in ("l2", "l2_v_only") else g
            m[i] = beta1 * m[i] + (1 - beta1) * g_m
            v[i] = beta2 * v[i] + (1 - beta2) * g_v**2
            m_hat, v_hat, eps_hat = m[i], v[i], eps
            if bias_correction:
                m_hat = m[i] / (1 - beta1**t)
                v_hat = v[i] / (1 - beta2**t)
                if eps_before:  # the ε of m/(√v + ε) is divided by √(1 − β2^t) with the rest
                    eps_hat = eps / math.sqrt(1 - beta2**t)
            step = eta * lr * m_hat / (math.sqrt(v_hat) + eps_hat)
            theta[i] = old - step - decoupled_decay(convention, lr, weight_decay, eta, epochs) * old
        path.append(list(theta))
    return np.array(path)


def reference_adagrad(*, lr, eps, convention, weight_decay):
    """Duchi et al. 2011, with diagonal matrices: θ ← θ − α g / (√Σg² + ε)."""
    theta, total = list(START), [0.0] * len(START)
    path = [list(theta)]
    for t, (eta, epochs) in enumerate(reference_schedule(), start=1):
        for i, old in enumerate(path[-1]):
            g = gradient_of_one(t, i, old)
            if convention == "l2":
                g = g + weight_decay * old
            total[i] = total[i] + g * g
            step = eta * lr * g / (math.sqrt(total[i]) + eps)
            theta[i] = old - step - decoupled_decay(convention, lr, weight_decay, eta, epochs) * old
        path.append(list(theta))
    return np.array(path)


def reference_sgd(*, lr, momentum, convention, weight_decay, nesterov, lr_in_buffer):
    """Loshchilov & Hutter 2019, Algorithm 1 (lr inside the buffer), or torch.optim.SGD's formula (outside)."""
    theta, buffer = list(START), [0.0] * len(START)
    path = [list(theta)]
    for t, (eta, epochs) in enumerate(reference_schedule(), start=1):
        for i, old in enumerate(path[-1]):
            g = gradient_of_one(t, i, old)
            if convention == "l2":
                g = g + weight_decay * old
            if lr_in_buffer:
                buffer[i] = momentum * buffer[i] + eta * lr * g
                step = eta * lr * g + momentum * buffer[i] if nesterov else buffer[i]
            else:
                buffer[i] = momentum * buffer[i] + g
                step = eta * lr * (g + momentum * buffer[i] if nesterov else buffer[i])
            theta[i] = old - step - decoupled_decay(convention, lr, weight_decay, eta, epochs) * old
        path.append(list(theta))
    return np.array(path)


REFERENCE = {"adam": reference_adam, "adagrad": reference_adagrad, "sgd": reference_sgd}
DECAYS = {
    "l2": 0.05,
    "l2_m_only": 0.05,
    "l2_v_only": 0.05,
    "lr_scaled": 0.4,
    "schedule_only": 3e-3,
    "normalized": 0.03,
}
FREE = {"convention": "l2", "weight_decay": 0.0}
ADAM = {"lr": 2e-2, "beta1": 0.9, "beta2": 0.98, "eps": 1e-3, "eps_before": False, "bias_correction": True}

CASES = [
    # (rule, settings); every decay × the place of ε × bias correction
    *(
        (
            "adam",
            {**ADAM, "convention": name, "weight_decay": value, "eps_before": before, "bias_correction": corrected},
        )
        for name, value in DECAYS.items()
        for before in (False, True)
        for corrected in (False, True)
    ),
    ("adam", {**ADAM, **FREE}),
    ("adam", {**ADAM, **FREE, "beta1": 0.0, "bias_correction": False}),  # RMSProp
    ("adam", {**ADAM, "convention": "lr_scaled", "weight_decay": 0.01, "lr": 1e-3, "beta2": 0.999, "eps": 1e-8}),
    *(
        ("adagrad", {"lr": 0.1, "eps": 1e-3, "convention": name, "weight_decay": DECAYS[name]})
        for name in ("l2", "lr_scaled", "schedule_only", "normalized")
    ),
    *(
        (
            "sgd",
            {
                "lr": 2e-2,
                "momentum": 0.9,
                "convention": name,
                "weight_decay": DECAYS[name],
                "nesterov": nesterov,
                "lr_in_buffer": inside,
            },
        )
        for name in ("l2", "lr_scaled", "schedule_only", "normalized")
        for nesterov in (False, True)
        for inside in (False, True)
    ),
]


def label(case):
    rule, settings = case
    flags = [name for name in ("eps_before", "bias_correction", "nesterov", "lr_in_buffer") if settings.get(name)]
    return "-".join([rule, settings["convention"], *flags])


@pytest.fixture
def kernel_path(adaptive_row, momentum_row, walk):
    """θ_0 … θ_T of the kernel for one case, with the package's own schedule."""
    schedule = with_warmup(
        warm_restarts(STEPS - WARMUP, first_period=FIRST_PERIOD_EPOCHS * STEPS_PER_EPOCH, multiplier=float(MULTIPLIER)),
        WARMUP,
    )

    def path(rule, settings):
        extra = {"adagrad": {"sums": True, "beta1": 0.0}}.get(rule, {})
        hyper = momentum_row(**settings) if rule == "sgd" else adaptive_row(**settings, **extra)
        return walk(hyper, np.array([START]), gradient, schedule.whole().eta_T, schedule.whole().period_T)[:, 0]

    return path


@pytest.mark.parametrize("case", CASES, ids=label)
def test_kernel_follows_the_equations(case, kernel_path):
    rule, settings = case
    ours, theirs = kernel_path(rule, settings), REFERENCE[rule](**settings)
    np.testing.assert_allclose(ours[1:] - ours[0], theirs[1:] - theirs[0], **TOLERANCE)
    np.testing.assert_allclose(np.diff(ours, axis=0), np.diff(theirs, axis=0), **TOLERANCE)


def test_the_reference_tells_the_cases_apart():
    """The table could not pass if a setting were ignored: any two trainings end more than 1e-6 apart.

    The exception: without bias correction ε has only one place to stand.
    """
    distinct = [s for s in CASES if not (s[1].get("eps_before") and not s[1]["bias_correction"])]
    ends = [REFERENCE[rule](**settings)[-1] for rule, settings in distinct]
    same = [
        (label(distinct[a]), label(distinct[b]))
        for a in range(len(ends))
        for b in range(a)
        if np.max(np.abs(ends[a] - ends[b])) < 1e-6
    ]
    assert same == []
