"""How to take steps with Keras, on whatever backend, and with Keras 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from adamcmp.conformance.libraries import Peer
from adamcmp.conformance.libraries._torch_form import SHOWN
from adamcmp.conformance.problems import Problem, UpdatePath


def peers(keras: Any, library: str, variable: Callable[[Any, str], Any], constant: Callable[[Any], Any]) -> list[Peer]:
    """Return its optimizers.

    Args:
        keras: the module.
        library: what stands in front of a name.
        variable: makes one of values and a name.
        constant: makes a gradient of values.
    """
    peers_ = []
    for name, rule, theirs, fixed in CLASSES:
        kind = getattr(keras.optimizers, name, None)
        if kind is None:
            continue
        fixed_text = ", ".join(f"{key}={value}" for key, value in fixed.items() if key != "initial_accumulator_value")
        fixed_text = ", ".join(filter(None, [fixed_text, "weight_decay=λ" if "weight_decay" in theirs else ""]))

        def run(
            problem: Problem, kind: Any = kind, theirs: dict[str, str] = theirs, fixed: dict[str, Any] = fixed
        ) -> UpdatePath:
            values = problem.plain()
            arguments = {theirs_name: values[ours] for theirs_name, ours in theirs.items()}
            return path(kind(learning_rate=problem.lr, **arguments, **fixed), problem, variable, constant)

        peers_.append(
            Peer(f"{library}.{name}" + (f"({fixed_text})" if fixed_text else ""), rule, run, dict(_defaults(kind)))
        )
    return peers_


ADAM = {"beta_1": "beta1", "beta_2": "beta2", "epsilon": "eps", "weight_decay": "weight_decay"}
CLASSES: tuple[tuple[str, str, dict[str, str], dict[str, Any]], ...] = (
    ("Adam", "adam", ADAM, {}),
    ("AdamW", "adam", ADAM, {}),
    ("Adam", "amsgrad", ADAM, {"amsgrad": True}),
    ("Nadam", "nadam", ADAM, {}),
    ("Adamax", "adamax", ADAM, {}),
    ("Adagrad", "adagrad", {"epsilon": "eps", "weight_decay": "weight_decay"}, {"initial_accumulator_value": 0.0}),
    ("RMSprop", "rmsprop", {"rho": "beta2", "epsilon": "eps", "weight_decay": "weight_decay"}, {}),
    ("SGD", "sgd", {"momentum": "beta1", "weight_decay": "weight_decay"}, {}),
    ("SGD", "nesterov", {"momentum": "beta1", "weight_decay": "weight_decay"}, {"nesterov": True}),
    ("Lion", "lion", {"beta_1": "beta1", "beta_2": "beta2", "weight_decay": "weight_decay"}, {}),
    ("Lamb", "lamb", ADAM, {}),
)
"""Name, rule of adamcmp, its arguments by ours, other arguments."""


def _defaults(kind: Any) -> Iterator[tuple[str, Any]]:
    config = kind().get_config()
    for name in SHOWN:
        if isinstance(config.get(name), float | int | type(None)) and name in config:
            value = config[name]
            yield name, float(f"{value:.6g}") if isinstance(value, float) else value


def path(
    optimizer: Any, problem: Problem, variable: Callable[[Any, str], Any], constant: Callable[[Any], Any]
) -> UpdatePath:
    """Return the path of a built optimizer."""
    variables = {name: variable(start, name) for name, start in problem.start.items()}
    paths = {name: [np.array(start)] for name, start in problem.start.items()}
    for t, lr in enumerate(problem.lrs):
        optimizer.learning_rate = lr
        pairs = [(constant(problem.gradients[name][t]), variable) for name, variable in variables.items()]
        optimizer.apply_gradients(pairs)
        for name, parameter in variables.items():
            paths[name].append(np.array(_values(parameter)))
    return {name: np.stack(path) for name, path in paths.items()}


def _values(variable: Any) -> Any:
    numbers = variable.numpy() if hasattr(variable, "numpy") else variable
    return numbers.detach().cpu() if hasattr(numbers, "detach") else numbers


def on(backend: str, library: str) -> list[Peer]:
    """Return Keras 3 on one of its backends; a process can import only one."""
    import os

    os.environ["KERAS_BACKEND"] = backend
    if backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call,unused-ignore]  # where jax is typed
    import keras

    keras.config.set_floatx("float64")

    def variable(values: Any, name: str) -> Any:
        return keras.Variable(values, dtype="float64", name=name)

    return peers(keras, library, variable, lambda values: keras.ops.convert_to_tensor(values, dtype="float64"))
