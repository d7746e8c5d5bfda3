r"""Learning-rate schedules: the multiplier η_t of every step of a training, as arrays of shape (T,).

Step t (counted from 0) is trained with learning rate η_t α. A schedule also tells the number of steps in the period
that each step belongs to, which normalised weight decay needs (Loshchilov & Hutter, Appendix B.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adamcmp.optim.decay import Array


class Schedule(NamedTuple):
    """A schedule, rolled out."""

    eta_T: Array
    """Multiplier of the learning rate at each step."""
    period_T: Array
    """Steps in the period that each step belongs to: T, unless the schedule restarts."""


def constant(steps: int) -> Schedule:
    """η_t = 1."""
    return Schedule(np.ones(steps), np.full(steps, float(steps)))


def drop_step(steps: int, *, milestones: Sequence[float], factor: float) -> Schedule:
    """η_t = factor^k, with k the number of milestones (fractions of the budget) that t has reached."""
    done = np.arange(steps) / max(steps, 1)
    passed = np.sum(done[:, None] >= np.asarray(milestones, dtype=np.float64)[None, :], axis=1)
    return Schedule(factor ** passed.astype(np.float64), np.full(steps, float(steps)))


def cosine(steps: int, *, eta_min: float = 0.0) -> Schedule:
    """η_t = eta_min + (1 − eta_min)(1 + cos(π t/T))/2: half a cosine over the budget, per step."""
    return warm_restarts(steps, first_period=float(max(steps, 1)), multiplier=1.0, eta_min=eta_min)


def warm_restarts(steps: int, *, first_period: float, multiplier: float, eta_min: float = 0.0) -> Schedule:
    """Cosine periods of T_0, T_0·T_mult, T_0·T_mult², … steps (SGDR, Loshchilov & Hutter 2017, equation 5).

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
    if not (first_period > 0 and multiplier >= 1):
        raise ValueError(f"first_period={first_period}, multiplier={multiplier}: must be > 0 and >= 1")
    starts, lengths = [0.0], [first_period]
    while starts[-1] + lengths[-1] < steps:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * multiplier)
    now = np.arange(steps, dtype=np.float64)
    # a sum of periods that rounds past a whole step restarts at that step
    period = np.searchsorted(np.array(starts) * (1 - 1e-12), now, side="right") - 1
    start, length = np.array(starts)[period], np.array(lengths)[period]
    eta = eta_min + (1.0 - eta_min) * 0.5 * (1.0 + np.cos(np.pi * np.maximum(now - start, 0.0) / length))
    return Schedule(eta, length)


def with_warmup(schedule: Schedule, warmup_steps: int) -> Schedule:
    """Linear warmup in front of a schedule: η_t = (t + 1)/W for t < W; the schedule then runs from its start.

    The warmup belongs to the first period, whose length in ``period_T`` stays that of the schedule: normalised decay
    counts the steps after the warmup.
    """
    ramp = np.arange(1, warmup_steps + 1, dtype=np.float64) / max(warmup_steps, 1)
    head = np.full(warmup_steps, schedule.period_T[0] if schedule.period_T.size else float(warmup_steps))
    return Schedule(np.concatenate([ramp, schedule.eta_T]), np.concatenate([head, schedule.period_T]))
