"""Many runs of an MLP as one JAX program, by hand: vmap over runs, scan over steps; prints run-steps per second.

    python -m tasks.jax_program digits 64 2.0

Each run has its own learning rate and weight decay (optax.inject_hyperparams) and weights; batches are taken by index
and are the same for all runs, as in a sweep over one seed. Arithmetic is fp32; compiling is not in the figure.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from torch import nn

from tasks.works import WORKS, Task, build

STEPS = 50
"""Steps that one call of the program takes."""


def loss(params: Any, x_BI: jax.Array, y_B: jax.Array) -> jax.Array:
    """Mean cross-entropy of an MLP with ReLU."""
    *hidden, (w, b) = params
    for w_i, b_i in hidden:
        x_BI = jax.nn.relu(x_BI @ w_i + b_i)
    return optax.softmax_cross_entropy_with_integer_labels(x_BI @ w + b, y_B).mean()


def adamw(lr: Any, weight_decay: Any) -> optax.GradientTransformation:
    """AdamW whose learning rate and weight decay are part of its state."""
    return optax.inject_hyperparams(optax.adamw)(learning_rate=lr, weight_decay=weight_decay)


def initial(key: jax.Array, lr: jax.Array, weight_decay: jax.Array, sizes: Sequence[int]) -> Any:
    """Weights and optimizer state of one run."""
    shapes = list(itertools.pairwise(sizes))
    keys = jax.random.split(key, len(shapes))
    bounds = [shape[0] ** -0.5 for shape in shapes]
    params = [
        (jax.random.uniform(k, shape, minval=-bound, maxval=bound), jnp.zeros(shape[1]))
        for k, shape, bound in zip(keys, shapes, bounds, strict=True)
    ]
    return params, adamw(lr, weight_decay).init(params)


def train(run: Any, batches_TB: jax.Array, x_NI: jax.Array, y_N: jax.Array) -> Any:
    """One run, T steps on."""

    def step(run: Any, batch_B: jax.Array) -> tuple[Any, None]:
        params, state = run
        grads = jax.grad(loss)(params, x_NI[batch_B], y_N[batch_B])
        updates, state = adamw(0.0, 0.0).update(grads, state, params)  # the state's values count
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, run, batches_TB)[0]


def trainer(task: Task, rows: int) -> Callable[[], None]:
    """Return a function that trains this many runs for STEPS more steps."""
    linears = [module for module in task.model.modules() if isinstance(module, nn.Linear)]
    sizes = [linears[0].in_features, *(linear.out_features for linear in linears)]
    x_NI, y_N = jnp.asarray(task.x.flatten(1).numpy()), jnp.asarray(task.y.numpy())
    lr_R, decay_R = jnp.geomspace(1e-4, 1e-2, rows), jnp.geomspace(1e-5, 1e-2, rows)
    keys_R = jax.random.split(jax.random.PRNGKey(0), rows)
    runs = jax.vmap(lambda *each: initial(*each, sizes))(keys_R, lr_R, decay_R)
    program = jax.jit(jax.vmap(train, in_axes=(0, None, None, None)), donate_argnums=0)
    generator = np.random.default_rng(0)

    def advance() -> None:
        nonlocal runs
        epochs = -(-STEPS // task.steps_per_epoch)
        orders = [generator.permutation(len(y_N))[: task.steps_per_epoch * task.batch_size] for _ in range(epochs)]
        batches_TB = np.concatenate(orders).reshape(-1, task.batch_size)[:STEPS]
        runs = jax.block_until_ready(program(runs, jnp.asarray(batches_TB), x_NI, y_N))

    return advance


def main() -> None:
    """Compile, then train for so many seconds."""
    name, rows, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    advance = trainer(build(WORKS[name]), rows)
    advance()
    started, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < seconds:
        advance()
        calls += 1
    print(rows * STEPS * calls / passed)


if __name__ == "__main__":
    main()
