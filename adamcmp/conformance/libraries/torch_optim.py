"""Optimizers of PyTorch, each in all implementations: a loop, foreach, fused, and sparse gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adamcmp.conformance.libraries import Peer
from adamcmp.conformance.libraries._torch_form import MOMENTUM, PLAIN, defaults, path, peer
from adamcmp.conformance.problems import Problem

DISTRIBUTION, MODULE = "torch", "torch"


def peers() -> list[Peer]:
    """Return all that adamcmp has a rule of the same name for."""
    from torch import optim

    optimizers = []
    for kind in (optim.Adam, optim.AdamW):
        for form in ({"foreach": False, "fused": False}, {"foreach": True}, {"fused": True}):
            how = next((key for key, value in form.items() if value), "plain")
            variant = peer("torch.optim", kind, "adam", PLAIN, **form)
            optimizers.append(variant._replace(name=f"{variant.name} ({how})"))
    optimizers += [
        peer("torch.optim", optim.Adam, "adam", PLAIN, decoupled_weight_decay=True),
        peer("torch.optim", optim.Adam, "amsgrad", PLAIN, amsgrad=True),
        peer("torch.optim", optim.AdamW, "amsgrad", PLAIN, amsgrad=True),
        peer("torch.optim", optim.NAdam, "nadam", PLAIN),
        peer("torch.optim", optim.NAdam, "nadam", PLAIN, decoupled_weight_decay=True),
        peer("torch.optim", optim.RAdam, "radam", PLAIN),
        peer("torch.optim", optim.RAdam, "radam", PLAIN, decoupled_weight_decay=True),
        peer("torch.optim", optim.Adamax, "adamax", PLAIN),
        peer("torch.optim", optim.Adagrad, "adagrad", {key: PLAIN[key] for key in ("lr", "eps", "weight_decay")}),
        peer("torch.optim", optim.RMSprop, "rmsprop", {"lr": "lr", "beta2": "alpha", "eps": "eps",
                                                       "weight_decay": "weight_decay"}),
        peer("torch.optim", optim.SGD, "sgd", MOMENTUM),
        peer("torch.optim", optim.SGD, "nesterov", MOMENTUM, nesterov=True),
        _peer(optim.Adafactor, "adafactor", _adafactor),
        _peer(optim.SparseAdam, "adam", _sparse_adam),
    ]  # fmt: skip
    if hasattr(optim, "Muon"):
        optimizers.append(_peer(optim.Muon, "muon", _muon, ("matrix",))._replace(precision="bfloat16"))
    return optimizers


def _peer(kind: Any, rule: str, build: Callable[[list[Any], Problem], Any], names: tuple[str, ...] = ()) -> Peer:
    """Return a class that takes other arguments than most."""
    return Peer(f"torch.optim.{kind.__name__}", rule, lambda problem: path(build, problem, names), defaults(kind))


def _adafactor(parameters: list[Any], problem: Problem) -> Any:
    from torch import optim

    return optim.Adafactor(parameters, lr=problem.lr, weight_decay=problem.weight_decay, eps=(problem.eps, 1e-3))


def _muon(parameters: list[Any], problem: Problem) -> Any:
    from torch import optim

    return optim.Muon(
        parameters, lr=problem.lr, weight_decay=problem.weight_decay, momentum=problem.betas[0],
        adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip


def _sparse_adam(parameters: list[Any], problem: Problem) -> Any:
    """Return SparseAdam, which takes only sparse gradients and no λ."""
    from torch import optim

    class Sparse(optim.SparseAdam):
        def step(self, closure: Any = None) -> Any:
            for p in parameters:
                p.grad = p.grad.to_sparse()
            return super().step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    return Sparse(parameters, lr=problem.lr, betas=problem.betas, eps=problem.eps)
