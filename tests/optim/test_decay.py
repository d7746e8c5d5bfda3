"""The doors of each convention, and λ carried from one convention to another."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamcmp.figures.axis_labels import DECAYS
from adamcmp.optim.decay import convert_weight_decay, decay_fraction
from adamcmp.optim.rule import builtin_rule_names, rule_class

DECOUPLED = ["lr_scaled", "schedule_only", "normalized"]
LR, DECAY = 0.02, 0.3
ETA, PERIOD = np.array([0.25]), np.array([400.0])

no_deadline = settings(deadline=None)  # a busy machine is no failure

positive = st.floats(1e-8, 1e4)
lrs = st.floats(1e-6, 10.0)
budgets = st.floats(1.0, 1e7)
conventions = st.sampled_from(DECOUPLED)


@pytest.mark.parametrize(
    ("convention", "d_t"),
    [
        ("l2", 0.0),
        ("l2_m_only", 0.0),
        ("l2_v_only", 0.0),
        ("fixed_norm", 0.0),
        ("lr_scaled", 0.25 * LR * DECAY),
        ("cautious", 0.25 * LR * DECAY),
        ("schedule_only", 0.25 * DECAY),
        ("normalized", 0.25 * DECAY / 20.0),
        ("lr_squared", 0.25**2 * LR * DECAY),
        ("lr_free", DECAY),
    ],
)
def test_shares_of_the_table(convention, d_t):
    np.testing.assert_allclose(decay_fraction(convention, DECAY, LR, ETA, PERIOD), [d_t], rtol=1e-15)


def test_adamc_is_the_square_of_the_rate_over_its_largest():
    """Defazio 2025: λ γ_t² / γ_max, over a whole cosine, γ_t = η_t α."""
    eta = 0.5 + 0.5 * np.cos(np.pi * np.arange(50) / 50)
    rate = eta * LR
    np.testing.assert_allclose(
        decay_fraction("lr_squared", DECAY, LR, eta, np.ones(50)), DECAY * rate**2 / rate.max(), rtol=1e-13
    )


def test_only_normalized_decay_knows_the_period():
    for convention, asked in itertools.product(DECOUPLED, (1.0, 100.0, 2500.0)):
        rate = decay_fraction(convention, DECAY, LR, np.ones(1), np.array([asked]))[0]
        at_one = decay_fraction(convention, DECAY, LR, np.ones(1), np.ones(1))[0]
        assert rate == pytest.approx(at_one / (math.sqrt(asked) if convention == "normalized" else 1.0))


def test_normalized_decay_of_the_paper():
    """Appendix B.1: CIFAR-10, batch 128, 100 epochs, λ_norm 0.05: λ = 2.53e-4, torch's 0.253 at lr 1e-3."""
    of_the_equation = 0.05 * math.sqrt(128 / (50_000 * 100))
    assert of_the_equation == pytest.approx(2.53e-4, rel=1e-3)
    ours = convert_weight_decay(0.05, "normalized", "schedule_only", lr=1e-3, steps=391 * 100)
    assert ours == pytest.approx(of_the_equation, rel=1e-3)  # 391 rounds 390.625 up
    assert convert_weight_decay(0.05, "normalized", "lr_scaled", lr=1e-3, steps=391 * 100) == pytest.approx(
        0.253, rel=1e-3
    )


@no_deadline
@given(weight_decay=positive, lr=lrs, steps=budgets)
def test_paper_decay_is_lr_times_torchs(weight_decay, lr, steps):
    paper = convert_weight_decay(weight_decay, "lr_scaled", "schedule_only", lr=lr, steps=steps)
    assert paper == pytest.approx(lr * weight_decay, rel=1e-12)


@no_deadline
@given(weight_decay=positive, lr=lrs, steps=budgets, source=conventions, target=conventions)
def test_conversion_there_and_back(weight_decay, lr, steps, source, target):
    there = convert_weight_decay(weight_decay, source, target, lr=lr, steps=steps)
    assert convert_weight_decay(there, target, source, lr=lr, steps=steps) == pytest.approx(weight_decay, rel=1e-12)


@no_deadline
@given(weight_decay=positive, lr=lrs, steps=budgets, source=conventions, via=conventions, target=conventions)
def test_conversion_by_way_of_a_third(weight_decay, lr, steps, source, via, target):
    middle = convert_weight_decay(weight_decay, source, via, lr=lr, steps=steps)
    detour = convert_weight_decay(middle, via, target, lr=lr, steps=steps)
    assert detour == pytest.approx(convert_weight_decay(weight_decay, source, target, lr=lr, steps=steps), rel=1e-12)


@no_deadline
@given(weight_decay=positive, lr=lrs, steps=budgets, source=conventions, target=conventions, eta=st.floats(0.0, 1.0))
def test_converted_decay_opens_the_same_door(weight_decay, lr, steps, source, target, eta):
    """Both take the same share off every weight: d_t agrees at every η_t."""
    converted = convert_weight_decay(weight_decay, source, target, lr=lr, steps=steps)
    shares = [
        decay_fraction(name, value, lr, np.array([eta]), np.array([steps]))[0]
        for name, value in ((source, weight_decay), (target, converted))
    ]
    assert shares[0] == pytest.approx(shares[1], rel=1e-12)


@no_deadline
@given(lr=lrs, steps=budgets, source=conventions, target=conventions)
def test_no_decay_is_none_in_every_convention(lr, steps, source, target):
    assert convert_weight_decay(0.0, source, target, lr=lr, steps=steps) == 0.0


@settings(max_examples=20, deadline=None)
@given(source=conventions, target=conventions, lr=st.floats(1e-3, 0.05), share=st.floats(1e-5, 1e-2))
def test_converted_decay_is_the_same_training(adaptive_row, walk, source, target, lr, share):
    """AdamW under two names, over a whole cosine."""
    steps = 25
    eta = 0.5 + 0.5 * np.cos(np.pi * np.arange(steps) / steps)
    paths = []
    for name in (source, target):
        value = convert_weight_decay(share, "schedule_only", name, lr=lr, steps=steps)
        hyper = adaptive_row(lr=lr, convention=name, weight_decay=value)
        paths.append(walk(hyper, np.array([[1.0, -2.0, 0.3]]), lambda t, theta: np.cos(theta + t), eta))
    np.testing.assert_allclose(paths[0], paths[1], rtol=0.0, atol=1e-12)


def test_every_convention_of_every_rule_has_a_name_for_people():
    found = {
        value for name in builtin_rule_names() for value in get_args(rule_class(name).model_fields["decay"].annotation)
    }
    assert found == DECAYS.keys()
