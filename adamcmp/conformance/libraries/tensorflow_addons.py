"""TensorFlow Addons, whose last version is for TensorFlow 2.14."""

from __future__ import annotations

from typing import Any

from adamcmp.conformance.libraries import Peer, _keras_form
from adamcmp.conformance.problems import Problem, UpdatePath

DISTRIBUTION, MODULE = ("tensorflow-addons", "tensorflow"), ("tensorflow_addons", "tensorflow")


def peers() -> list[Peer]:
    """Return AdamW; λ has to follow a schedule by hand there."""
    import tensorflow
    import tensorflow_addons

    def run(problem: Problem) -> UpdatePath:
        def variable(values: Any, name: str) -> Any:
            return tensorflow.Variable(values, dtype="float64", name=name)

        optimizer = tensorflow_addons.optimizers.AdamW(
            weight_decay=problem.weight_decay, learning_rate=problem.lr, beta_1=problem.betas[0],
            beta_2=problem.betas[1], epsilon=problem.eps,
        )  # fmt: skip
        return _keras_form.path(optimizer, problem, variable, tensorflow.constant)

    return [Peer("tensorflow_addons.optimizers.AdamW", "adam", run)]
