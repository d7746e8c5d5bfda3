"""Keras 2, which tf.keras was until TensorFlow 2.15."""

from __future__ import annotations

from typing import Any

from adamcmp.conformance.libraries import Peer, _keras_form

DISTRIBUTION, MODULE = ("tf_keras", "tensorflow-cpu"), ("tf_keras", "tensorflow")


def peers() -> list[Peer]:
    """Return its optimizers."""
    import tensorflow
    import tf_keras

    tf_keras.backend.set_floatx("float64")

    def variable(values: Any, name: str) -> Any:
        return tensorflow.Variable(values, dtype="float64", name=name)

    return _keras_form.peers(tf_keras, "tf_keras.optimizers", variable, tensorflow.constant)
