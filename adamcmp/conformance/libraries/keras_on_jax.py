"""Keras 3 on JAX."""

from __future__ import annotations

from adamcmp.conformance.libraries import Peer, _keras_form

DISTRIBUTION, MODULE = ("keras", "jax"), ("keras", "jax")


def peers() -> list[Peer]:
    """Return its optimizers."""
    return _keras_form.on("jax", "keras.optimizers")
