"""fastai, whose optimizers are functions that make one of callbacks."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from adamcmp.conformance.libraries import Peer
from adamcmp.conformance.libraries._torch_form import defaults
from adamcmp.conformance.problems import Problem, UpdatePath

DISTRIBUTION, MODULE = "fastai", "fastai"


def peers() -> list[Peer]:
    """Return the optimizers of fastai, with decay off the weights, as they come, and in the gradient."""
    from fastai import optimizer

    optimizers = []
    for name, rule in (("Adam", "adam"), ("RAdam", "radam"), ("RMSProp", "rmsprop"), ("SGD", "sgd"), ("Lamb", "lamb")):
        make = getattr(optimizer, name)
        for decouple in (True, False):

            def run(problem: Problem, make: Any = make, decouple: bool = decouple) -> UpdatePath:
                return _path(make, problem, decouple)

            optimizers.append(Peer(f"fastai.optimizer.{name}(decouple_wd={decouple})", rule, run, defaults(make)))
    return optimizers


def _path(make: Any, problem: Problem, decouple: bool) -> UpdatePath:
    import torch

    parameters = {name: torch.nn.Parameter(torch.tensor(start)) for name, start in problem.start.items()}
    values = {"mom": problem.betas[0], "sqr_mom": problem.betas[1], "eps": problem.eps, "wd": problem.weight_decay}
    if make.__name__ == "RMSProp":
        values["mom"] = 0.0
    arguments = {key: value for key, value in values.items() if key in inspect.signature(make).parameters}
    optimizer = make(list(parameters.values()), lr=problem.lr, decouple_wd=decouple, **arguments)
    paths = {name: [p.detach().numpy().copy()] for name, p in parameters.items()}
    for t, lr in enumerate(problem.lrs):
        optimizer.set_hyper("lr", lr)
        for name, p in parameters.items():
            p.grad = torch.tensor(problem.gradients[name][t])
        optimizer.step()
        for name, p in parameters.items():
            paths[name].append(p.detach().numpy().copy())
    return {name: np.stack(path) for name, path in paths.items()}
