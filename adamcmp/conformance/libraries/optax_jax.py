"""optax, on JAX."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from adamcmp.conformance.libraries import Peer
from adamcmp.conformance.libraries._torch_form import defaults
from adamcmp.conformance.problems import Problem, UpdatePath

DISTRIBUTION, MODULE = "optax", "optax"


def peers() -> list[Peer]:
    """Return the optimizers of optax, λ given to those that take it, and L2 put in front of others as its documentation
    shows.
    """
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call,unused-ignore]  # where jax is typed

    def adam(problem: Problem) -> dict[str, Any]:
        return {"b1": problem.betas[0], "b2": problem.betas[1], "eps": problem.eps}

    def decayed(problem: Problem) -> dict[str, Any]:
        return adam(problem) | {"weight_decay": problem.weight_decay}

    def betas(problem: Problem) -> dict[str, Any]:
        return {"b1": problem.betas[0], "b2": problem.betas[1], "weight_decay": problem.weight_decay}

    def first(make: Callable[..., Any], arguments: Callable[[Problem], dict[str, Any]]) -> Callable[..., Any]:
        def build(rate: Any, problem: Problem) -> Any:
            return optax.chain(optax.add_decayed_weights(problem.weight_decay), make(rate, **arguments(problem)))

        return build

    def alone(make: Callable[..., Any], arguments: Callable[[Problem], dict[str, Any]]) -> Callable[..., Any]:
        return lambda rate, problem: make(rate, **arguments(problem))

    def momentum(problem: Problem) -> dict[str, Any]:
        return {"momentum": problem.betas[0]}

    def rms(problem: Problem) -> dict[str, Any]:
        return {"decay": problem.betas[1], "eps": problem.eps}

    chained = "chain(add_decayed_weights(λ), {})".format
    rows: list[tuple[str, str, Any, Callable[..., Any]]] = [
        ("adam", "adam", optax.adam, alone(optax.adam, adam)),
        ("adamw", "adam", optax.adamw, alone(optax.adamw, decayed)),
        (chained("adam"), "adam", optax.adam, first(optax.adam, adam)),
        (chained("amsgrad"), "amsgrad", optax.amsgrad, first(optax.amsgrad, adam)),
        (chained("nadam"), "nadam", optax.nadam, first(optax.nadam, adam)),
        ("nadamw", "nadam", optax.nadamw, alone(optax.nadamw, decayed)),
        (chained("radam"), "radam", optax.radam, first(optax.radam, adam)),
        (chained("adamax"), "adamax", optax.adamax, first(optax.adamax, adam)),
        ("adamaxw", "adamax", optax.adamaxw, alone(optax.adamaxw, decayed)),
        (chained("rmsprop"), "rmsprop", optax.rmsprop, first(optax.rmsprop, rms)),
        (chained("sgd"), "sgd", optax.sgd, first(optax.sgd, momentum)),
        (chained("sgd(nesterov=True)"), "nesterov", optax.sgd,
         first(optax.sgd, lambda problem: momentum(problem) | {"nesterov": True})),
        ("lion", "lion", optax.lion, alone(optax.lion, betas)),
        ("lamb", "lamb", optax.lamb, alone(optax.lamb, decayed)),
    ]  # fmt: skip
    return [Peer(f"optax.{name}", rule, partial(_path, build), defaults(kind)) for name, rule, kind, build in rows]


def _path(build: Callable[..., Any], problem: Problem) -> UpdatePath:
    import jax.numpy as jnp
    import optax

    rates = jnp.asarray(problem.lrs)
    optimizer = build(lambda count: rates[count], problem)
    weights = {name: jnp.asarray(start) for name, start in problem.start.items()}
    state = optimizer.init(weights)
    paths = {name: [np.array(weight)] for name, weight in weights.items()}
    for t in range(len(problem.eta)):
        gradients = {name: jnp.asarray(gradient[t]) for name, gradient in problem.gradients.items()}
        steps, state = optimizer.update(gradients, state, weights)
        weights = optax.apply_updates(weights, steps)
        for name, weight in weights.items():
            paths[name].append(np.array(weight))
    return {name: np.stack(path) for name, path in paths.items()}
