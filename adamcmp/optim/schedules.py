r"""Learning-rate schedules: the multiplier η_t, computed for the requested steps.

Step t (counted from 0) is trained with learning rate η_t α. A schedule also tells the number of steps in the period
that each step belongs to, which normalized weight decay needs (Loshchilov & Hutter, Appendix B.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from adamcmp.optim.decay import Array

CHUNK = 256
"""Steps that ``Schedule.step`` computes at once."""


class Window(NamedTuple):
    """A schedule at T steps."""

    eta_T: Array
    """Multiplier of the learning rate at each step."""
    period_T: Array
    """Steps in the period that each step belongs to: those of the schedule, unless it restarts."""


class Schedule:
    """η and the period of each of ``steps`` steps."""

    def __init__(self, steps: int, at: Callable[[Array], Window]) -> None:
        """Wrap ``at``, which computes η and periods for whole numbers of steps, shape (T,), from 0 to ``steps`` − 1."""
        self.steps, self.at = steps, at
        self._start, self._chunk = 0, self.window(0, CHUNK)

    def window(self, start: int, stop: int) -> Window:
        """Return the steps from ``start`` to before ``stop``."""
        return self.at(np.arange(start, min(stop, self.steps), dtype=np.float64))

    def whole(self) -> Window:
        """Return all steps."""
        return self.window(0, self.steps)

    def step(self, t: int) -> Window:
        """Return one step, as arrays of one value; cheap for steps in order."""
        if not self._start <= t < self._start + CHUNK:
            self._start = t - t % CHUNK
            self._chunk = self.window(self._start, self._start + CHUNK)
        i = t - self._start
        return Window(self._chunk.eta_T[i : i + 1], self._chunk.period_T[i : i + 1])


def constant(steps: int) -> Schedule:
    """Return η_t = 1."""
    return Schedule(steps, lambda t: Window(np.ones(len(t)), np.full(len(t), float(steps))))


def drop_step(steps: int, *, milestones: Sequence[float], factor: float) -> Schedule:
    """Return η_t = factor^k, with k the number of milestones (fractions of the budget) that t has reached."""
    reached = np.asarray(milestones)

    def at(t: Array) -> Window:
        passed = np.sum((t / steps)[:, None] >= reached[None, :], axis=1)
        return Window(float(factor) ** passed, np.full(len(t), float(steps)))

    return Schedule(steps, at)


def cosine(steps: int, *, eta_min: float = 0.0) -> Schedule:
    """Return η_t = eta_min + (1 − eta_min)(1 + cos(π t/T))/2: half a cosine over the budget, per step."""
    return warm_restarts(steps, first_period=float(max(steps, 1)), multiplier=1.0, eta_min=eta_min)


def warm_restarts(steps: int, *, first_period: float, multiplier: float, eta_min: float = 0.0) -> Schedule:
    """Return cosine periods of T_0, T_0·T_mult, T_0·T_mult², … steps (SGDR, Loshchilov & Hutter 2017, equation 5).

    η_t = eta_min + (1 − eta_min)(1 + cos(π T_cur/T_i))/2, with T_cur the steps since the last restart and T_i the
    length of the current period. The lengths need not be whole numbers: a period that is fractional in steps starts
    between two of them.

    Args:
        steps: T, the budget.
        first_period: T_0 in steps, > 0.
        multiplier: T_mult, at least 1.
        eta_min: where each period ends.

    Raises:
        ValueError: a period that does not grow, or has no length.
    """
    starts, lengths = restart_periods(steps, first_period, multiplier)
    # a sum of periods that rounds past a whole step restarts at that step
    bounds = np.array(starts) * (1 - 1e-12)
    start_P, length_P = np.array(starts), np.array(lengths)

    def at(t: Array) -> Window:
        period = np.searchsorted(bounds, t, side="right") - 1
        start, length = start_P[period], length_P[period]
        eta = eta_min + (1.0 - eta_min) * 0.5 * (1.0 + np.cos(np.pi * np.maximum(t - start, 0.0) / length))
        return Window(eta, length)

    return Schedule(steps, at)


def linear(steps: int, *, eta_min: float = 0.0) -> Schedule:
    """Return η_t = 1 − (1 − eta_min) t/T: a straight line over the budget, per step."""
    return warmup_stable_decay(steps, decay_fraction=1.0, shape="linear", eta_min=eta_min)


def warmup_stable_decay(
    steps: int, *, decay_fraction: float = 0.2, shape: str = "linear", eta_min: float = 0.0
) -> Schedule:
    """Return η_t = 1, then a fall over the last share of the budget; its warmup is that of every schedule.

    With p = max(0, t/T − (1 − f)) / f, the share of the fall that has passed: η_t = 1 − (1 − eta_min) p, or with √p in
    the place of p (``shape="sqrt"``), which falls faster at first.

    Source: S. Hu et al., MiniCPM, arXiv 2404.06395, section 4; 1 − √p: A. Hägele et al., Scaling Laws and
    Compute-Optimal Training Beyond Fixed Training Durations, arXiv 2405.18392, section 3.
    """
    start = steps - decay_fraction * steps

    def at(t: Array) -> Window:
        passed = np.clip((t - start) / max(steps - start, 1e-12), 0.0, 1.0)
        fallen = np.sqrt(passed) if shape == "sqrt" else passed
        return Window(1.0 - (1.0 - eta_min) * fallen, np.full(len(t), float(steps)))

    return Schedule(steps, at)


def custom_schedule(steps: int, eta: Callable[[int], float]) -> Schedule:
    """Return η_t from a function of the step (from 0), called once per requested step."""
    eta = cache(eta)  # sums over the past ask for all steps again and again
    return Schedule(
        steps, lambda t: Window(np.array([eta(int(step)) for step in t], np.float64), np.full(len(t), float(steps)))
    )


def restart_periods(steps: float, first_period: float, multiplier: float) -> tuple[list[float], list[float]]:
    """Return where each period of ``warm_restarts`` starts, and its length, in steps.

    Raises:
        ValueError: a period that does not grow, or has no length.
    """
    if not (first_period > 0 and multiplier >= 1):
        raise ValueError(f"first_period={first_period}, multiplier={multiplier}: must be > 0 and >= 1")
    starts, lengths = [0.0], [first_period]
    while starts[-1] + lengths[-1] < steps:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * multiplier)
    return starts, lengths


def with_warmup(schedule: Schedule, warmup_steps: int) -> Schedule:
    """Return linear warmup in front of a schedule: η_t = (t + 1)/W for t < W; the schedule then runs from its start.

    The warmup belongs to the first period, whose length in ``period_T`` stays that of the schedule: normalized decay
    counts the steps after the warmup.
    """
    first = schedule.at(np.zeros(1)).period_T[0] if schedule.steps else float(warmup_steps)

    def at(t: Array) -> Window:
        late = t >= warmup_steps
        eta, period = (t + 1) / max(warmup_steps, 1), np.full(len(t), first)
        eta[late], period[late] = schedule.at(t[late] - warmup_steps)
        return Window(eta, period)

    return Schedule(warmup_steps + schedule.steps, at)
