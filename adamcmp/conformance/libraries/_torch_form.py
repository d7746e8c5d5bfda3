"""How to take steps with classes of the form of ``torch.optim.Optimizer``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from adamcmp.conformance.libraries import Peer
from adamcmp.conformance.problems import Problem, UpdatePath

SHOWN = ("lr", "learning_rate", "betas", "beta_1", "beta_2", "b1", "b2", "momentum", "mom", "sqr_mom", "eps", "epsilon",
         "eps1", "weight_decay", "wd")  # fmt: skip
"""Defaults that people compare."""


def path(build: Callable[[list[Any], Problem], Any], problem: Problem, names: tuple[str, ...] = ()) -> UpdatePath:
    """Return the path of an optimizer that is built of parameters; ``names`` leaves out the others."""
    import torch

    starts = {name: problem.start[name] for name in names or problem.start}
    parameters = {name: torch.nn.Parameter(torch.tensor(start, dtype=torch.float64)) for name, start in starts.items()}
    optimizer = build(list(parameters.values()), problem)
    if callable(getattr(optimizer, "train", None)):
        optimizer.train()
    paths = {name: [p.detach().numpy().copy()] for name, p in parameters.items()}
    peaks = [group["lr"] for group in optimizer.param_groups]
    for t, eta in enumerate(problem.eta):
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * eta
        for name, p in parameters.items():
            p.grad = torch.tensor(problem.gradients[name][t], dtype=torch.float64)
        optimizer.step()
        if callable(getattr(optimizer, "eval", None)):
            optimizer.eval()
        for name, p in parameters.items():
            paths[name].append(p.detach().numpy().copy())
        if callable(getattr(optimizer, "train", None)):
            optimizer.train()
    return {name: np.stack(path) for name, path in paths.items()}


def peer(library: str, kind: Any, rule: str, arguments: Mapping[str, str | Any], **fixed: Any) -> Peer:
    """Return a class of a library.

    Args:
        library: what stands in front of its name.
        kind: the class.
        rule: of adamcmp.
        arguments: its name of each of ``lr``, ``betas``, ``eps`` and ``weight_decay`` that it takes.
        fixed: other arguments.
    """

    def build(parameters: list[Any], problem: Problem) -> Any:
        values = problem.plain()
        return kind(parameters, **{theirs: values[ours] for ours, theirs in arguments.items()}, **fixed)

    fixed_text = ", ".join(f"{key}={value}" for key, value in fixed.items() if key not in QUIET)
    name = f"{library}.{kind.__name__}" + (f"({fixed_text})" if fixed_text else "")
    return Peer(name, rule, lambda problem: path(build, problem), defaults(kind))


QUIET = ("foreach", "fused", "caution", "rectify")
"""Arguments that are set to say the usual."""
PLAIN = {"lr": "lr", "betas": "betas", "eps": "eps", "weight_decay": "weight_decay"}
"""Hyperparameters by torch's names."""
MOMENTUM = {"lr": "lr", "beta1": "momentum", "weight_decay": "weight_decay"}


def defaults(kind: Any) -> dict[str, Any]:
    """Return the defaults of a call without arguments."""
    parameters = inspect.signature(kind).parameters
    default_values = {name: parameters[name].default for name in SHOWN if name in parameters}
    return {name: value for name, value in default_values.items() if not callable(value)}  # Parameter.empty is a class
