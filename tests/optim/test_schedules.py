"""Schedules against closed forms and torch.optim.lr_scheduler."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from adamcmp.optim.schedules import constant, cosine, drop_step, warm_restarts, with_warmup

no_deadline = settings(deadline=None)  # a busy machine is no failure

MAKERS = {
    "constant": constant,
    "drop_step": lambda steps: drop_step(steps, milestones=[0.3, 0.6, 0.8], factor=0.1),
    "cosine": cosine,
    "warm_restarts": lambda steps: warm_restarts(steps, first_period=7.5, multiplier=1.5),
}


def torch_eta(make_scheduler, steps):
    """η_t of a torch scheduler: the lr in front of each step, for a base lr of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make_scheduler(optimizer)
    etas = []
    for _ in range(steps):
        etas.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(etas)


def cosine_at(done):
    return 0.5 + 0.5 * math.cos(math.pi * done)


# --- constant, drops, cosine


@pytest.mark.parametrize("steps", [0, 1, 2, 100])
@pytest.mark.parametrize("name", MAKERS)
def test_edges(name, steps):
    schedule = MAKERS[name](steps)
    assert schedule.whole().eta_T.shape == schedule.whole().period_T.shape == (steps,)
    assert schedule.whole().eta_T.dtype == schedule.whole().period_T.dtype == np.float64
    assert np.all(schedule.whole().eta_T[:1] == 1.0)
    if name != "warm_restarts":
        assert np.all(schedule.whole().period_T == steps)


@pytest.mark.parametrize("name", MAKERS)
def test_a_window_and_a_step_are_parts_of_the_whole(name):
    schedule = with_warmup(MAKERS[name](1000), 7)
    whole = schedule.whole()
    for start, stop in ((0, 3), (5, 9), (900, 1007), (1000, 2000)):
        for part, all_of in zip(schedule.window(start, stop), whole, strict=True):
            np.testing.assert_array_equal(part, all_of[start:stop])
    for t in (0, 6, 7, 255, 256, 1006, 3):
        assert [part.tolist() for part in schedule.step(t)] == [[part[t]] for part in whole]


def test_a_long_schedule_takes_no_memory():
    tracemalloc.start()
    schedule = cosine(10**9)
    schedule.window(10**8, 10**8 + 256)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


def test_constant():
    np.testing.assert_array_equal(constant(5).whole().eta_T, [1.0] * 5)


def test_drop_step_drops_exactly_at_the_milestones():
    """The paper's drops at epochs 30, 60, 80 of 100: the step that begins epoch 30 has the lower lr already."""
    eta = drop_step(1000, milestones=[0.3, 0.6, 0.8], factor=0.1).whole().eta_T
    for before, at, after in ((1.0, 300, 0.1), (0.1, 600, 0.01), (0.01, 800, 0.001)):
        assert eta[at - 1] == pytest.approx(before, rel=1e-15)
        assert eta[at] == pytest.approx(after, rel=1e-15)
    assert [int(np.sum(np.isclose(eta, 10.0**-k, rtol=1e-12, atol=0.0))) for k in range(4)] == [300, 300, 200, 200]


@pytest.mark.parametrize("steps", [10, 100, 330, 1000, 39_100])
def test_drop_step_is_torchs_multistep(steps):
    eta = drop_step(steps, milestones=[0.3, 0.6, 0.8], factor=0.2).whole().eta_T
    at = [steps * 3 // 10, steps * 6 // 10, steps * 8 // 10]
    theirs = torch_eta(lambda o: lr_scheduler.MultiStepLR(o, at, gamma=0.2), min(steps, 2000))
    np.testing.assert_allclose(eta[: len(theirs)], theirs, rtol=1e-12)


@no_deadline
@given(steps=st.integers(1, 400), tenths=st.lists(st.integers(0, 10), max_size=4), factor=st.floats(0.01, 1.0))
def test_drop_step_counts_the_milestones_passed(steps, tenths, factor):
    """Whole-number arithmetic: step t has reached k/10 of T steps where 10 t ≥ k T. Order does not matter."""
    eta = drop_step(steps, milestones=[k / 10 for k in tenths], factor=factor).whole().eta_T
    expected = [factor ** sum(10 * t >= k * steps for k in tenths) for t in range(steps)]
    np.testing.assert_allclose(eta, expected, rtol=1e-12)


def test_drop_step_may_drop_to_nothing_and_may_have_no_milestones():
    np.testing.assert_array_equal(drop_step(4, milestones=[0.5], factor=0.0).whole().eta_T, [1.0, 1.0, 0.0, 0.0])
    np.testing.assert_array_equal(drop_step(4, milestones=[], factor=0.1).whole().eta_T, [1.0] * 4)
    np.testing.assert_array_equal(drop_step(4, milestones=[1.0], factor=0.1).whole().eta_T, [1.0] * 4)


@pytest.mark.parametrize("eta_min", [0.0, 0.1])
@pytest.mark.parametrize("steps", [1, 2, 7, 400])
def test_cosine_closed_form_and_torch(steps, eta_min):
    eta = cosine(steps, eta_min=eta_min).whole().eta_T
    expected = [eta_min + (1 - eta_min) * cosine_at(t / steps) for t in range(steps)]
    np.testing.assert_allclose(eta, expected, rtol=1e-13)
    theirs = torch_eta(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=steps, eta_min=eta_min), steps)
    np.testing.assert_allclose(eta, theirs, rtol=1e-9)  # torch's is a recursion


def test_cosine_landmarks():
    eta = cosine(400).whole().eta_T
    np.testing.assert_allclose(eta[[0, 100, 200, 300]], [1.0, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)])
    assert eta.mean() == pytest.approx(0.5, abs=1 / 400)


# --- warm restarts


@pytest.mark.parametrize("eta_min", [0.0, 0.05])
@pytest.mark.parametrize(("first_period", "multiplier"), [(1, 1), (1, 2), (10, 1), (10, 2), (7, 3), (500, 2)])
def test_warm_restarts_are_torchs(first_period, multiplier, eta_min):
    ours = warm_restarts(400, first_period=float(first_period), multiplier=float(multiplier), eta_min=eta_min)
    theirs = torch_eta(
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=first_period, T_mult=multiplier, eta_min=eta_min), 400
    )
    np.testing.assert_allclose(ours.whole().eta_T, theirs, rtol=1e-12, atol=1e-15)


def test_restarts_of_the_paper():
    """Periods that end at epochs 100, 300, 700, 1500 (T_0 = 100 epochs, T_mult = 2), here of 2 steps."""
    schedule = warm_restarts(3000, first_period=200.0, multiplier=2.0)
    restarts = np.flatnonzero(schedule.whole().eta_T == 1.0)
    np.testing.assert_array_equal(restarts / 2, [0, 100, 300, 700])
    for start, end, length in ((0, 200, 200), (200, 600, 400), (600, 1400, 800), (1400, 3000, 1600)):
        np.testing.assert_array_equal(schedule.whole().period_T[start:end], length)
        assert schedule.whole().eta_T[end - 1] == pytest.approx(cosine_at((length - 1) / length), rel=1e-9)


def test_period_may_be_fractional_in_steps():
    """T_0 = 2.5, T_mult = 1.5: periods [0, 2.5), [2.5, 6.25), [6.25, 11.875)."""
    schedule = warm_restarts(9, first_period=2.5, multiplier=1.5)
    np.testing.assert_array_equal(schedule.whole().period_T, [2.5] * 3 + [3.75] * 4 + [5.625] * 2)
    done = [0 / 2.5, 1 / 2.5, 2 / 2.5, 0.5 / 3.75, 1.5 / 3.75, 2.5 / 3.75, 3.5 / 3.75, 0.75 / 5.625, 1.75 / 5.625]
    np.testing.assert_allclose(schedule.whole().eta_T, [cosine_at(x) for x in done], rtol=1e-13)


def test_a_period_as_long_as_the_budget_is_one_cosine():
    for multiplier in (1.0, 2.0):
        ours = warm_restarts(64, first_period=64.0, multiplier=multiplier, eta_min=0.1)
        np.testing.assert_array_equal(ours.whole().eta_T, cosine(64, eta_min=0.1).whole().eta_T)
        np.testing.assert_array_equal(ours.whole().period_T, np.full(64, 64.0))


@no_deadline
@given(quarters=st.integers(4, 200), multiplier=st.sampled_from([1.0, 1.5, 2.0]), steps=st.integers(1, 300))
def test_warm_restarts_by_counting(quarters, multiplier, steps):
    """Lengths that binary numbers hold exactly: walk from restart to restart."""
    ours = warm_restarts(steps, first_period=quarters / 4, multiplier=multiplier)
    start, length = 0.0, quarters / 4
    for t in range(steps):
        while t >= start + length:
            start, length = start + length, length * multiplier
        assert ours.whole().period_T[t] == length
        assert ours.whole().eta_T[t] == pytest.approx(cosine_at((t - start) / length), abs=1e-12)


@pytest.mark.parametrize(("numerator", "denominator"), [(7, 6), (13, 7), (100, 12), (100, 3), (1000, 48)])
def test_rounding_moves_no_restart(numerator, denominator):
    """``denominator`` periods of numerator/denominator steps are a whole number of steps: one restarts right there."""
    schedule = warm_restarts(4 * numerator, first_period=numerator / denominator, multiplier=1.0)
    np.testing.assert_allclose(schedule.whole().eta_T[::numerator], 1.0, atol=1e-9)


# --- warmup


@pytest.mark.parametrize("warmup", [1, 2, 10])
@pytest.mark.parametrize("name", MAKERS)
def test_warmup_joins_the_schedule(name, warmup):
    """(t + 1)/W: it ends on 1, where the schedule begins; the schedule itself is not cut or moved."""
    bare = MAKERS[name](50)
    warm = with_warmup(bare, warmup)
    np.testing.assert_allclose(warm.whole().eta_T[:warmup], [(t + 1) / warmup for t in range(warmup)], rtol=1e-15)
    assert warm.whole().eta_T[warmup - 1] == warm.whole().eta_T[warmup] == 1.0
    np.testing.assert_array_equal(warm.whole().eta_T[warmup:], bare.whole().eta_T)
    np.testing.assert_array_equal(warm.whole().period_T[:warmup], np.full(warmup, bare.whole().period_T[0]))
    np.testing.assert_array_equal(warm.whole().period_T[warmup:], bare.whole().period_T)


def test_warmup_is_torchs_linear_lr():
    ours = with_warmup(constant(20), 8).whole().eta_T
    theirs = torch_eta(lambda o: lr_scheduler.LinearLR(o, start_factor=1 / 8, total_iters=7), 28)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("name", MAKERS)
def test_no_warmup_changes_nothing(name):
    bare = MAKERS[name](13)
    warm = with_warmup(bare, 0)
    np.testing.assert_array_equal(warm.whole().eta_T, bare.whole().eta_T)
    np.testing.assert_array_equal(warm.whole().period_T, bare.whole().period_T)


@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_warmup_may_be_all_there_is(warmup):
    warm = with_warmup(cosine(0), warmup)
    np.testing.assert_allclose(warm.whole().eta_T, [(t + 1) / warmup for t in range(warmup)])
    np.testing.assert_array_equal(warm.whole().period_T, np.full(warmup, float(warmup)))


# --- any schedule


@st.composite
def schedules(draw):
    """(steps, first multiplier that the schedule may take, the schedule)."""
    steps, warmup = draw(st.integers(0, 300)), draw(st.integers(0, 40))
    eta_min = draw(st.floats(0.0, 1.0))
    kind = draw(st.sampled_from(["constant", "drop_step", "cosine", "warm_restarts"]))
    if kind == "constant":
        schedule = constant(steps)
    elif kind == "drop_step":
        milestones = draw(st.lists(st.floats(0.0, 1.0), max_size=4))
        schedule = drop_step(steps, milestones=milestones, factor=draw(st.floats(0.0, 1.0)))
    elif kind == "cosine":
        schedule = cosine(steps, eta_min=eta_min)
    else:
        first, multiplier = draw(st.floats(1.0, 400.0)), draw(st.floats(1.0, 3.0))
        schedule = warm_restarts(steps, first_period=first, multiplier=multiplier, eta_min=eta_min)
    return kind, steps, warmup, eta_min, schedule


@no_deadline
@given(schedules())
def test_every_schedule_stays_between_0_and_1_and_fills_its_budget(drawn):
    kind, steps, warmup, eta_min, schedule = drawn
    warm = with_warmup(schedule, warmup)
    assert len(schedule.whole().eta_T) == len(schedule.whole().period_T) == steps
    assert len(warm.whole().eta_T) == len(warm.whole().period_T) == steps + warmup
    assert np.all((warm.whole().eta_T >= 0.0) & (warm.whole().eta_T <= 1.0))
    assert np.all(warm.whole().period_T > 0.0)
    if kind in {"cosine", "warm_restarts"}:
        assert np.all(schedule.whole().eta_T >= eta_min - 1e-15)
    if kind != "warm_restarts":
        assert np.all(schedule.whole().period_T == steps)
        assert np.all(np.diff(schedule.whole().eta_T) <= 0.0)
    else:
        assert np.all(np.diff(schedule.whole().period_T) >= 0.0)


@pytest.mark.parametrize(("first_period", "multiplier"), [(0.0, 2.0), (-1.0, 2.0), (5.0, 0.9), (0.0, 0.5)])
def test_periods_that_do_not_grow_or_have_no_length_are_refused(first_period, multiplier):
    says = rf"^first_period={first_period}, multiplier={multiplier}: must be > 0 and >= 1$"
    with pytest.raises(ValueError, match=says):
        warm_restarts(10, first_period=first_period, multiplier=multiplier)


def test_steps_need_not_be_asked_for_in_order():
    schedule = with_warmup(warm_restarts(3000, first_period=100, multiplier=2.0), 10)
    whole = schedule.whole()
    for t in (0, 255, 256, 1, 511, 512, 0, 3009, 257, 255, 256):
        assert (schedule.step(t).eta_T[0], schedule.step(t).period_T[0]) == (whole.eta_T[t], whole.period_T[t])


def test_the_last_restart_is_reached():
    """Periods of 4, 8 and 16 steps: the step at which the next would start is the first behind the budget."""
    period = warm_restarts(28, first_period=4, multiplier=2.0).whole().period_T
    assert period.tolist() == [4] * 4 + [8] * 8 + [16] * 16
    assert warm_restarts(29, first_period=4, multiplier=2.0).whole().period_T[-1] == 32
