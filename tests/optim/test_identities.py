"""What the papers prove about these updates, shown on the kernels.

Propositions 1 to 3 are those of Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (2019).
"""

from __future__ import annotations

import math

import numpy as np
import pytest

STEPS = 300
START = np.array([0.7, -1.3, 2.0, 0.05])
SCALE = np.array([1.0, 0.1, 10.0, 0.01])  # gradients of different sizes: what an adaptive method reacts to
NOISE_TP = np.random.default_rng(0).normal(size=(STEPS, 4))
CONSTANT_T = np.ones(STEPS)
COSINE_T = 0.5 + 0.5 * np.cos(np.pi * np.arange(STEPS) / STEPS)
DECOUPLED = ["lr_scaled", "schedule_only", "normalized"]
CONVENTIONS = ["l2", "l2_m_only", "l2_v_only", *DECOUPLED]


def gradient(t, theta):
    return SCALE * (np.tanh(theta) + NOISE_TP[t - 1])


def start_of(runs):
    return np.repeat(START[None, :], runs, axis=0)


# --- weight decay: where the conventions agree, and where they cannot


def test_without_decay_every_convention_is_adam(adaptive_row, stack, walk):
    rows = [adaptive_row(lr=1e-2, convention=name, weight_decay=0.0) for name in CONVENTIONS]
    path = walk(stack(rows), start_of(len(rows)), gradient, COSINE_T)
    assert np.ptp(path, axis=1).max() == 0.0
    decayed = walk(adaptive_row(lr=1e-2, convention="l2", weight_decay=0.1), start_of(1), gradient, COSINE_T)
    assert np.max(np.abs(decayed[-1] - path[-1, 0])) > 1e-3


@pytest.mark.parametrize("nesterov", [False, True])
def test_without_decay_every_convention_is_sgd(momentum_row, stack, walk, nesterov):
    rows = [momentum_row(convention=name, nesterov=nesterov) for name in ["l2", *DECOUPLED]]
    path = walk(stack(rows), start_of(len(rows)), gradient, COSINE_T)
    assert np.ptp(path, axis=1).max() == 0.0


def test_l2_is_both_of_its_doors(adaptive_row, walk):
    """m-only and v-only are neither each other nor L2, and each is Adam where the other's moment is all there is."""
    ends = [
        walk(adaptive_row(lr=1e-2, convention=name, weight_decay=0.1), start_of(1), gradient, COSINE_T)[-1, 0]
        for name in ("l2", "l2_m_only", "l2_v_only")
    ]
    gaps = [np.max(np.abs(ends[a] - ends[b])) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert min(gaps) > 1e-3


def test_v_only_decay_pulls_no_weight_to_zero(adaptive_row, walk):
    """Where the gradient is zero, λθ in v alone gives no step; in m it does, and through the third door too."""

    def no_gradient(t, theta):
        return np.zeros_like(theta)

    end = {
        name: walk(
            adaptive_row(lr=1e-3, eps=1.0, convention=name, weight_decay=0.1), start_of(1), no_gradient, CONSTANT_T
        )[-1, 0]
        for name in CONVENTIONS
    }
    np.testing.assert_array_equal(end.pop("l2_v_only"), START)
    for name, theta in end.items():
        assert np.all(np.abs(theta) < np.abs(START)), name


@pytest.mark.parametrize("name", DECOUPLED)
def test_decoupled_decay_is_geometric_where_the_gradient_is_zero(adaptive_row, momentum_row, walk, name):
    """θ_T = θ_0 Π(1 − d_t), with d_t of the table of conventions, whatever the rule."""
    lr, weight_decay, period = 0.02, 0.3, 60.0
    rate = {"lr_scaled": lr * weight_decay, "schedule_only": weight_decay, "normalized": weight_decay / math.sqrt(60)}
    expected = START * np.prod(1.0 - COSINE_T * rate[name])
    for row in (adaptive_row, momentum_row):
        hyper = row(lr=lr, convention=name, weight_decay=weight_decay)
        path = walk(hyper, start_of(1), lambda t, theta: np.zeros_like(theta), COSINE_T, np.full(STEPS, period))
        np.testing.assert_allclose(path[-1, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("eta", [CONSTANT_T, COSINE_T], ids=["constant", "cosine"])
@pytest.mark.parametrize("inside", [False, True])
def test_proposition_1_for_sgd_l2_is_decay_over_lr(momentum_row, walk, eta, inside):
    lr, decay = 0.02, 0.004
    l2 = momentum_row(lr=lr, momentum=0.0, convention="l2", weight_decay=decay / lr, lr_in_buffer=inside)
    sgdw = momentum_row(lr=lr, momentum=0.0, convention="schedule_only", weight_decay=decay, lr_in_buffer=inside)
    paths = [walk(hyper, start_of(1), gradient, eta) for hyper in (l2, sgdw)]
    np.testing.assert_allclose(paths[0], paths[1], rtol=0.0, atol=1e-13)


def test_proposition_1_ends_with_momentum(momentum_row, walk):
    lr, decay = 0.02, 0.004
    l2 = walk(momentum_row(lr=lr, convention="l2", weight_decay=decay / lr), start_of(1), gradient, CONSTANT_T)
    sgdw = walk(momentum_row(lr=lr, convention="schedule_only", weight_decay=decay), start_of(1), gradient, CONSTANT_T)
    assert np.max(np.abs(l2 - sgdw)) > 1e-3


GRID = np.concatenate([[0.0], np.geomspace(1e-4, 1e3, 141)])


def nearest_l2(row, stack, walk, target, *, accumulator=0.0, **settings):
    """Distance from decoupled decay's path to the nearest path with L2, in units of what the decay does.

    Over the grid of λ', with λ' = λ/α among it.
    """
    decay, lr = target["weight_decay"], settings["lr"]
    rows = [row(convention="l2", weight_decay=float(x), **settings) for x in [*GRID, decay / lr]]
    wanted = row(convention="schedule_only", **target, **settings)
    free = row(**settings)
    path = walk(stack([*rows, wanted, free]), start_of(len(rows) + 2), gradient, CONSTANT_T, accumulator=accumulator)
    l2, decayed, undecayed = path[:, :-2], path[:, -2], path[:, -1]
    l2 = l2[:, np.all(np.isfinite(l2), axis=(0, 2))]  # the largest λ' diverge
    return np.min(np.max(np.abs(l2 - decayed[:, None]), axis=(0, 2))) / np.max(np.abs(decayed - undecayed))


def test_proposition_2_for_adam_no_l2_is_decay(adaptive_row, momentum_row, stack, walk):
    """Over the grid of λ', the nearest L2 path misses more than a tenth of what decay does; for SGD one λ' hits."""
    target = {"weight_decay": 0.004}
    assert nearest_l2(momentum_row, stack, walk, target, lr=0.02, momentum=0.0) < 1e-12
    assert nearest_l2(adaptive_row, stack, walk, target, lr=0.02) > 0.1


def test_proposition_2_for_a_fixed_preconditioner(adaptive_row, stack, walk):
    """β2 = 1 without bias correction never moves v: θ ← θ − α g/√v_0. Only M = kI has its λ'."""
    target, fixed = {"weight_decay": 0.004}, {"beta1": 0.0, "beta2": 1.0, "eps": 0.0, "bias_correction": False}
    assert nearest_l2(adaptive_row, stack, walk, target, accumulator=1.0, lr=0.02, **fixed) < 1e-12
    assert nearest_l2(adaptive_row, stack, walk, target, accumulator=SCALE**2, lr=0.02, **fixed) > 0.1


def test_proposition_3_decay_is_a_penalty_scaled_by_the_preconditioner(adaptive_row, walk):
    """With M = diag(s)⁻¹, decay λ is the penalty (λ'/2)‖θ ⊙ √s‖², λ' = λ/α: its slope is λ' s θ."""
    lr, decay, s = 0.02, 0.004, SCALE
    fixed = {"lr": lr, "beta1": 0.0, "beta2": 1.0, "eps": 0.0, "bias_correction": False}

    def penalised(t, theta):
        return gradient(t, theta) + decay / lr * s * theta

    decayed = adaptive_row(convention="schedule_only", weight_decay=decay, **fixed)
    paths = [
        walk(hyper, start_of(1), slope, COSINE_T, accumulator=s**2)
        for hyper, slope in ((decayed, gradient), (adaptive_row(**fixed), penalised))
    ]
    np.testing.assert_allclose(paths[0], paths[1], rtol=0.0, atol=1e-12)


# --- what the rules are made of


def test_rmsprop_is_adam_without_first_moment_and_correction(adaptive_row, walk):
    path = walk(adaptive_row(lr=0.01, beta1=0.0, beta2=0.9, bias_correction=False), start_of(1), gradient, COSINE_T)[
        :, 0
    ]
    theta, v = START.copy(), np.zeros(4)
    for t, eta in enumerate(COSINE_T, start=1):
        g = gradient(t, theta)
        v = 0.9 * v + 0.1 * g**2
        theta = theta - eta * 0.01 * g / (np.sqrt(v) + 1e-8)
        np.testing.assert_allclose(path[t], theta, rtol=0.0, atol=1e-13)


def test_adagrad_steps_fall_as_one_over_root_t(adaptive_row, walk):
    """A constant gradient g: √Σg² = |g|√t, so that step t is α/√t whatever g."""
    g = np.array([[1e-3, -2.0, 50.0, 1.0]])
    hyper = adaptive_row(lr=0.1, beta1=0.0, sums=True, eps=0.0)
    steps = -np.diff(walk(hyper, start_of(1), lambda t, theta: g.copy(), CONSTANT_T), axis=0)[:, 0]
    t = np.arange(1, STEPS + 1)[:, None]
    np.testing.assert_allclose(steps, 0.1 / np.sqrt(t) * np.sign(g), rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("nesterov", [False, True])
def test_place_of_the_lr_matters_only_while_it_changes(momentum_row, walk, nesterov):
    settings = {"convention": "schedule_only", "weight_decay": 1e-3, "nesterov": nesterov}
    outside, inside = (momentum_row(lr_in_buffer=place, **settings) for place in (False, True))
    still = [walk(hyper, start_of(1), gradient, CONSTANT_T) for hyper in (outside, inside)]
    np.testing.assert_allclose(still[0], still[1], rtol=0.0, atol=1e-12)

    halved = np.where(np.arange(STEPS) < STEPS // 2, 1.0, 0.5)
    moving = [walk(hyper, start_of(1), gradient, halved) for hyper in (outside, inside)]
    joint = STEPS // 2 + 1  # θ after as many steps as the lr stood still
    np.testing.assert_allclose(moving[0][:joint], moving[1][:joint], rtol=0.0, atol=1e-12)
    assert np.max(np.abs(moving[0][joint] - moving[1][joint])) > 1e-3


def test_momentum_inside_the_buffer_remembers_the_old_lr(momentum_row, walk):
    """Gradient 1, then lr 0: outside the buffer nothing moves any more, inside it the old steps roll out."""
    eta = np.where(np.arange(STEPS) == 0, 1.0, 0.0)

    def one(t, theta):
        return np.ones_like(theta)

    outside, inside = (
        walk(momentum_row(lr=0.1, momentum=0.5, lr_in_buffer=place), start_of(1), one, eta) for place in (False, True)
    )
    np.testing.assert_allclose(outside[0] - outside[-1], 0.1, rtol=1e-12)
    np.testing.assert_allclose(inside[0] - inside[-1], 0.1 / (1 - 0.5), rtol=1e-12)


def test_nesterov_is_nothing_without_momentum(momentum_row, walk):
    plain, nesterov = (
        walk(momentum_row(momentum=0.0, nesterov=n), start_of(1), gradient, COSINE_T) for n in (False, True)
    )
    np.testing.assert_array_equal(plain, nesterov)


# --- bias correction


def constant_steps(walk, hyper, g, steps):
    """|θ_t − θ_{t−1}|/α under a constant gradient, shape (T,)."""
    path = walk(hyper, np.zeros((1, 1)), lambda t, theta: np.full_like(theta, g), np.ones(steps))
    return np.abs(np.diff(path[:, 0, 0])) / hyper.lr


@pytest.mark.parametrize("g", [1e-4, -3.0, 1e3])
def test_first_steps_with_and_without_bias_correction(adaptive_row, walk, g):
    """Corrected, every step under a constant gradient is α. Else the first is (1−β1)/√(1−β2) α = 3.16 α, at most 6.6 α.

    6.6 is the largest value of (1 − β1^t)/√(1 − β2^t), at about t = 12 for Adam's defaults.
    """
    corrected = constant_steps(walk, adaptive_row(eps=0.0), g, 1000)
    np.testing.assert_allclose(corrected, 1.0, rtol=1e-9)

    raw = constant_steps(walk, adaptive_row(eps=0.0, bias_correction=False), g, 1000)
    assert raw[0] == pytest.approx((1 - 0.9) / math.sqrt(1 - 0.999), rel=1e-9)
    assert raw[0] == pytest.approx(3.16, abs=0.005)
    assert raw.max() == pytest.approx(6.6, abs=0.05)
    t = np.arange(1, 1001)
    np.testing.assert_allclose(raw, (1 - 0.9**t) / np.sqrt(1 - 0.999**t), rtol=1e-9)


def test_epsilon_before_the_correction_is_larger_at_first(adaptive_row, walk):
    """Constant gradient g: step α/(1 + ε/|g|) with ε after, α/(1 + ε/(|g|√(1 − β2^t))) with ε before."""
    g, eps = 0.01, 0.005
    t = np.arange(1, 201)
    after = constant_steps(walk, adaptive_row(eps=eps), g, 200)
    before = constant_steps(walk, adaptive_row(eps=eps, eps_before=True), g, 200)
    np.testing.assert_allclose(after, 1 / (1 + eps / g), rtol=1e-9)
    np.testing.assert_allclose(before, 1 / (1 + eps / (g * np.sqrt(1 - 0.999**t))), rtol=1e-9)


# --- follow-up theory


@pytest.mark.parametrize(
    ("convention", "lr", "weight_decay"),
    [("lr_scaled", 0.1, 0.5), ("lr_scaled", 0.05, 0.5), ("schedule_only", 0.1, 0.05)],
)
def test_adamw_weights_end_at_one_over_lambda(adaptive_row, walk, convention, lr, weight_decay):
    """Xie & Li 2024: ‖θ‖_∞ ≤ 1/λ (lr-scaled λ), reached under a constant gradient: 2.0 at λ = 0.5."""
    g = np.array([[-1.0, 1e-3, -20.0, 4.0]])
    start = np.array([[0.0, 1.0, 30.0, -1.9]])  # inside and outside of the bound
    hyper = adaptive_row(lr=lr, eps=0.0, convention=convention, weight_decay=weight_decay)
    path = walk(hyper, start, lambda t, theta: g.copy(), np.ones(1500))
    np.testing.assert_allclose(path[-1], -2.0 * np.sign(g), rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-4, 3.0, 1e5])
@pytest.mark.parametrize("name", DECOUPLED)
def test_decoupled_decay_is_scale_free(adaptive_row, walk, name, scale):
    """Zhuang et al. 2022: at ε = 0 the loss times c gives the same path."""
    hyper = adaptive_row(lr=0.01, eps=0.0, convention=name, weight_decay=0.02)
    path = walk(hyper, start_of(1), gradient, COSINE_T)
    scaled = walk(hyper, start_of(1), lambda t, theta: scale * gradient(t, theta), COSINE_T)
    np.testing.assert_allclose(scaled, path, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-4, 3.0, 1e5])
@pytest.mark.parametrize("name", ["l2", "l2_m_only", "l2_v_only"])
def test_l2_is_not_scale_free(adaptive_row, walk, name, scale):
    hyper = adaptive_row(lr=0.01, eps=0.0, convention=name, weight_decay=0.02)
    path = walk(hyper, start_of(1), gradient, COSINE_T)
    scaled = walk(hyper, start_of(1), lambda t, theta: scale * gradient(t, theta), COSINE_T)
    assert np.max(np.abs(scaled - path)) > 0.01


def test_large_gradients_weaken_l2_under_adam_but_not_decay(adaptive_row, stack, walk):
    """The pull of λθ is α λ/s for gradients of size s under Adam+L2, α λ under AdamW (claim c of many tutorials).

    Gradients ±s in turn, so that they cancel; one weight per s; what decay took off, relative to no decay.
    """
    s = np.array([[0.1, 1.0, 10.0]])
    rows = [
        adaptive_row(lr=1e-4, eps=0.0, convention=name, weight_decay=value)
        for name, value in (("l2", 1e-3), ("lr_scaled", 1e-3), ("l2", 0.0))
    ]
    alternating = np.repeat(s, 3, axis=0)
    path = walk(stack(rows), np.ones((3, 3)), lambda t, theta: (-1.0) ** t * alternating, np.ones(2000))
    taken_l2, taken_adamw = path[-1, 2] - path[-1, 0], path[-1, 2] - path[-1, 1]
    np.testing.assert_allclose(taken_l2[:-1] / taken_l2[1:], 10.0, rtol=0.05)
    np.testing.assert_allclose(taken_adamw, 2000 * 1e-4 * 1e-3, rtol=0.05)
    np.testing.assert_allclose(taken_l2[1], taken_adamw[1], rtol=0.05)
