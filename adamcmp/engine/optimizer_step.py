"""Optimizer settings in; a function that takes one step out: torch.optim where torch has the rule, else its kernel."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adamcmp.config.instantiate import find_target
from adamcmp.config.schema import AnyRule, CustomOptimizer
from adamcmp.engine.coefficients import ParamKind, build_coefficient_table, lr_and_decay, param_kind
from adamcmp.errors import InputError, describe_exception
from adamcmp.optim import schedules
from adamcmp.optim.rule import Rule


def row_state(states: Mapping[str, Mapping[str, Tensor]], row: int) -> dict[str, dict[str, Tensor]]:
    """Return the state of one of the runs that stand in front, by name of the parameter."""
    return {name: {key: tensor[row] for key, tensor in state.items()} for name, state in states.items()}


def make_optimizer_step(
    settings: AnyRule, model: nn.Module, schedule: schedules.Schedule, *, ours: bool = False
) -> _TorchStep | _KernelStep:
    """Return an object that takes steps of this optimizer on this model.

    Args:
        settings: of the optimizer.
        model: the model to train.
        schedule: multiplier of the learning rate.
        ours: use the rule's kernel even if torch has a class, for a state with the kernel's names.

    Raises:
        InputError: a custom class cannot be imported or built, or is no ``torch.optim.Optimizer``.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    kinds = {name: param_kind(settings, name, p, model) for name, p in trained.items()}
    _check_groups(settings, kinds)
    if isinstance(settings, CustomOptimizer):
        if any(kind.ratio != 1 for kind in kinds.values()):
            raise InputError(
                f"model.mup_base: learning rates by width are for adamcmp's rules, not {settings.target}; take a "
                "shipped optimizer, or leave mup_base out"
            )
        return _TorchStep(_custom_optimizer(settings, trained, kinds), schedule, trained)
    assert isinstance(settings, Rule)  # a script has its own optimizers
    oracle = settings.oracle
    if ours or oracle is None or not oracle.trains:
        return _KernelStep(settings, trained, kinds, schedule)
    kind, arguments = find_target(oracle.target, "optimizer"), dict(oracle.arguments)
    if "fused" in inspect.signature(kind).parameters:
        fused = {"cpu"} if kind is torch.optim.Adagrad else {"cpu", "cuda"}
        arguments["fused"] = all(p.device.type in fused and not p.is_complex() for p in trained.values())
    return _TorchStep(
        kind(_torch_param_groups(settings, trained, kinds), lr=settings.lr, **arguments), schedule, trained
    )


def _check_groups(settings: AnyRule, kinds: Mapping[str, ParamKind]) -> None:
    """Refuse a group without parameters: its pattern is misspelled, or an earlier pattern takes all of them."""
    held = {kind.group for kind in kinds.values()}
    for i, group in enumerate(settings.groups):
        if i not in held:
            raise InputError(
                f"optimizer.groups: no parameter belongs to {', '.join(group.patterns)} (the first group that fits "
                f"counts); trained are {', '.join(list(kinds)[:8])}{', …' if len(kinds) > 8 else ''}"
            )


def _torch_param_groups(
    settings: AnyRule, trained: Mapping[str, nn.Parameter], kinds: Mapping[str, ParamKind]
) -> list[dict[str, Any]]:
    """Return parameter groups for torch.optim, one for each learning rate and λ."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in trained.items():
        groups.setdefault(lr_and_decay(settings, kinds[name]), []).append(p)
    return [{"params": params, "lr": lr, "weight_decay": decay} for (lr, decay), params in groups.items()]


class _TorchStep:
    """Steps of a ``torch.optim.Optimizer``: the learning rate of each group times η_t.

    Both kinds of steps have ``step(t)``, ``state()`` and ``load(state)`` for checkpoints, ``kept`` (the optimizer's
    state of each parameter after the last step), ``evaluating()`` (the model has the weights that evaluations are of,
    inside the block), and ``holder`` (the object of a user's class, whose attributes may change; None for a rule of
    adamcmp).
    """

    def __init__(self, optimizer: Any, schedule: schedules.Schedule, trained: Mapping[str, nn.Parameter]) -> None:
        self._optimizer, self._trained = optimizer, trained
        if self._averages:
            self._optimizer.train()
        self._peaks = [group["lr"] for group in optimizer.param_groups]
        self._schedule = schedule

    def step(self, t: int) -> None:
        eta = float(self._schedule.step(t).eta_T[0])
        for group, lr in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = lr * eta
        self._optimizer.step()

    @property
    def holder(self) -> object:
        return self._optimizer

    def state(self) -> Any:
        return self._optimizer.state_dict()

    def load(self, state: Any) -> None:
        self._optimizer.load_state_dict(state)

    @property
    def kept(self) -> Mapping[str, Mapping[str, Tensor]]:
        return {name: self._optimizer.state.get(p, {}) for name, p in self._trained.items()}

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        if not self._averages:
            yield
            return
        self._optimizer.eval()
        try:
            yield
        finally:
            self._optimizer.train()

    @property
    def _averages(self) -> bool:
        """It has weights to train and others to evaluate, and switches between them, as schedule-free ones do."""
        return all(callable(getattr(self._optimizer, how, None)) for how in ("train", "eval"))


def _custom_optimizer(
    settings: CustomOptimizer, trained: Mapping[str, nn.Parameter], kinds: Mapping[str, ParamKind]
) -> torch.optim.Optimizer:
    kind = find_target(settings.target, "optimizer")
    parameters: list[Any] = list(trained.values())
    if settings.groups:
        parameters = _torch_param_groups(settings, trained, kinds)
        if not settings.decay_given and not settings.has_decay:  # the class knows no λ
            parameters = [{k: v for k, v in parameter.items() if k != "weight_decay" or v} for parameter in parameters]
    decay = {"weight_decay": settings.weight_decay} if settings.decay_given else {}
    try:
        optimizer = kind(parameters, lr=settings.lr, **decay, **settings.arguments)
    except Exception as error:  # a custom class may fail in any way while it is built
        matrices = isinstance(error, ValueError) and "2D" in str(error)
        hint = "; name a class that gives the others to AdamW, as `adamcmp docs extending` shows" if matrices else ""
        raise InputError(f"optimizer: {settings.target} cannot be built: {describe_exception(error)}{hint}") from error
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(
            f"optimizer._target_={settings.target}: gives a {type(optimizer).__name__}; must be a torch.optim.Optimizer"
        )
    return optimizer


def as_real(p: Tensor) -> Tensor:
    """Return a parameter as the kernels take it: complex numbers as pairs of real ones, as torch's optimizers do."""
    return torch.view_as_real(p) if p.is_complex() else p


class _KernelStep:
    """Steps of a rule's kernel: those of one row of a program."""

    def __init__(
        self,
        rule: Rule,
        trained: Mapping[str, nn.Parameter],
        kinds: Mapping[str, ParamKind],
        schedule: schedules.Schedule,
    ) -> None:
        self._rule, self._kernel, self._schedule = rule, rule.kernel, schedule
        self._names, parameters = list(trained), [(p, kinds[name]) for name, p in trained.items()]
        self._parameters = parameters
        with torch.no_grad():
            self._states = [self._kernel.start(rule, as_real(p.detach())[None], kind.part) for p, kind in parameters]
        self._window = range(0)
        self._tables: dict[ParamKind, tuple[tuple[str, ...], Tensor]] = {}

    @torch.no_grad()
    def step(self, t: int) -> None:
        if t not in self._window:
            start = t - t % schedules.CHUNK
            self._window = range(start, start + schedules.CHUNK)
            for kind, p in {kind: p for p, kind in self._parameters}.items():
                names, values = build_coefficient_table(self._rule, kind, self._schedule, start, self._window.stop)
                self._tables[kind] = names, torch.from_numpy(values.astype(reference_values(p))).to(p.device)
        for (p, kind), state in zip(self._parameters, self._states, strict=True):
            if p.grad is not None:
                names, table = self._tables[kind]
                param, grad = as_real(p), as_real(p.grad)
                now = table[t - self._window.start].view(-1, *(1,) * (param.ndim + 1)).unbind(0)
                self._kernel.update(param[None], grad[None], state, dict(zip(names, now, strict=True)), kind.part)

    @property
    def holder(self) -> object:
        return None

    def state(self) -> Any:
        return self._states

    def load(self, state: Any) -> None:
        for tensors, stored in zip(self._states, state, strict=True):
            for name, value in stored.items():
                tensors[name].copy_(value)

    @property
    def kept(self) -> Mapping[str, Mapping[str, Tensor]]:
        return row_state(dict(zip(self._names, self._states, strict=True)), 0)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        evaluation_weights = self._rule.shown
        if evaluation_weights is None:
            yield
            return
        trained = [p.detach().clone() for p, _ in self._parameters]
        with torch.no_grad():
            for (p, _), state in zip(self._parameters, self._states, strict=True):
                p.copy_(state[evaluation_weights][0])
        try:
            yield
        finally:
            with torch.no_grad():
                for (p, _), weights in zip(self._parameters, trained, strict=True):
                    p.copy_(weights)


def reference_values(p: Tensor) -> type[np.floating[Any]]:
    """Return numbers of which coefficients are made for parameters such as this one."""
    return np.float64 if p.dtype in (torch.float64, torch.complex128) else np.float32
