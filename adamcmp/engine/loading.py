"""Settings in; data sets, models and devices out, each checked before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from adamcmp.config.instantiate import call_target
from adamcmp.config.schema import Data, OfficialSize
from adamcmp.data.dataset import Dataset, Shape, Split, make_dataset
from adamcmp.data.multi_input import MultiInput, Plain
from adamcmp.data.normalization import Normalization
from adamcmp.data.on_disk import DiskRows
from adamcmp.engine import weights
from adamcmp.engine.objective import DTYPES, constant_baselines, predict
from adamcmp.engine.random_streams import all_streams, host_streams, seed_device, stream_seed
from adamcmp.errors import InputError, describe_exception, one_line
from adamcmp.plan.runs import MAX_COUNTED_CLASSES, DatasetMetadata, TaskSpec

CPU = torch.device("cpu")


def load_data(settings: Data, memory: float = float("inf")) -> Dataset:
    """Load, split and normalize a data set; memory-mapped arrays of more than `memory` bytes stay on disk.

    Raises:
        InputError: the data function cannot be called, or its result cannot be used.
    """
    with all_streams(stream_seed(0, "data")):  # a data function that draws gives the same examples each time
        raw = call_target(settings.target, "data", settings.arguments, targets=settings.targets)
    return make_dataset(
        raw,
        name=settings.name,
        validation_fraction=settings.validation_fraction,
        test_fraction=settings.test_fraction,
        split_seed=settings.split_seed,
        normalize=settings.normalize,
        train_examples=settings.train_examples,
        memory=memory,
        duplicates=settings.duplicates,
        targets=settings.targets,
        normalize_targets=settings.normalize_targets,
        stratify=settings.stratify,
    )


def placeholder_dataset(settings: Data, official: OfficialSize) -> Dataset:
    """Return zeros of a published data set's size, which take no memory: to plan with, not to train on."""

    def zeros(count: int) -> Split:
        x, y = torch.zeros((), dtype=torch.uint8), torch.zeros((), dtype=torch.int64)
        return Split(x.expand(count, *official.shape), y.expand(count))

    held_out = max(1, round(settings.validation_fraction * official.examples))
    examples = settings.train_examples or official.examples - held_out
    train, validation, test = zeros(examples), zeros(held_out), zeros(held_out)
    scale = Normalization(torch.tensor(0.0), torch.tensor(1.0))
    return Dataset(settings.name, train, validation, test, official.classes, "not loaded", scale=scale)


def dataset_metadata(dataset: Dataset) -> DatasetMetadata:
    """Return the metadata of a data set that planning needs."""
    scale, train_y = dataset.target_scale, dataset.train.y
    ys = {"validation": dataset.validation.y, "test": dataset.test.y}
    counts: tuple[int, ...] = ()
    if dataset.num_outputs <= MAX_COUNTED_CLASSES and dataset.targets != "quantities":
        labels = dataset.targets == "labels"
        class_counts = train_y.sum(0) if labels else train_y.flatten().bincount(minlength=dataset.num_outputs)
        counts = tuple(map(int, class_counts.tolist()))
    return DatasetMetadata(
        fingerprint=dataset.fingerprint,
        train_examples=len(train_y),
        num_outputs=dataset.num_outputs,
        input_shape=dataset.input_shape,
        validation_examples=len(dataset.validation.y),
        test_examples=len(dataset.test.y),
        targets=dataset.targets,
        unit=dataset.unit,
        target_mean=tuple(scale.mean.tolist()) if scale else (),
        target_std=tuple(scale.std.tolist()) if scale else (),
        class_counts=counts,
        num_tokens=dataset.num_tokens,
        bytes_per_label=dataset.bytes_per_label,
        baselines=constant_baselines(train_y, ys, dataset.targets, scale.std if scale else None),
    )


def choose_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is an accelerator if one is available.

    Raises:
        InputError: there is no such device here.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # its products are then the same every time
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or CPU
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's ways of saying no
        raise InputError(
            f"execute.device={name}: not usable here ({one_line(error)}); give auto, cpu, cuda or mps"
        ) from error
    return device


@lru_cache(maxsize=2)
def to_device(dataset: Dataset, precision: str, device: torch.device) -> Dataset:
    """Return the data set as a model of that precision takes it, on a device; the last two are kept for shards to
    come.
    """
    return as_precision(dataset, precision).to(device)


def as_precision(dataset: Dataset, precision: str) -> Dataset:
    """Return the data set with its inputs in a precision; tokens are left unchanged."""
    dtype = DTYPES[precision]
    scale = dataset.scale and Normalization(
        *(tensor.to(tensor.dtype if tensor.dtype == torch.float64 else dtype) for tensor in dataset.scale)
    )

    def number(x: Tensor) -> Tensor:
        return x.to(dtype) if x.is_floating_point() else x  # tokens stay, classes too

    def cast(part: Split) -> Split:
        x = part.x
        if isinstance(x, MultiInput):
            return Split(x.each(number), number(part.y))
        as_is = isinstance(x, DiskRows) or scale is not None  # `Dataset.inputs` makes such numbers
        return Split(x if as_is else number(x), number(part.y))  # type: ignore[arg-type]  # as_is says what x is

    train, validation, test = (cast(part) for part in (dataset.train, dataset.validation, dataset.test))
    return replace(dataset, train=train, validation=validation, test=test, scale=scale, input_dtype=dtype)


def autocast(task: TaskSpec, device: torch.device) -> AbstractContextManager[object]:
    """Use the task's precision for matrix products of a model inside the block."""
    if task.train.precision != "bf16":  # torch's own context takes a tenth of a small model's step, enabled or not
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def build_model(task: TaskSpec, seed: int, device: torch.device) -> nn.Module:
    """Return a freshly initialized model: weights are drawn on the CPU from the seed's stream ``init``, or read from
    ``init``.

    Raises:
        InputError: the class cannot be imported or built, it is no ``nn.Module``, or ``init`` does not fit it.
    """
    try:
        model = _model_arguments(task, seed, {"num_classes": task.facts.num_outputs})
    except InputError as error:
        if not (isinstance(error.__cause__, TypeError) and "num_classes" in str(error.__cause__)):
            raise
        model = _model_arguments(task, seed, {})
    model = _as_precision(model, device, DTYPES[task.train.precision])
    if task.init is not None:
        weights.load_weights(task.init, model)
    return model


def _model_arguments(task: TaskSpec, seed: int, through: Mapping[str, Any]) -> nn.Module:
    """Call the model's class or function; ``through`` is for one that passes any keyword on."""
    with torch.random.fork_rng(devices=[]), host_streams(stream_seed(seed, "init")):
        seed_device(CPU, stream_seed(seed, "init"))
        model = call_target(
            task.model.target,
            "model",
            task.model.arguments,
            through,
            input_shape=task.facts.input_shape,
            num_outputs=task.facts.num_outputs,
            num_classes=task.facts.num_outputs,  # the usual name where outputs are classes
            num_tokens=task.facts.num_tokens,
        )
        if not isinstance(model, nn.Module):
            raise InputError(
                f"model._target_={task.model.target}: gives a {type(model).__name__}; must be a torch nn.Module"
            )
        if any(base.__name__ == "LightningModule" for base in type(model).__mro__):
            raise InputError(
                f"model._target_={task.model.target}: is a LightningModule, whose training_step and "
                "configure_optimizers adamcmp would not call. Give the network inside it (an nn.Module that returns "
                "predictions) as model._target_, and its loss as train.loss._target_"
            )
        _materialize(model, task)
    return model


def _materialize(model: nn.Module, task: TaskSpec) -> None:
    """Give lazy layers their sizes by a batch of zeros.

    Raises:
        InputError: the model does not take the batch.
    """
    tensors = (*model.parameters(), *model.buffers())
    if not any(isinstance(tensor, UninitializedBuffer | UninitializedParameter) for tensor in tensors):
        return
    dtype = torch.int64 if task.facts.num_tokens else torch.float32
    shape = task.facts.input_shape
    zeros: Plain
    if isinstance(shape, Mapping):
        zeros = {name: torch.zeros(2, *size, dtype=dtype) for name, size in shape.items()}
    elif shape and isinstance(shape[0], tuple):
        zeros = tuple(torch.zeros(2, *size, dtype=dtype) for size in shape)
    else:
        zeros = torch.zeros(2, *shape, dtype=dtype)
    was_training = model.training
    try:
        with torch.no_grad():
            predict(model.eval(), zeros)
    except Exception as error:  # a custom model may fail in any way
        raise InputError(
            f"model {task.model.name}: its lazy layers cannot be built from examples of shape {list_names(shape)} "
            f"({describe_exception(error)})"
        ) from error
    model.train(was_training)


def _as_precision(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Move a model to a device and precision; complex tensors stay complex, which ``Module.to(dtype)`` makes real."""

    def convert(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(device, dtype.to_complex())
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    converted: nn.Module = model._apply(convert)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return converted


def list_names(shape: Shape) -> str:
    """Return the shape of an example, or the names of its inputs, as text."""
    return str(list(shape) if isinstance(shape, tuple) else shape)
