"""Reference steps by adamcmp's kernels, under every convention that a configuration can name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from adamcmp.config.builtin_rules import builtin_rules
from adamcmp.conformance.problems import Problem, UpdatePath
from adamcmp.engine.optimizer_step import make_optimizer_step
from adamcmp.optim.rule import Rule
from adamcmp.optim.schedules import custom_schedule

FAMILIES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "rmsprop": ("adam", {"betas": (0.0, 0.99), "bias_correction": False}),
    "adam": ("adam", {"bias_correction": True}),
    "sgd": ("sgd", {"nesterov": False}),
    "nesterov": ("sgd", {"nesterov": True}),
}
"""Fixed settings of our rule for a library's optimizer, unless it has a rule of its own name."""
DECAYS = ("l2", "lr_scaled", "schedule_only", "lr_squared", "lr_free", "cautious", "trust_ratio")
SWITCHES: Mapping[str, tuple[Any, ...]] = {"eps_placement": ("after", "before"), "lr_in_buffer": (False, True),
                                           "proximal": (True, False)}  # fmt: skip
"""Other conventions, where a rule has them."""
NOT_DIVIDED_BY_LR = ("l2", "cautious")
"""Decays with which Adan divides nothing."""
INITIAL_STATE = {"initial_accumulator_value": 0.0}


class Convention(NamedTuple):
    """A way to take a rule's steps."""

    setting: str
    """Overrides for this convention: ``optimizer=adamw optimizer/framework=keras``; empty without any."""
    settings: Rule
    description: str
    """In words: where λ and ε enter."""
    on_new: bool = False
    """Decay is of the weights that the step has made, not of those before it."""
    without: bool = False
    """λ is taken for 0."""


@cache
def conventions(rule: str) -> list[Convention]:
    """Return every way that there is for a peer's rule, the shortest settings first."""
    kernel, fixed = FAMILIES.get(rule, (rule, {}))
    ways_by_name: dict[str, Convention] = {}
    shipped = [(name, settings) for name, settings in builtin_rules().items() if settings.rule == kernel]
    for name, settings in shipped:
        if any(getattr(settings, key) != value for key, value in fixed.items() if key != "betas"):
            continue
        if ("betas" in fixed) != (kernel == "adam" and settings.betas[0] == 0):  # type: ignore[attr-defined]
            continue
        for words, varied in _vary_settings(settings):
            convention = Convention(" ".join([f"optimizer={name}", *words]), varied, _describe(varied))
            key = varied.model_dump_json(exclude={"name", "label", "lr", "weight_decay"} | HYPERPARAMETERS)
            if key not in ways_by_name or len(convention.setting) < len(ways_by_name[key].setting):
                ways_by_name[key] = convention
    ways = sorted(ways_by_name.values(), key=lambda way: len(way.setting))
    usual = [way for way in ways if way.settings.decay == "lr_scaled"]
    undivided = [way for way in usual if getattr(way.settings, "proximal", True)]  # decay comes behind the step
    ways += [
        way._replace(setting="", on_new=True, description=f"{way.description}, of the new weights") for way in undivided
    ]
    no_decay = {_describe(way.settings, decayed=False): way for way in reversed(usual or ways[:1])}
    return ways + [
        way._replace(without=True, description=description, setting=f"{way.setting} optimizer.weight_decay=0")
        for description, way in reversed(no_decay.items())
    ]


HYPERPARAMETERS = {"betas", "eps", "momentum", *INITIAL_STATE}


def _vary_settings(settings: Rule) -> Iterator[tuple[list[str], Rule]]:
    """Yield a configuration with every convention in it, and the words that set it."""
    values = settings.model_dump()
    switches = {name: choices for name, choices in SWITCHES.items() if name in values}
    if values.get("bias_correction") is False:
        switches = {}  # there is nothing that ε could stand before
    for decay in DECAYS:
        for name, choices in switches.items() or {"": ("",)}.items():
            for choice in choices:
                if name == "proximal" and decay in NOT_DIVIDED_BY_LR and choice != choices[0]:
                    continue  # there is nothing to divide by
                variants = {"decay": decay} | ({name: choice} if name else {})
                words = [
                    KERAS if (key, value) == ("eps_placement", "before") else f"optimizer.{key}={str(value).lower()}"
                    for key, value in variants.items()
                    if values[key] != value
                ]
                try:
                    yield words, type(settings).model_validate({**values, **variants})
                except ValidationError:  # not every rule has every convention
                    continue


KERAS = "optimizer/framework=keras"
D_T = {
    "lr_scaled": "ηαλ θ", "schedule_only": "ηλ θ", "lr_squared": "η²αλ θ", "lr_free": "λ θ",
    "cautious": "ηαλ θ where step and weight agree", "trust_ratio": "λ θ before the trust ratio",
}  # fmt: skip


def _describe(settings: Rule, *, decayed: bool = True) -> str:
    """Return ``decay ηαλ θ; ε before the bias correction``."""
    where = "L2: λ θ in the gradient" if settings.decay == "l2" else f"decay {D_T[settings.decay]}"
    parts = [where if decayed else "no decay"]
    if "eps_placement" in type(settings).model_fields and settings.bias_correction:  # type: ignore[attr-defined]
        parts.append(f"ε {settings.eps_placement} the bias correction")  # type: ignore[attr-defined]
    if "lr_in_buffer" in type(settings).model_fields:
        inside = settings.lr_in_buffer  # type: ignore[attr-defined]
        parts.append(f"lr {'in' if inside else 'outside'} the momentum")
    if "proximal" in type(settings).model_fields and decayed and settings.decay not in NOT_DIVIDED_BY_LR:
        parts.append("proximal" if settings.proximal else "not proximal")  # type: ignore[attr-defined]
    return "; ".join(parts)


def arguments_for(settings: Rule, problem: Problem, weight_decay: float) -> Rule:
    """Return a rule with a problem's hyperparameters."""
    values = settings.model_dump()
    betas = problem.betas
    if len(values.get("betas", ())) == 3:
        betas = (*betas, betas[1])  # type: ignore[assignment]
    if values.get("betas", (1,))[0] == 0:
        betas = (0.0, betas[1])
    offers = {"lr": problem.lr, "weight_decay": weight_decay, "betas": betas, "eps": problem.eps,
             "momentum": problem.betas[0], **INITIAL_STATE}  # fmt: skip
    return type(settings).model_validate({**values, **{key: value for key, value in offers.items() if key in values}})


class _Weights(nn.Module):
    """Parameters of the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        for name, values in problem.start.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(values, dtype=torch.float64)))


def reference_updates(convention: Convention, problem: Problem) -> UpdatePath:
    """Return the path of our kernel, in float64; of a rule that averages weights, that of the average."""
    outside = convention.on_new or convention.without
    settings = arguments_for(convention.settings, problem, 0.0 if outside else problem.weight_decay)
    model = _Weights(problem)
    parameters = dict(model.named_parameters())
    update = make_optimizer_step(
        settings, model, custom_schedule(len(problem.eta), lambda t: problem.eta[t]), ours=True
    )
    paths = {name: [p.detach().numpy().copy()] for name, p in parameters.items()}
    for t, lr in enumerate(problem.lrs):
        for name, p in parameters.items():
            p.grad = torch.tensor(problem.gradients[name][t], dtype=torch.float64)
        update.step(t)
        if convention.on_new:
            with torch.no_grad():
                for p in parameters.values():
                    p.mul_(1 - lr * problem.weight_decay)
        with update.evaluating():
            for name, p in parameters.items():
                paths[name].append(p.detach().numpy().copy())
    return {name: np.stack(path) for name, path in paths.items()}
