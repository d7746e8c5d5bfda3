"""Every rule as a ``torch.optim.Optimizer``, for training loops of the user.

Where torch has the rule with the same steps, its class is returned. Every other rule is a ``RuleOptimizer``, which
calls the kernel that the engine calls. Small parameters of one shape are rows of one kernel call.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adamcmp.config.compose import compose
from adamcmp.config.instantiate import find_target
from adamcmp.config.lookup import find_config
from adamcmp.config.schema import AnyRule, CustomOptimizer
from adamcmp.config.validate import validate_optimizer
from adamcmp.engine.coefficients import lr_and_decay, param_kind
from adamcmp.engine.line_parser import to_number
from adamcmp.engine.optimizer_step import as_real, reference_values
from adamcmp.errors import InputError, describe_exception, suggest_names
from adamcmp.optim.decay import CONVERTIBLE, decay_fraction
from adamcmp.optim.rule import Rule, StepWindow, compute_coefficients
from adamcmp.optim.schedules import CHUNK

MAX_STACKED_SIZE = 1 << 16
"""Largest number of values of a parameter that is stacked with others of its shape: larger ones gain nothing."""
GROUP_KEYS = frozenset({"params", "lr", "weight_decay", "param_names", "name", "initial_lr"})
"""Keys of a parameter group that the user may give; schedulers of torch add the last one."""
ROUNDED_IN_TORCH = ("torch.optim.NAdam",)
"""Classes of torch that keep a coefficient in float32: their steps differ by 1e-8."""
Parameters = Iterable[Any]
"""Parameters, pairs of name and parameter, or mappings with ``params`` and other ``GROUP_KEYS``."""


def optimizer_settings(name: str, **changes: Any) -> AnyRule:
    """Return the settings of an optimizer configuration by name, some of them changed.

    Raises:
        InputError: there is no such configuration, or a setting does not exist or has a wrong value.
    """
    if not re.fullmatch(r"[\w./-]+", str(name)):
        raise InputError(f"optimizer {name!r}: give the name of one optimizer, as `adamcmp list optimizers` lists them")
    try:
        composed = compose(find_config("config"), [f"optimizer={name}"])
    except InputError:
        if (lower := str(name).lower().replace("-", "_")) == name:
            raise
        return optimizer_settings(lower, **changes)  # "Muon", as tables have it
    values = dict(composed.values["optimizer"])
    if unknown := [key for key in changes if key not in values and key != "groups" and "_target_" not in values]:
        raise InputError(f"{unknown[0]}: no such setting of optimizer {name}; {suggest_names(unknown[0], values)}")
    return validate_optimizer({**values, **changes}, name)


def make_torch_optimizer(
    settings: AnyRule, params: Parameters, *, steps: int | None = None, ratios: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """Return an optimizer of torch's interface with the steps of the engine.

    Args:
        settings: of the optimizer.
        params: as ``Parameters``; patterns of names (``groups``, Muon's ``others``) need names.
        steps: T, the steps of the schedule, which ``decay=normalized`` needs.
        ratios: width of a parameter relative to a base model (μP), by name.

    Raises:
        InputError: an unknown key of a group, no parameters, or a class that cannot be built.
    """
    groups = _param_groups(settings, params, ratios or {})
    if isinstance(settings, CustomOptimizer):
        return _custom_optimizer(settings, groups)
    assert isinstance(settings, Rule)  # a script has its own optimizers
    if settings.decay == "normalized" and steps is None:
        raise InputError(f"{settings.name}: decay=normalized depends on the number of steps; give steps=…")
    if torch_class := _torch_class(settings, groups, steps):
        return torch_class(groups)
    return RuleOptimizer(settings, groups, steps=steps)


def _torch_class(
    settings: Rule, groups: Sequence[Mapping[str, Any]], steps: int | None
) -> Callable[..., torch.optim.Optimizer] | None:
    """Return the class of torch that takes the same steps, with its arguments; None if there is none."""
    is_double = any(p.dtype in (torch.float64, torch.complex128) for group in groups for p in group["params"])
    oracle, base = settings.oracle, settings.counterpart(decoupled=False)
    if oracle is not None and oracle.target.startswith("torch.optim."):
        if oracle.target in ROUNDED_IN_TORCH and is_double:
            return None
        numbers = {"lr": settings.lr, "weight_decay": settings.weight_decay}  # of groups that are added
        return partial(find_target(oracle.target, "optimizer"), **numbers, **oracle.arguments)
    in_torch = base is not None and base.target.startswith("torch.optim.") and not base.scales_gradients
    if base is None or not in_torch or settings.decay not in CONVERTIBLE or type(settings).share is not Rule.share:
        return None
    if base.target in ROUNDED_IN_TORCH and is_double:
        return None
    kind = _decoupled_class(find_target(base.target, "optimizer"))
    return partial(kind, rule=settings, period=steps, **base.arguments)


@cache
def _decoupled_class(kind: Any) -> Any:
    """Return a class of torch with decoupled weight decay: θ ← (1 − d_t) θ before each step."""

    class Decoupled(kind):  # type: ignore[misc]  # a class that is found by its name
        def __init__(
            self, groups: Sequence[Mapping[str, Any]], *, rule: Rule, period: int | None, **arguments: Any
        ) -> None:
            self.rule, self._period = rule, np.array([float(period or math.nan)])
            super().__init__(groups, lr=rule.lr, **arguments)

        def __getstate__(self) -> dict[str, Any]:
            return {**super().__getstate__(), "rule": self.rule, "_period": self._period}

        def __reduce__(self) -> tuple[Any, ...]:
            return _empty_decoupled, (kind,), self.__getstate__()

        @torch.no_grad()
        def add_param_group(self, param_group: dict[str, Any]) -> None:
            group = {"lr": self.rule.lr, "weight_decay": self.rule.weight_decay, **param_group}
            super().add_param_group({**group, "peak_lr": float(group["lr"])})

        def load_state_dict(self, state_dict: Any) -> None:
            groups = state_dict.get("param_groups") if isinstance(state_dict, Mapping) else None
            if not groups or any("peak_lr" not in group for group in groups):
                raise InputError(f"{self.rule.name}: the state is of another optimizer")
            super().load_state_dict(state_dict)

        @torch.no_grad()
        def step(self, closure: Callable[[], Any] | None = None) -> Any:
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            decays = [group["weight_decay"] for group in self.param_groups]
            for group, decay in zip(self.param_groups, decays, strict=True):
                members = [p for p in group["params"] if p.grad is not None]
                if members and decay and (peak := peak_of(group, self.rule)):
                    eta = np.array([float(group["lr"]) / peak])
                    share = decay_fraction(self.rule.decay, decay, peak, eta, self._period)
                    torch._foreach_mul_(members, 1.0 - float(share[0]))
                group["weight_decay"] = 0.0  # the class would add λθ to gradients
            try:
                super().step()
            finally:
                for group, decay in zip(self.param_groups, decays, strict=True):
                    group["weight_decay"] = decay
            return loss

    Decoupled.__name__ = Decoupled.__qualname__ = f"{kind.__name__}WithDecoupledDecay"
    return Decoupled


def _empty_decoupled(kind: Any) -> Any:
    """Return an object of a class with decoupled decay whose state is restored next, as pickle does."""
    made = _decoupled_class(kind)
    return made.__new__(made)


def peak_of(group: dict[str, Any], rule: Rule) -> float:
    """Return the peak learning rate of a group; that of the rule for a group that begins with 0, 0 until it changes."""
    if group["peak_lr"] == 0 and group["lr"] > 0:
        group["peak_lr"] = rule.lr
    return float(group["peak_lr"])


def _param_groups(settings: AnyRule, params: Parameters, ratios: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return parameter groups, split where learning rate or λ differ by the settings."""
    if isinstance(params, nn.Module | Tensor) or not isinstance(params, Iterable):
        raise InputError(f"{settings.name}: give parameters, such as model.named_parameters(), not one {_kind(params)}")
    items = list(params)
    groups: list[Any] = items if items and all(isinstance(item, dict) for item in items) else [{"params": items}]
    result: list[dict[str, Any]] = []
    seen = dict[int, str]()
    nameless, trains = False, False
    for group in groups:
        if "params" not in group:
            raise InputError(f"{settings.name}: a parameter group lacks params")
        changes = _group_numbers(settings, group)
        of_group = settings.model_copy(update=changes)
        split: dict[tuple[float, float], dict[str, Any]] = {}
        for name, p in _named_parameters(settings, group):
            if id(p) in seen:
                names = " and ".join(dict.fromkeys(filter(None, (seen[id(p)], name))))
                raise InputError(f"{settings.name}: a parameter is given twice{f' ({names})' if names else ''}")
            seen[id(p)] = name
            nameless, trains = nameless or not name, trains or p.requires_grad  # frozen ones may train later
            kind = param_kind(settings, name, p, SimpleNamespace(width_ratios=ratios))
            lr, decay = lr_and_decay(of_group, kind)
            part = split.setdefault((lr, decay), {"params": [], "param_names": [], "lr": lr, "weight_decay": decay})
            part["params"].append(p)
            part["param_names"].append(name)
        result += split.values()
    if not trains:
        raise InputError(f"{settings.name}: no parameter that requires a gradient; give model.named_parameters()")
    if nameless:
        _check_names_unused(settings)
        for group in result:
            del group["param_names"]
    return result


def _kind(value: object) -> str:
    return type(value).__name__


def _group_numbers(settings: AnyRule, group: Mapping[str, Any]) -> dict[str, float]:
    """Return the learning rate and λ of a group that gives them.

    Raises:
        InputError: one is not a finite number of at least 0, or the group gives other settings.
    """
    if unknown := sorted(group.keys() - GROUP_KEYS):
        raise InputError(
            f"{settings.name}: a parameter group takes lr and weight_decay, not {unknown[0]}; give other settings as "
            "keyword arguments"
        )
    numbers = {key: to_number(group[key]) for key in ("lr", "weight_decay") if key in group}
    for key, number in numbers.items():
        if number is None or not 0 <= number < math.inf:
            raise InputError(
                f"{settings.name}: {key}={group[key]!r} of a parameter group must be a number, 0 or larger"
            )
    return {key: number for key, number in numbers.items() if number is not None}


def _named_parameters(settings: AnyRule, group: Mapping[str, Any]) -> list[tuple[str, Tensor]]:
    """Return names and parameters of a group; names are empty where none are given."""
    members = group["params"]
    members = [members] if isinstance(members, Tensor) else list(members)
    names = group.get("param_names")
    names = [""] * len(members) if names is None else list(names)
    if len(names) != len(members):
        raise InputError(f"{settings.name}: {len(names)} param_names for {len(members)} parameters")
    pairs = [item if isinstance(item, tuple) else (name, item) for name, item in zip(names, members, strict=True)]
    for pair in pairs:
        if len(pair) != 2 or not isinstance(pair[1], Tensor) or not isinstance(pair[0], str):
            raise InputError(
                f"{settings.name}: parameters are tensors, pairs of name and tensor, or groups, not "
                f"{type(pair[-1]).__name__}; give model.named_parameters()"
            )
    return pairs


def _check_names_unused(settings: AnyRule) -> None:
    """Refuse settings that are patterns of names, and warn of a rule whose defaults are."""
    if settings.groups:
        raise InputError(f"{settings.name}: groups are patterns of names; give model.named_parameters()")
    if others := getattr(settings, "others", ()):
        warnings.warn(
            f"{settings.name}: parameters have no names, so that matrices named {', '.join(others)} are trained as "
            "hidden ones. Give model.named_parameters()",
            stacklevel=5,
        )


def _custom_optimizer(settings: CustomOptimizer, groups: Sequence[Mapping[str, Any]]) -> torch.optim.Optimizer:
    """Return an object of a custom class."""
    kind = find_target(settings.target, "optimizer")
    decay = {"weight_decay": settings.weight_decay} if settings.decay_given else {}
    plain = [{k: v for k, v in group.items() if k != "weight_decay" or settings.has_decay} for group in groups]
    try:
        optimizer = kind(plain, lr=settings.lr, **decay, **settings.arguments)
    except Exception as error:  # a custom class may fail in any way while it is built
        raise InputError(f"{settings.name}: {settings.target} cannot be built: {describe_exception(error)}") from error
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(f"{settings.name}: {settings.target} gives a {type(optimizer).__name__}, not an Optimizer")
    return optimizer


@dataclass
class _Rows:
    """Parameters that one kernel call updates."""

    params: list[Tensor]
    part: str
    """Part of the rule that treats them."""
    state: dict[str, Tensor]
    """State of all rows, each (R, …)."""


class RuleOptimizer(torch.optim.Optimizer):
    """A rule of adamcmp as a ``torch.optim.Optimizer``.

    The learning rate that a group begins with is the peak α, or that of the rule if it begins with 0; a scheduler that
    changes ``group["lr"]`` changes η_t = lr/α, by which decay conventions such as ``schedule_only`` scale λ. Steps are
    counted per group, also for parameters without a gradient at first (torch counts them per parameter). A rule that
    evaluates other weights than it trains (schedule-free) has ``eval()`` and ``train()``, which swap them.
    """

    def __init__(self, rule: Rule, groups: Sequence[dict[str, Any]], *, steps: int | None = None) -> None:
        """Make an optimizer of a rule.

        Args:
            rule: the rule and its settings.
            groups: each with ``params``, ``lr`` and ``weight_decay``.
            steps: T, the steps of the schedule, for ``decay=normalized``.
        """
        self.rule, self._steps = rule, steps
        self._rows: dict[int, list[_Rows]] = {}
        self._frozen: dict[int, list[Tensor]] = {}
        """Parameters of each group that had no gradient to require yet, so that they have no state."""
        self._tables: dict[tuple[int, str], tuple[range, tuple[float, float], tuple[str, ...], Tensor]] = {}
        self._training = True
        self._needs_past = False
        """Whether coefficients of a step depend on the learning rates before it, which groups then keep."""
        super().__init__([dict(group) for group in groups], {"lr": rule.lr, "weight_decay": rule.weight_decay})

    def __repr__(self) -> str:
        """Return the rule and its groups."""
        return f"{type(self).__name__}({self.rule.name})\n{super().__repr__()}"

    @torch.no_grad()
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group with ``params``, and ``lr`` and ``weight_decay`` if they differ.

        Raises:
            InputError: the group gives other settings, or a number is wrong.
        """
        _group_numbers(self.rule, param_group)
        super().add_param_group(param_group)
        index, group = len(self.param_groups) - 1, self.param_groups[-1]
        group |= {"peak_lr": float(group["lr"]), "step": 0, "etas": []}
        self._frozen[index] = [p for p in group["params"] if not p.requires_grad]
        self._rows[index] = self._make_rows(group, [p for p in group["params"] if p.requires_grad])

    def _make_rows(self, group: Mapping[str, Any], members: Collection[Tensor]) -> list[_Rows]:
        """Return the rows of parameters of a group, and set their state."""
        names = group.get("param_names") or [""] * len(group["params"])
        name_of = {id(p): name for name, p in zip(names, group["params"], strict=True)}
        buckets: dict[Any, list[Tensor]] = {}
        parts: dict[Any, str] = {}
        for i, p in enumerate(members):
            name = name_of[id(p)]
            part = self.rule.part(name, tuple(p.shape))
            alone = i if p.numel() > MAX_STACKED_SIZE else None
            key = (part, tuple(p.shape), p.dtype, p.device, alone)
            buckets.setdefault(key, []).append(p)
            parts[key] = part
        rows = []
        for key, members in buckets.items():
            states = [self.rule.kernel.start(self.rule, as_real(p.detach())[None], parts[key]) for p in members]
            stacked = {name: torch.cat([state[name] for state in states]) for name in states[0]}
            rows.append(_Rows(members, parts[key], stacked))
            self._point_to_rows(rows[-1])
        return rows

    def _give_state(self, index: int, members: Collection[Tensor]) -> None:
        """Make rows of parameters that were frozen when their group was added."""
        chosen = set(map(id, members))
        self._rows[index] += self._make_rows(self.param_groups[index], members)
        self._frozen[index] = [p for p in self._frozen[index] if id(p) not in chosen]

    def _point_to_rows(self, rows: _Rows) -> None:
        """Let ``state`` hold views of the stacked state."""
        for i, p in enumerate(rows.params):
            self.state[p] = {name: tensor[i] for name, tensor in rows.state.items()}

    @torch.no_grad()
    def load_state_dict(self, state_dict: Any) -> None:
        """Load the state of an optimizer of the same rule and parameters.

        Raises:
            InputError: the state is of another optimizer, or of other parameters.
        """
        self._check_state(state_dict)
        for index, group in enumerate(self.param_groups):
            keys = zip(group["params"], state_dict["param_groups"][index]["params"], strict=True)
            has_state = {id(p) for p, key in keys if state_dict["state"].get(key)}
            self._give_state(index, [p for p in self._frozen[index] if id(p) in has_state])
        super().load_state_dict(state_dict)
        self._training = bool(state_dict.get("training", True))
        for every in self._rows.values():
            for rows in every:
                for i, p in enumerate(rows.params):
                    for name, loaded in self.state.get(p, {}).items():  # none: it was frozen when the state was saved
                        rows.state[name][i].copy_(loaded)
                self._point_to_rows(rows)
        self._tables.clear()

    def _check_state(self, state_dict: Any) -> None:
        """Refuse a state that does not fit, before anything is changed."""
        name = self.rule.name
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= state_dict.keys():
            raise InputError(f"{name}: this is no state of an optimizer; give what state_dict() has returned")
        if (other := state_dict.get("rule", name)) != name:  # distributed checkpoints leave it out
            raise InputError(f"{name}: the state is of another optimizer, {other}")
        sizes = [len(group["params"]) for group in self.param_groups]
        saved_sizes = [len(group["params"]) for group in state_dict["param_groups"]]
        if saved_sizes != sizes:
            raise InputError(f"{name}: the state is of groups of {saved_sizes} parameters, not of {sizes}")
        members = [p for group in self.param_groups for p in group["params"]]
        keys = [key for group in state_dict["param_groups"] for key in group["params"]]  # places, or names
        for key, p in zip(keys, members, strict=True):
            saved, current = state_dict["state"].get(key, {}), self.state.get(p, {})
            was_frozen = not saved and "rule" in state_dict
            if current and not was_frozen and set(saved) != set(current):
                raise InputError(f"{name}: the state is of another optimizer, or of other settings")
            for part in saved.keys() & current.keys():
                if saved[part].shape != current[part].shape:
                    shapes = f"{part} has shape {tuple(saved[part].shape)}, not {tuple(current[part].shape)}"
                    raise InputError(f"{name}: the state is of other parameters: {shapes}")

    def state_dict(self) -> dict[str, Any]:
        """Return the state, the rule, and whether the parameters hold the weights of training or of evaluation."""
        return {**super().state_dict(), "rule": self.rule.name, "training": self._training}

    def __getstate__(self) -> dict[str, Any]:
        """Return all attributes, so that copies can train."""
        attributes = {"rule": self.rule, "_steps": self._steps, "_rows": self._rows, "_frozen": self._frozen}
        attributes |= {"_training": self._training, "_needs_past": self._needs_past}
        return {**super().__getstate__(), **attributes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes."""
        super().__setstate__(state)
        self._tables = {}

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; return the loss of ``closure`` if it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.train()
        with torch.no_grad():
            for index, group in enumerate(self.param_groups):
                if peak_of(group, self.rule) > 0:
                    self._step_group(index, group)
        return loss

    def _step_group(self, index: int, group: dict[str, Any]) -> None:
        if late := [p for p in self._frozen[index] if p.grad is not None]:
            self._give_state(index, late)
        t = group["step"]
        group["step"] = t + 1
        group["etas"].append(float(group["lr"]) / group["peak_lr"])
        for rows in self._rows[index]:
            grads = [p.grad for p in rows.params]
            if any(grad is not None and grad.is_sparse for grad in grads):
                raise InputError(f"{self.rule.name}: takes no sparse gradients; use sparse=False in the embedding")
            names, table = self._coefficients(index, group, t, rows.part, rows.params[0])
            present = [i for i, grad in enumerate(grads) if grad is not None]
            if len(present) == len(grads) > 1:
                row = table.view(len(names), *(1,) * (rows.params[0].ndim + 1 + rows.params[0].is_complex()))
                c = dict(zip(names, row.unbind(0), strict=True))
                stacked = torch.stack([as_real(p) for p in rows.params])
                slopes = torch.stack([as_real(grad) for grad in grads if grad is not None])
                self.rule.kernel.update(stacked, slopes, rows.state, c, rows.part)
                torch._foreach_copy_([as_real(p) for p in rows.params], list(stacked.unbind(0)))
                continue
            for i in present:
                param, grad = as_real(rows.params[i]), as_real(grads[i])  # type: ignore[arg-type]  # present
                c = dict(zip(names, table.view(len(names), *(1,) * (param.ndim + 1)).unbind(0), strict=True))
                state = {name: tensor[i : i + 1] for name, tensor in rows.state.items()}
                self.rule.kernel.update(param[None], grad[None], state, c, rows.part)
        if not self._needs_past:
            group["etas"].clear()

    def _coefficients(
        self, index: int, group: Mapping[str, Any], t: int, part: str, like: Tensor
    ) -> tuple[tuple[str, ...], Tensor]:
        """Return the names and values of the coefficients of step t, from 0; values are computed for steps ahead."""
        numbers = float(group["lr"]), float(group["weight_decay"])
        cached = self._tables.get((index, part))
        if cached is None or t not in cached[0] or cached[1] != numbers:
            ahead = range(t, t + CHUNK) if cached is not None and cached[1] == numbers else range(t, t + 1)
            count, peak = len(ahead), group["peak_lr"]
            eta = np.full(count, numbers[0] / peak)

            def until(group: Mapping[str, Any] = group, eta: Any = eta) -> Any:
                self._needs_past = True
                return np.concatenate([np.array(group["etas"][:-1], np.float64), eta])

            coefficients = compute_coefficients(
                self.rule,
                StepWindow(
                    t=np.arange(t + 1, t + 1 + count, dtype=np.float64),
                    eta=eta,
                    period=np.full(count, float(self._steps or math.nan)),
                    peak=peak,
                    weight_decay=numbers[1],
                    until=until,
                    part=part,
                ),
            )
            values = np.stack(list(coefficients.values()), axis=1).astype(reference_values(like))
            cached = ahead, numbers, tuple(coefficients), torch.from_numpy(values).to(like.device)
            self._tables[index, part] = cached
        return cached[2], cached[3][t - cached[0].start]

    @torch.no_grad()
    def eval(self) -> None:
        """Put the weights that evaluations are of into the parameters; nothing where they are the trained ones."""
        self._swap(training=False)

    @torch.no_grad()
    def train(self) -> None:
        """Put the trained weights back."""
        self._swap(training=True)

    def _swap(self, *, training: bool) -> None:
        if self.rule.shown is None or training == self._training:
            return
        self._training = training
        for every in self._rows.values():
            for rows in every:
                for p, weights in zip(rows.params, rows.state[self.rule.shown], strict=True):
                    trained = as_real(p).clone()
                    as_real(p).copy_(weights)
                    weights.copy_(trained)
