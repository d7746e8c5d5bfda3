"""Keras 3 on TensorFlow."""

from __future__ import annotations

from adamcmp.conformance.libraries import Peer, _keras_form

DISTRIBUTION, MODULE = ("keras", "tensorflow-cpu"), ("keras", "tensorflow")


def peers() -> list[Peer]:
    """Return its optimizers."""
    return _keras_form.on("tensorflow", "keras.optimizers")
