"""Optimizer settings in; a function that takes one step out: torch.optim where torch has the rule, else our kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from adamcmp.config.build import call, find
from adamcmp.config.schema import (
    SGD,
    Adagrad,
    Adam,
    Constant,
    Cosine,
    DropStep,
    Group,
    Linear,
    OwnOptimizer,
    OwnSchedule,
    WarmRestarts,
    WarmupStableDecay,
)
from adamcmp.errors import InputError, told
from adamcmp.optim import schedules
from adamcmp.optim.adaptive import AdaptiveCoefficients, AdaptiveHyper, adaptive_coefficients, adaptive_update
from adamcmp.optim.decay import Array, doors
from adamcmp.optim.momentum import MomentumCoefficients, MomentumHyper, momentum_coefficients, momentum_update
from adamcmp.plan.runs import AnyRule, Run


class Update(Protocol):
    """An optimizer at work on one model."""

    def step(self, t: int) -> None:
        """Take step t (from 0): read the gradients, change the parameters."""

    def state(self) -> Any:
        """What a checkpoint has to hold of it."""

    def load(self, state: Any) -> None:
        """Go on from a checkpoint."""


def schedule_of(run: Run) -> schedules.Schedule:
    """η_t and the period of every step of a run.

    Raises:
        InputError: an own schedule cannot be imported, or fails.
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
        case OwnSchedule():
            schedule = schedules.own(steps, lambda t: _own_eta(settings, t, steps))
    return schedules.with_warmup(schedule, settings.warmup_steps)


def _own_eta(settings: OwnSchedule, t: int, steps: int) -> float:
    """η_t of an own schedule, t from 0.

    Raises:
        InputError: it fails, or gives anything but a finite number of at least 0.
    """
    given: Any = call(settings.target, "schedule", settings.arguments, step=t, steps=steps)
    if isinstance(given, bool) or not isinstance(given, Real) or not 0 <= float(given) < math.inf:
        raise InputError(
            f"schedule._target_={settings.target}: gives {given!r} at step {t} of {steps}; must be a finite number, 0 "
            "or larger, which multiplies the learning rate"
        )
    return float(given)


def first_period(run: Run) -> float:
    """Steps of a run's schedule, the warmup left out, or of its first period where it restarts."""
    if isinstance(run.schedule, WarmRestarts):
        return max(run.schedule.T_0 * run.task.steps_per_epoch, 1.0)
    return float(run.task.steps - run.schedule.warmup_steps)


class Kind(NamedTuple):
    """Parameters that share their coefficients."""

    group: int | None
    """Which of the optimizer's groups they belong to."""
    matrix: bool
    """They have two or more axes: ``no_bias_norm`` spares the others."""


EVERY = Kind(None, True)
"""Parameters that no setting treats otherwise."""


def kind_of(name: str, parameter: Tensor, groups: Sequence[Group]) -> Kind:
    """What a parameter is: of the first group with a pattern that fits its name."""
    fitting = (i for i, group in enumerate(groups) if any(fnmatchcase(name, each) for each in group.patterns))
    return Kind(next(fitting, None), parameter.ndim >= 2)


def lr_and_decay(rule: AnyRule, kind: Kind) -> tuple[float, float]:
    """Peak learning rate and λ of parameters of a kind."""
    group = Group(params=()) if kind.group is None else rule.groups[kind.group]
    spared = not kind.matrix and not isinstance(rule, OwnOptimizer) and rule.decayed != "all"
    usual = 0.0 if spared else rule.weight_decay
    return rule.lr * group.lr_scale, usual if group.weight_decay is None else group.weight_decay


def adaptive_hyper(settings: Adam | Adagrad, kind: Kind = EVERY) -> AdaptiveHyper:
    """The kernel's form of Adam's and Adagrad's settings, for one run."""
    lr, weight_decay = lr_and_decay(settings, kind)
    match settings:
        case Adam():
            betas, before, correction = settings.betas, settings.eps_placement == "before", settings.bias_correction
        case Adagrad():
            betas, before, correction = (0.0, 0.0), False, False
    return AdaptiveHyper(
        lr=np.array([lr]),
        beta1=np.array([betas[0]]),
        beta2=np.array([betas[1]]),
        eps=np.array([settings.eps]),
        doors=doors(settings.decay, weight_decay, lr),
        sums=np.array([isinstance(settings, Adagrad)]),
        eps_before=np.array([before]),
        bias_correction=np.array([correction]),
    )


def momentum_hyper(settings: SGD, kind: Kind = EVERY) -> MomentumHyper:
    """The kernel's form of SGD's settings, for one run."""
    lr, weight_decay = lr_and_decay(settings, kind)
    return MomentumHyper(
        lr=np.array([lr]),
        momentum=np.array([settings.momentum]),
        doors=doors(settings.decay, weight_decay, lr),
        nesterov=np.array([settings.nesterov]),
        lr_in_buffer=np.array([settings.lr_in_buffer]),
    )


def coefficient_table(rules: Sequence[AnyRule], kind: Kind, start: int, eta_TR: Array, period_TR: Array) -> Array:
    """The kernel's coefficients of T steps from ``start`` (from 0) on for R rules of one kernel: (C, T, R).

    ``kind`` says of which parameters.
    """
    steps = np.arange(start + 1, start + 1 + len(eta_TR), dtype=np.float64)[:, None]
    if isinstance(rules[0], SGD):
        momentum = _joined([momentum_hyper(rule, kind) for rule in rules])  # type: ignore[arg-type]
        return momentum_coefficients(momentum, eta_TR, period_TR)
    adaptive = _joined([adaptive_hyper(rule, kind) for rule in rules])  # type: ignore[arg-type]
    return adaptive_coefficients(adaptive, steps, eta_TR, period_TR)


def average_share(beta: float, t: int) -> float:
    """What the weights after step t (from 0) take of their moving average: (1 − β) / (1 − β^(t+1)).

    So the average is Σ β^(t−i) θ_i / Σ β^(t−i), without bias to where it began, as Adam corrects its moments.
    """
    return (1 - beta) / (1 - beta ** (t + 1))


def initial_state(rule: AnyRule) -> tuple[float, float]:
    """Where first and second moments (or the momentum buffer, the last of them) start."""
    return 0.0, rule.initial_accumulator_value if isinstance(rule, Adagrad) else 0.0


def _joined(hypers: Sequence[Any]) -> Any:
    """One hyper of R runs from R hypers of one run."""
    first = hypers[0]
    if isinstance(first, tuple):
        return type(first)(*(_joined(each) for each in zip(*hypers, strict=True)))
    return np.concatenate(hypers)


def make_update(settings: AnyRule, model: nn.Module, schedule: schedules.Schedule) -> Update:
    """The function that takes a step of this optimizer on this model.

    Raises:
        InputError: an own class cannot be imported or built, or is no ``torch.optim.Optimizer``.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    kinds = {name: kind_of(name, p, settings.groups) for name, p in trained.items()}
    _check_groups(settings, kinds)
    if isinstance(settings, OwnOptimizer):
        return _TorchUpdate(_own_optimizer(settings, trained, kinds), schedule)
    optimizer = _torch_optimizer(settings, trained, kinds)
    if optimizer is not None:
        return _TorchUpdate(optimizer, schedule)
    parameters = list(zip(trained.values(), kinds.values(), strict=True))
    if isinstance(settings, SGD):
        return _momentum(settings, parameters, schedule)
    return _adaptive(settings, parameters, schedule)


def _check_groups(settings: AnyRule, kinds: Mapping[str, Kind]) -> None:
    """Refuse a group that no parameter belongs to: its pattern is misspelt, or stands behind one that takes all."""
    held = {kind.group for kind in kinds.values()}
    for i, group in enumerate(settings.groups):
        if i not in held:
            raise InputError(
                f"optimizer.groups: no parameter belongs to {', '.join(group.patterns)} (the first group that fits "
                f"counts); trained are {', '.join(list(kinds)[:8])}{', …' if len(kinds) > 8 else ''}"
            )


def _by_kind(settings: AnyRule, trained: Mapping[str, nn.Parameter], kinds: Mapping[str, Kind]) -> list[dict[str, Any]]:
    """Parameters as torch.optim takes them, a group for each learning rate and λ."""
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in trained.items():
        found.setdefault(lr_and_decay(settings, kinds[name]), []).append(p)
    return [{"params": own, "lr": lr, "weight_decay": decay} for (lr, decay), own in found.items()]


class _TorchUpdate:
    """Each group's learning rate, as the optimizer was built with, times η_t."""

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: schedules.Schedule) -> None:
        self._optimizer = optimizer
        self._peaks = [group["lr"] for group in optimizer.param_groups]
        self._schedule = schedule

    def step(self, t: int) -> None:
        eta = float(self._schedule.step(t).eta_T[0])
        for group, lr in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = lr * eta
        self._optimizer.step()

    def state(self) -> Any:
        return self._optimizer.state_dict()

    def load(self, state: Any) -> None:
        self._optimizer.load_state_dict(state)


def _torch_optimizer(
    settings: Adam | Adagrad | SGD, trained: Mapping[str, nn.Parameter], kinds: Mapping[str, Kind]
) -> torch.optim.Optimizer | None:
    """Torch's own optimizer, where torch has exactly this rule."""
    groups = _by_kind(settings, trained, kinds)
    fused = all(p.device.type in {"cpu", "cuda"} for p in trained.values())
    match settings:
        case Adam(decay="l2" | "lr_scaled", eps_placement="after", bias_correction=True):
            kind = torch.optim.Adam if settings.decay == "l2" else torch.optim.AdamW
            return kind(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=fused)
        case Adam(decay="l2", eps_placement="after", bias_correction=False, betas=(0.0, alpha)):
            return torch.optim.RMSprop(groups, lr=settings.lr, alpha=alpha, eps=settings.eps)
        case Adagrad(decay="l2"):
            start = settings.initial_accumulator_value
            return torch.optim.Adagrad(
                groups, lr=settings.lr, eps=settings.eps, initial_accumulator_value=start, fused=fused
            )
        case SGD(decay="l2", lr_in_buffer=False):
            momentum, nesterov = settings.momentum, settings.nesterov
            return torch.optim.SGD(groups, lr=settings.lr, momentum=momentum, nesterov=nesterov, fused=fused)
        case _:
            return None


def _own_optimizer(
    settings: OwnOptimizer, trained: Mapping[str, nn.Parameter], kinds: Mapping[str, Kind]
) -> torch.optim.Optimizer:
    kind = find(settings.target, "optimizer")
    parameters: list[Any] = list(trained.values())
    if settings.groups:
        parameters = _by_kind(settings, trained, kinds)
        if "weight_decay" not in settings.model_fields_set:  # the class has a λ of its own
            parameters = [{k: v for k, v in each.items() if k != "weight_decay" or v} for each in parameters]
    decay = {"weight_decay": settings.weight_decay} if "weight_decay" in settings.model_fields_set else {}
    try:
        optimizer = kind(parameters, lr=settings.lr, **decay, **settings.arguments)
    except Exception as error:  # an own class may fail in any way while it is built
        matrices = isinstance(error, ValueError) and "2D" in str(error)
        hint = "; name a class that gives the others to AdamW, as docs/extending.md shows" if matrices else ""
        raise InputError(f"optimizer: {settings.target} cannot be built: {told(error)}{hint}") from error
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(
            f"optimizer._target_={settings.target}: gives a {type(optimizer).__name__}; must be a torch.optim.Optimizer"
        )
    return optimizer


Kinds = Sequence[tuple[nn.Parameter, Kind]]


def _adaptive(settings: Adam | Adagrad, parameters: Kinds, schedule: schedules.Schedule) -> Update:
    start = settings.initial_accumulator_value if isinstance(settings, Adagrad) else 0.0
    moments = [(torch.zeros_like(p), torch.full_like(p, start)) for p, _ in parameters]
    hypers = {kind: adaptive_hyper(settings, kind) for _, kind in parameters}

    def coefficients(kind: Kind, t: int, eta: Array, period: Array) -> AdaptiveCoefficients:
        return AdaptiveCoefficients(*adaptive_coefficients(hypers[kind], t + 1, eta, period)[:, 0].tolist())

    return _KernelUpdate(parameters, moments, schedule, coefficients, adaptive_update)


def _momentum(settings: SGD, parameters: Kinds, schedule: schedules.Schedule) -> Update:
    buffers = [(torch.zeros_like(p),) for p, _ in parameters]
    hypers = {kind: momentum_hyper(settings, kind) for _, kind in parameters}

    def coefficients(kind: Kind, _: int, eta: Array, period: Array) -> MomentumCoefficients:
        return MomentumCoefficients(*momentum_coefficients(hypers[kind], eta, period)[:, 0].tolist())

    return _KernelUpdate(parameters, buffers, schedule, coefficients, momentum_update)


class _KernelUpdate:
    """Steps of one of our kernels, with the coefficients that each kind of parameters needs."""

    def __init__(
        self,
        parameters: Kinds,
        buffers: Sequence[tuple[Tensor, ...]],
        schedule: schedules.Schedule,
        coefficients: Callable[[Kind, int, Array, Array], Any],
        kernel: Callable[..., None],
    ) -> None:
        self._states = [(p, kind, own) for (p, kind), own in zip(parameters, buffers, strict=True)]
        self._needed = {kind for _, kind in parameters}
        self._schedule, self._coefficients, self._kernel = schedule, coefficients, kernel

    @torch.no_grad()
    def step(self, t: int) -> None:
        eta, period = self._schedule.step(t)
        now = {kind: self._coefficients(kind, t, eta, period) for kind in self._needed}
        for p, kind, own in self._states:
            if p.grad is not None:
                self._kernel(p, p.grad, *own, now[kind])

    def state(self) -> Any:
        return [list(own) for _, _, own in self._states]

    def load(self, state: Any) -> None:
        for (_, _, own), stored in zip(self._states, state, strict=True):
            for tensor, value in zip(own, stored, strict=True):
                tensor.copy_(value)
