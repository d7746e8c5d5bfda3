"""Coefficients of optimizers: learning rate, weight decay and rule constants of every step, by kind of parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from adamcmp.base_settings import ParamGroup
from adamcmp.config.instantiate import call_target
from adamcmp.config.schema import (
    AnyRule,
    Constant,
    Cosine,
    CustomSchedule,
    DropStep,
    Linear,
    WarmRestarts,
    WarmupStableDecay,
)
from adamcmp.errors import InputError
from adamcmp.optim import schedules
from adamcmp.optim.decay import NOT_SCALED_BY_LR, Array
from adamcmp.optim.rule import Rule, StepWindow, compute_coefficients
from adamcmp.plan.runs import Run


def schedule_of(run: Run) -> schedules.Schedule:
    """Return η_t and the period of every step of a run.

    Raises:
        InputError: a custom schedule cannot be imported, or fails.
    """
    settings, steps = run.schedule, run.task.steps - run.schedule.warmup_steps
    match settings:
        case Constant():
            schedule = schedules.constant(steps)
        case DropStep():
            schedule = schedules.drop_step(steps, milestones=settings.milestones, factor=settings.factor)
        case Cosine():
            schedule = schedules.cosine(steps, eta_min=settings.eta_min)
        case WarmRestarts():
            schedule = schedules.warm_restarts(
                steps, first_period=first_period(run), multiplier=settings.T_mult, eta_min=settings.eta_min
            )
        case Linear():
            schedule = schedules.linear(steps, eta_min=settings.eta_min)
        case WarmupStableDecay():
            schedule = schedules.warmup_stable_decay(
                steps, decay_fraction=settings.decay_fraction, shape=settings.shape, eta_min=settings.eta_min
            )
        case CustomSchedule():
            schedule = schedules.custom_schedule(steps, lambda t: _custom_multiplier(settings, t, steps))
    return schedules.with_warmup(schedule, settings.warmup_steps)


def _custom_multiplier(settings: CustomSchedule, t: int, steps: int) -> float:
    """Return η_t of a custom schedule, t from 0.

    Raises:
        InputError: it fails, or gives anything but a finite number of at least 0.
    """
    multiplier: Any = call_target(settings.target, "schedule", settings.arguments, step=t, steps=steps)
    if isinstance(multiplier, bool) or not isinstance(multiplier, Real) or not 0 <= float(multiplier) < math.inf:
        raise InputError(
            f"schedule._target_={settings.target}: gives {multiplier!r} at step {t} of {steps}; must be a finite "
            "number, 0 or larger, which multiplies the learning rate"
        )
    return float(multiplier)


def first_period(run: Run) -> float:
    """Return the steps of a run's schedule, the warmup left out, or of its first period where it restarts."""
    if isinstance(run.schedule, WarmRestarts):
        return max(run.schedule.T_0 * run.task.steps_per_epoch, 1.0)
    return float(run.task.steps - run.schedule.warmup_steps)


class ParamKind(NamedTuple):
    """Parameters that share their coefficients."""

    group: int | None
    """Which of the optimizer's groups they belong to."""
    matrix: bool
    """They have two or more axes: ``no_bias_norm`` spares the others."""
    part: str = ""
    """Which of the rule's parts treats them."""
    ratio: float = 1.0
    """Width of the parameters relative to the base width, at which their learning rate is α (μP); 1 for other
    models."""


def param_kind(rule: AnyRule, name: str, parameter: Tensor, model: object) -> ParamKind:
    """Return the kind of a parameter: that of the first group with a pattern that fits its name."""
    fitting = (
        i for i, group in enumerate(rule.groups) if any(fnmatchcase(name, pattern) for pattern in group.patterns)
    )
    part = rule.part(name, tuple(parameter.shape)) if isinstance(rule, Rule) else ""
    ratios: Mapping[str, float] = getattr(model, "width_ratios", {})
    return ParamKind(next(fitting, None), parameter.ndim >= 2, part, ratios.get(name, 1.0))


def lr_and_decay(rule: AnyRule, kind: ParamKind) -> tuple[float, float]:
    """Return the peak learning rate and λ of a kind of parameters."""
    group = ParamGroup(params=()) if kind.group is None else rule.groups[kind.group]
    if group.lr_scale == 0:
        return 0.0, 0.0  # frozen, whatever the convention: some decay without the learning rate
    spared = not kind.matrix and isinstance(rule, Rule) and rule.decayed != "all"
    usual = 0.0 if spared else rule.weight_decay
    lr, weight_decay = rule.lr * group.lr_scale, usual if group.weight_decay is None else group.weight_decay
    if kind.ratio == 1 or not isinstance(rule, Rule):
        return lr, weight_decay
    power = rule.width_decay + (rule.width_lr if rule.decay in NOT_SCALED_BY_LR else 0.0)
    return lr * kind.ratio**rule.width_lr, weight_decay * kind.ratio**power


class CoefficientTable(NamedTuple):
    """Coefficients of T steps of one run, for parameters of one kind."""

    names: tuple[str, ...]
    values: Array
    """(T, C)."""


def build_coefficient_table(
    rule: Rule, kind: ParamKind, schedule: schedules.Schedule, start: int, stop: int
) -> CoefficientTable:
    """Return the coefficients of the steps from ``start`` to before ``stop``, counted from 0."""
    window = schedule.window(start, stop)
    lr, weight_decay = lr_and_decay(rule, kind)
    coefficients = compute_coefficients(
        rule,
        StepWindow(
            t=np.arange(start + 1, start + 1 + len(window.eta_T), dtype=np.float64),
            eta=window.eta_T,
            period=window.period_T,
            peak=lr,
            weight_decay=weight_decay,
            until=lambda: schedule.window(0, stop).eta_T,
            part=kind.part,
        ),
    )
    return CoefficientTable(tuple(coefficients), np.stack(list(coefficients.values()), axis=1))


def ema_weight(beta: float, t: int) -> float:
    """Return the weight of the parameters after step t (from 0) in their moving average: (1 − β) / (1 − β^(t+1)).

    So the average is Σ β^(t−i) θ_i / Σ β^(t−i), without bias to where it began, as Adam corrects its moments.
    """
    return (1 - beta) / (1 - beta ** (t + 1))
