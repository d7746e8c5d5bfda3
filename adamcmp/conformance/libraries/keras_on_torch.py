"""Keras 3 on PyTorch."""

from __future__ import annotations

from adamcmp.conformance.libraries import Peer, _keras_form

DISTRIBUTION, MODULE = ("keras", "torch"), ("keras", "torch")


def peers() -> list[Peer]:
    """Return its optimizers."""
    return _keras_form.on("torch", "keras.optimizers")
