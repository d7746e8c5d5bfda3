"""Libraries with optimizers, one module each: name, how to take steps, defaults.

A module has ``DISTRIBUTION`` (the name for ``pip``), ``MODULE`` (the name to import) and ``peers()``, which imports the
library. It may set the environment before, since each runs in a process of its own (``library_process``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from adamcmp.conformance.problems import Problem, UpdatePath

LIBRARIES = {
    "torch_optim": "PyTorch",
    "keras_on_tensorflow": "Keras on TensorFlow",
    "keras_on_torch": "Keras on PyTorch",
    "keras_on_jax": "Keras on JAX",
    "tf_keras": "Keras 2 on TensorFlow",
    "optax_jax": "optax",
    "timm_optim": "timm",
    "fastai_optimizer": "fastai",
    "transformers_optim": "transformers",
    "pytorch_optimizers": "pytorch_optimizer",
    "schedule_free_optim": "schedulefree",
    "lion": "lion-pytorch",
    "apex_fused": "NVIDIA Apex",
    "tensorflow_addons": "TensorFlow Addons",
}
"""Modules here, with human-readable names."""


class Peer(NamedTuple):
    """An optimizer of a library."""

    name: str
    """With the arguments that make it another one: ``torch.optim.AdamW(fused=True)``."""
    rule: str
    """Which rule of adamcmp it has the name of; which convention it follows is to be found."""
    path: Callable[[Problem], UpdatePath]
    defaults: Mapping[str, Any] = {}
    """Its own learning rate, β, ε and λ, by its own names."""
    precision: str = "float64"
    """Precision, if it allows only one."""
