"""Optimizer settings in; a function that takes one step out: torch.optim where torch has the rule, else our kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from adamcmp.config.build import find
from adamcmp.config.schema import SGD, Adagrad, Adam, Constant, Cosine, DropStep, OwnOptimizer, WarmRestarts
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
    """η_t and the period of every step of a run."""
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
    return schedules.with_warmup(schedule, settings.warmup_steps)


def first_period(run: Run) -> float:
    """Steps of a run's schedule, the warmup left out, or of its first period where it restarts."""
    if isinstance(run.schedule, WarmRestarts):
        return max(run.schedule.T_0 * run.task.steps_per_epoch, 1.0)
    return float(run.task.steps - run.schedule.warmup_steps)


def adaptive_hyper(settings: Adam | Adagrad, decayed: bool = True) -> AdaptiveHyper:
    """The kernel's form of Adam's and Adagrad's settings, for one run."""
    match settings:
        case Adam():
            betas, before, correction = settings.betas, settings.eps_placement == "before", settings.bias_correction
        case Adagrad():
            betas, before, correction = (0.0, 0.0), False, False
    return AdaptiveHyper(
        lr=np.array([settings.lr]),
        beta1=np.array([betas[0]]),
        beta2=np.array([betas[1]]),
        eps=np.array([settings.eps]),
        doors=doors(settings.decay, settings.weight_decay if decayed else 0.0, settings.lr),
        sums=np.array([isinstance(settings, Adagrad)]),
        eps_before=np.array([before]),
        bias_correction=np.array([correction]),
    )


def momentum_hyper(settings: SGD, decayed: bool = True) -> MomentumHyper:
    """The kernel's form of SGD's settings, for one run."""
    return MomentumHyper(
        lr=np.array([settings.lr]),
        momentum=np.array([settings.momentum]),
        doors=doors(settings.decay, settings.weight_decay if decayed else 0.0, settings.lr),
        nesterov=np.array([settings.nesterov]),
        lr_in_buffer=np.array([settings.lr_in_buffer]),
    )


def coefficient_table(rules: Sequence[AnyRule], matrices: bool, start: int, eta_TR: Array, period_TR: Array) -> Array:
    """The kernel's coefficients of T steps from ``start`` (from 0) on for R rules of one kernel: (C, T, R).

    ``matrices`` says of which parameters: those with two or more axes, or the others, which ``no_bias_norm`` spares.
    """
    spared = [not matrices and not isinstance(rule, OwnOptimizer) and rule.decayed != "all" for rule in rules]
    steps = np.arange(start + 1, start + 1 + len(eta_TR), dtype=np.float64)[:, None]
    if isinstance(rules[0], SGD):
        momentum = _joined([momentum_hyper(r, not s) for r, s in zip(rules, spared, strict=True)])  # type: ignore[arg-type]
        return momentum_coefficients(momentum, eta_TR, period_TR)
    adaptive = _joined([adaptive_hyper(r, not s) for r, s in zip(rules, spared, strict=True)])  # type: ignore[arg-type]
    return adaptive_coefficients(adaptive, steps, eta_TR, period_TR)


def initial_state(rule: AnyRule) -> tuple[float, float]:
    """Where first and second moments (or the momentum buffer, the last of them) start."""
    return 0.0, rule.initial_accumulator_value if isinstance(rule, Adagrad) else 0.0


def _joined(hypers: Sequence[Any]) -> Any:
    """One hyper of R runs from R hypers of one run."""
    first = hypers[0]
    if isinstance(first, tuple):
        return type(first)(*(_joined(each) for each in zip(*hypers, strict=True)))
    return np.concatenate(hypers)


def is_decayed(settings: AnyRule, parameter: Tensor) -> bool:
    """Whether weight decay applies: to all parameters, or only to those with two or more axes (no bias, no norm)."""
    return isinstance(settings, OwnOptimizer) or settings.decayed == "all" or parameter.ndim >= 2


def make_update(settings: AnyRule, model: nn.Module, schedule: schedules.Schedule) -> Update:
    """The function that takes a step of this optimizer on this model.

    Raises:
        InputError: an own class cannot be imported or built, or is no ``torch.optim.Optimizer``.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = _torch_optimizer(settings, parameters)
    if optimizer is not None:
        return _TorchUpdate(optimizer, schedule)
    match settings:
        case Adam() | Adagrad():
            return _adaptive(settings, parameters, schedule)
        case SGD():
            return _momentum(settings, parameters, schedule)
        case OwnOptimizer():
            return _TorchUpdate(_own_optimizer(settings, parameters), schedule)


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


def _torch_optimizer(settings: AnyRule, parameters: list[nn.Parameter]) -> torch.optim.Optimizer | None:
    """Torch's own optimizer, where torch has exactly this rule."""
    if isinstance(settings, OwnOptimizer):
        return None
    decayed = [p for p in parameters if is_decayed(settings, p)]
    others = [p for p in parameters if not is_decayed(settings, p)]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    fused = all(p.device.type in {"cpu", "cuda"} for p in parameters)
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


def _own_optimizer(settings: OwnOptimizer, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    kind = find(settings.target, "optimizer")
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


def _adaptive(settings: Adam | Adagrad, parameters: list[nn.Parameter], schedule: schedules.Schedule) -> Update:
    start = settings.initial_accumulator_value if isinstance(settings, Adagrad) else 0.0
    moments = [(torch.zeros_like(p), torch.full_like(p, start)) for p in parameters]
    hypers = {decayed: adaptive_hyper(settings, decayed) for decayed in (True, False)}

    def coefficients(decayed: bool, t: int, eta: Array, period: Array) -> AdaptiveCoefficients:
        return AdaptiveCoefficients(*adaptive_coefficients(hypers[decayed], t + 1, eta, period)[:, 0].tolist())

    return _KernelUpdate(settings, parameters, moments, schedule, coefficients, adaptive_update)


def _momentum(settings: SGD, parameters: list[nn.Parameter], schedule: schedules.Schedule) -> Update:
    buffers = [(torch.zeros_like(p),) for p in parameters]
    hypers = {decayed: momentum_hyper(settings, decayed) for decayed in (True, False)}

    def coefficients(decayed: bool, _: int, eta: Array, period: Array) -> MomentumCoefficients:
        return MomentumCoefficients(*momentum_coefficients(hypers[decayed], eta, period)[:, 0].tolist())

    return _KernelUpdate(settings, parameters, buffers, schedule, coefficients, momentum_update)


class _KernelUpdate:
    """Steps of one of our kernels, with the coefficients that decayed and spared parameters need."""

    def __init__(
        self,
        settings: AnyRule,
        parameters: list[nn.Parameter],
        buffers: Sequence[tuple[Tensor, ...]],
        schedule: schedules.Schedule,
        coefficients: Callable[[bool, int, Array, Array], Any],
        kernel: Callable[..., None],
    ) -> None:
        self._states = [(p, is_decayed(settings, p), own) for p, own in zip(parameters, buffers, strict=True)]
        self._needed = {decayed for _, decayed, _ in self._states}
        self._schedule, self._coefficients, self._kernel = schedule, coefficients, kernel

    @torch.no_grad()
    def step(self, t: int) -> None:
        eta, period = self._schedule.step(t)
        now = {decayed: self._coefficients(decayed, t, eta, period) for decayed in self._needed}
        for p, decayed, own in self._states:
            if p.grad is not None:
                self._kernel(p, p.grad, *own, now[decayed])

    def state(self) -> Any:
        return [list(own) for _, _, own in self._states]

    def load(self, state: Any) -> None:
        for (_, _, own), stored in zip(self._states, state, strict=True):
            for tensor, value in zip(own, stored, strict=True):
                tensor.copy_(value)
