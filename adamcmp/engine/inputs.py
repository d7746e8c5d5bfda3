"""Settings in; data sets, models and devices out, each checked before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache

import torch
from torch import nn

from adamcmp import metrics
from adamcmp.config.build import call
from adamcmp.config.schema import Data, Official, OwnOptimizer
from adamcmp.data.dataset import Dataset, Scale, Split, prepare
from adamcmp.data.rows import Rows
from adamcmp.engine.measures import check_metrics
from adamcmp.engine.streams import seed_device, stream_seed
from adamcmp.engine.updates import make_update, schedule_of
from adamcmp.errors import InputError, one_line, told
from adamcmp.plan.runs import Cohort, DataFacts, Run, Task

DTYPES = {"fp32": torch.float32, "bf16": torch.float32, "fp64": torch.float64}
"""What weights and optimizer state are made of."""
CPU = torch.device("cpu")


def load_data(settings: Data, memory: float = float("inf")) -> Dataset:
    """Load, cut and normalise a data set; what is memory-mapped and takes more than `memory` bytes stays on disk.

    Raises:
        InputError: the data function cannot be called, or what it returned cannot be used.
    """
    raw = call(settings.target, "data", settings.arguments)
    return prepare(
        raw,
        name=settings.name,
        validation_fraction=settings.validation_fraction,
        test_fraction=settings.test_fraction,
        split_seed=settings.split_seed,
        normalize=settings.normalize,
        train_examples=settings.train_examples,
        memory=memory,
        duplicates=settings.duplicates,
    )


def stand_in(settings: Data, official: Official) -> Dataset:
    """Zeros of a published data set's size, which take no memory: to plan with, not to train on."""

    def zeros(count: int) -> Split:
        x, y = torch.zeros((), dtype=torch.uint8), torch.zeros((), dtype=torch.int64)
        return Split(x.expand(count, *official.shape), y.expand(count))

    held_out = max(1, round(settings.validation_fraction * official.examples))
    examples = settings.train_examples or official.examples - held_out
    train, validation, test = zeros(examples), zeros(held_out), zeros(held_out)
    scale = Scale(torch.tensor(0.0), torch.tensor(1.0))
    return Dataset(settings.name, train, validation, test, official.classes, "not loaded", scale=scale)


def facts(dataset: Dataset) -> DataFacts:
    """What planning needs to know of a data set."""
    return DataFacts(
        dataset.fingerprint,
        len(dataset.train.y),
        dataset.num_classes,
        dataset.input_shape,
        len(dataset.validation.y),
        len(dataset.test.y),
        dataset.num_tokens,
        dataset.bytes_per_label,
        dataset.majority_errors,
    )


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes an accelerator where there is one.

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
def placed(dataset: Dataset, precision: str, device: torch.device) -> Dataset:
    """The data set as a model of that precision takes it, on a device; the last two are kept for pieces to come."""
    return as_precision(dataset, precision).to(device)


def as_precision(dataset: Dataset, precision: str) -> Dataset:
    """The data set with its inputs as numbers of a precision; tokens stay what they are."""
    dtype = DTYPES[precision]
    scale = dataset.scale and Scale(*(each.to(dtype) for each in dataset.scale))

    def cast(part: Split) -> Split:
        if isinstance(part.x, Rows) or not part.x.is_floating_point() or scale is not None:
            return part  # tokens; or `Dataset.inputs` makes such numbers
        return Split(part.x.to(dtype), part.y)

    train, validation, test = (cast(part) for part in (dataset.train, dataset.validation, dataset.test))
    return replace(dataset, train=train, validation=validation, test=test, scale=scale)


def autocast(task: Task, device: torch.device) -> AbstractContextManager[object]:
    """Inside it, a model's matrix products are those of the task's precision."""
    if task.train.precision != "bf16":  # torch's own context takes a tenth of a small model's step, enabled or not
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def build_model(task: Task, seed: int, device: torch.device) -> nn.Module:
    """A freshly initialised model: weights are drawn on the CPU from the seed's stream ``init``.

    Raises:
        InputError: the class cannot be imported or built, or it is no ``nn.Module``.
    """
    with torch.random.fork_rng(devices=[]):
        seed_device(CPU, stream_seed(seed, "init"))
        model = call(
            task.model.target,
            "model",
            task.model.arguments,
            input_shape=task.facts.input_shape,
            num_classes=task.facts.num_classes,
            num_tokens=task.facts.num_tokens,
        )
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model._target_={task.model.target}: gives a {type(model).__name__}; must be a torch nn.Module"
        )
    return model.to(device, DTYPES[task.train.precision])


def check(cohorts: Iterable[Cohort], datasets: Mapping[str, Dataset], device: torch.device) -> None:
    """Build every model and own optimizer once, and show two examples to each model, before anything is trained.

    Raises:
        InputError: one line for the first that does not work.
    """
    for cohort in cohorts:
        dataset = datasets[cohort.task.facts.fingerprint]
        _check_model(cohort.task, dataset, device)
        if isinstance(cohort.runs[0].optimizer, OwnOptimizer):
            _check_optimizer(cohort.runs[0], dataset, device)


def _check_optimizer(run: Run, dataset: Dataset, device: torch.device) -> None:
    """Take one step of an own optimizer."""
    model = build_model(run.task, 0, device)
    update = make_update(run.optimizer, model, schedule_of(run))
    data = as_precision(dataset, run.task.train.precision)
    x, y = data.inputs(data.train.x[:2]).to(device), data.train.y[:2].to(device)
    try:
        with torch.random.fork_rng(devices=[]):
            with autocast(run.task, device):
                loss = metrics.cross_entropy(model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            update.step(0)
    except Exception as error:  # an own class may fail in any way
        raise InputError(
            f"optimizer: {run.optimizer.name} cannot take a step on dense gradients, once a batch ({told(error)}); "
            "adamcmp trains with optimizers whose step() needs no closure"
        ) from error


def _check_model(task: Task, dataset: Dataset, device: torch.device) -> None:
    if task.train.precision == "fp64" and device.type in metrics.NARROW:
        raise InputError(f"train.precision=fp64: {device.type} has no float64; give fp32, or execute.device=cpu")
    model = build_model(task, 0, device)
    if not any(p.requires_grad for p in model.parameters()):
        raise InputError(f"model {task.model.name}: has no parameters to train")
    if task.data.augment is not None and len(dataset.input_shape) != 3:
        raise InputError(
            f"data.augment={task.data.augment}: is for pictures (C, H, W), {task.data.name} gives "
            f"{dataset.input_shape}; set it to null"
        )
    x, y = dataset.inputs(dataset.train.x[:2]).to(device), dataset.train.y[:2]
    x = x.to(DTYPES[task.train.precision]) if x.is_floating_point() else x
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            logits = model.eval()(x)
    except InputError:
        raise
    except Exception as error:  # an own model may fail in any way on data that does not fit it
        raise InputError(
            f"model {task.model.name} does not take the examples of {task.data.name}, shape "
            f"{list(dataset.input_shape)}: {type(error).__name__}: {one_line(error)}"
        ) from error
    given = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if not isinstance(given, tuple) or given[:-1] != tuple(y.shape) or given[-1] < dataset.num_classes:
        raise InputError(
            f"model {task.model.name}: gives {given} for two examples; needs logits of shape "
            f"{(*y.shape, dataset.num_classes)}, one per class of {task.data.name}"
        )
    check_metrics(model, as_precision(dataset, task.train.precision), task)
