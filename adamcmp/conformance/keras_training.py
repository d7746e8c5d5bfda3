"""Trainings by Keras on TensorFlow with the same weights, batches and learning rates as adamcmp's.

    python -m adamcmp.conformance.keras_training OUT.csv model=mlp optimizer=adamw optimizer/framework=keras …

The words are those of ``adamcmp run digits``, of an MLP or the small CNN, with Adam or AdamW. Keras has no L2 in its
optimizers: Adam with L2 is its Adam with ``kernel_regularizer=L2(λ/2)`` on every variable, whose gradient is λθ.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import torch
from torch import nn

from adamcmp.config.lookup import find_config
from adamcmp.data.dataset import Dataset
from adamcmp.engine.batches import batches
from adamcmp.engine.coefficients import schedule_of
from adamcmp.engine.loading import CPU, build_model, dataset_metadata, load_data, to_device
from adamcmp.engine.objective import Objective, predict
from adamcmp.engine.optimizer_step import make_optimizer_step
from adamcmp.errors import InputError
from adamcmp.models.cnn import SmallCNN
from adamcmp.models.mlp import MLP
from adamcmp.plan.expand import plan_study
from adamcmp.plan.runs import Run

CONFIG = "digits"


class LayerSpec(NamedTuple):
    """A layer for Keras: its class and arguments, and its weights from torch's."""

    kind: str
    arguments: dict[str, Any]
    weights: list[Any]


def layer_specs(model: nn.Module) -> list[LayerSpec]:
    """Return a model of adamcmp as layers of Keras, images with channels last.

    Raises:
        InputError: it is neither an MLP nor a small CNN.
    """
    if isinstance(model, MLP):
        layers = [LayerSpec("Flatten", {}, [])]
        for layer in model.layers:
            if isinstance(layer, nn.Linear):
                layers.append(_dense(layer))
            elif isinstance(layer, nn.ReLU):
                layers.append(LayerSpec("ReLU", {}, []))
            else:
                raise InputError(f"keras: no layer for {type(layer).__name__}")
        return layers
    if not isinstance(model, SmallCNN):
        raise InputError(f"keras: no such layers for {type(model).__name__}; take model=mlp or model=cnn")
    layers = []
    for block in model.blocks:
        conv, norm, _ = cast("tuple[Any, nn.Module, nn.Module]", tuple(block.children()))
        bias = [] if conv.bias is None else [_plain(conv.bias)]
        stride = {"strides": conv.stride[0], "use_bias": conv.bias is not None}
        layers += [
            LayerSpec("ZeroPadding2D", {"padding": conv.padding[0]}, []),
            LayerSpec("Conv2D", {"filters": conv.out_channels, "kernel_size": conv.kernel_size, **stride},
                  [_plain(conv.weight).transpose(2, 3, 1, 0), *bias]),
        ]  # fmt: skip
        if isinstance(norm, nn.GroupNorm):
            arguments = {"groups": norm.num_groups, "epsilon": norm.eps}
            layers.append(LayerSpec("GroupNormalization", arguments, [_plain(norm.weight), _plain(norm.bias)]))
        elif not isinstance(norm, nn.Identity):
            raise InputError("keras: batch norm keeps other running averages there; take model.norm=group")
        layers.append(LayerSpec("ReLU", {}, []))
    return [*layers, LayerSpec("GlobalAveragePooling2D", {}, []), _dense(model.head)]


def _dense(layer: nn.Linear) -> LayerSpec:
    return LayerSpec("Dense", {"units": layer.out_features}, [_plain(layer.weight).T, _plain(layer.bias)])


def _plain(tensor: torch.Tensor) -> Any:
    return tensor.detach().numpy().copy()


def _keras_model(keras: Any, layers: list[LayerSpec], shape: Any) -> Any:
    model = keras.Sequential(
        [keras.Input(shape), *(getattr(keras.layers, one.kind)(**one.arguments) for one in layers)]
    )
    for made, layer in zip(model.layers, layers, strict=True):
        if layer.weights:
            made.set_weights(layer.weights)
    return model


def _keras_optimizer(keras: Any, run: Run, rates: Any) -> Any:
    """Return Keras's Adam or AdamW with the run's settings and a table of learning rates by step."""
    import tensorflow

    class Looked(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # keras is untyped
        def __call__(self, step: Any) -> Any:
            return tensorflow.gather(tensorflow.constant(rates), tensorflow.cast(step, "int32"))

    optimizer: Any = run.optimizer
    beta1, beta2 = optimizer.betas
    arguments = {"learning_rate": Looked(), "beta_1": beta1, "beta_2": beta2, "epsilon": optimizer.eps}
    if optimizer.decay == "lr_scaled":
        return keras.optimizers.AdamW(weight_decay=optimizer.weight_decay, **arguments)
    return keras.optimizers.Adam(**arguments)


def train_with_keras(words: list[str]) -> pd.DataFrame:
    """Return the loss of every batch before its step, ``adamcmp`` and ``keras``, by ``seed`` and ``step``.

    At step −1 stands the loss on all test examples after the last step.

    Raises:
        InputError: Keras cannot train so.
    """
    datasets = {}

    def load(settings: Any, _: Any) -> Any:
        dataset = load_data(settings)
        datasets[dataset.fingerprint] = dataset
        return dataset_metadata(dataset)

    runs = plan_study(find_config(CONFIG), words, load).runs
    for run in runs:
        _check(run.optimizer)
    return pd.concat([_train_model(run, datasets[run.task.facts.fingerprint]) for run in runs], ignore_index=True)


def _check(optimizer: Any) -> None:
    if optimizer.rule != "adam" or optimizer.decay not in ("l2", "lr_scaled") or optimizer.eps_placement != "before":
        raise InputError("keras: is for optimizer=adam or adamw, with optimizer/framework=keras")


FLOATS = {"fp32": "float32", "fp64": "float64"}


def _train_model(run: Run, data: Dataset) -> pd.DataFrame:
    os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    import keras
    import tensorflow

    precision = FLOATS[run.task.train.precision]
    keras.config.set_floatx(precision)
    keras.config.set_dtype_policy(precision)
    optimizer: Any = run.optimizer
    dataset = to_device(data, run.task.train.precision, CPU)
    model = build_model(run.task, run.seed, CPU)
    layers = layer_specs(model)
    schedule, criterion = schedule_of(run), Objective(run.task, CPU)
    update = make_optimizer_step(run.optimizer, model, schedule, ours=True)
    shape: Any = dataset.input_shape
    turned: Any = (*shape[1:], shape[0]) if len(shape) == 3 else shape
    other = _keras_model(keras, layers, turned)
    rates = np.asarray(schedule.window(0, run.task.steps).eta_T * optimizer.lr, dtype=precision)
    other_optimizer = _keras_optimizer(keras, run, rates)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    penalty = optimizer.weight_decay if optimizer.decay == "l2" else 0.0

    @tensorflow.function  # type: ignore[untyped-decorator,unused-ignore]  # where tensorflow is untyped
    def step(x: Any, y: Any) -> Any:
        with tensorflow.GradientTape() as tape:
            loss = cross_entropy(y, other(x, training=True))
            total = loss + penalty / 2 * sum(
                tensorflow.reduce_sum(variable**2) for variable in other.trainable_variables
            )
        variables = other.trainable_variables
        other_optimizer.apply_gradients(zip(tape.gradient(total, variables), variables, strict=True))
        return loss

    def theirs(x: torch.Tensor) -> Any:
        return tensorflow.constant((x.movedim(1, -1) if len(shape) == 3 else x).contiguous().numpy())

    rows = []
    for t, (x, y) in enumerate(batches(dataset, run.task, (run.seed,))):
        assert isinstance(x, torch.Tensor)
        model.zero_grad()
        loss = criterion.loss(predict(model, x), y)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        update.step(t)
        rows.append((t, loss.item(), float(step(theirs(x), y.numpy()))))
    model.eval()
    test = dataset.test
    assert isinstance(test.x, torch.Tensor)
    with torch.no_grad():
        ended = criterion.loss(predict(model, test.x), test.y).item()
    rows.append((-1, ended, float(cross_entropy(test.y.numpy(), other(theirs(test.x), training=False)))))
    return pd.DataFrame(rows, columns=["step", "adamcmp", "keras"]).assign(seed=run.seed)


def main() -> None:
    """Train, and write the losses."""
    out, *words = sys.argv[1:]
    train_with_keras(words).to_csv(Path(out), index=False)


if __name__ == "__main__":
    main()
