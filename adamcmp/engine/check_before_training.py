"""Check model, loss and optimizer of every run group on two examples, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from adamcmp.config.schema import CustomLoss, CustomOptimizer, ScriptOptimizer
from adamcmp.data.dataset import Dataset
from adamcmp.data.multi_input import MultiInput, Plain
from adamcmp.data.summary import Line
from adamcmp.engine import weights
from adamcmp.engine.coefficients import schedule_of
from adamcmp.engine.extra_metrics import check_metrics, needs_optimizer_state
from adamcmp.engine.loading import as_precision, autocast, build_model, list_names
from adamcmp.engine.model_summary import MAX_LISTED_LAYERS, hidden_layers, summarize_model
from adamcmp.engine.objective import Objective, check_loss, predict
from adamcmp.engine.optimizer_step import make_optimizer_step
from adamcmp.engine.shared_state import restore_shared_state
from adamcmp.errors import InputError, describe_exception, one_line
from adamcmp.metrics import functions
from adamcmp.plan.runs import Run, RunGroup, TaskSpec


def check_before_training(
    run_groups: Iterable[RunGroup], datasets: Mapping[str, Dataset], device: torch.device
) -> dict[str, tuple[Line, ...]]:
    """Build every model and custom optimizer once, and show two examples to each model, before anything is trained.

    Returns:
        By task, the summary of its model.

    Raises:
        InputError: one line for the first that does not work.
    """
    lines: dict[str, tuple[Line, ...]] = {}
    for run_group in run_groups:
        with restore_shared_state(run_group.runs[0]):
            lines[run_group.task.key] = _check_group(run_group, datasets[run_group.task.facts.fingerprint], device)
    return lines


def _check_group(run_group: RunGroup, dataset: Dataset, device: torch.device) -> tuple[Line, ...]:
    lines = _check_model(run_group.runs[0], dataset, device)
    optimizer = run_group.runs[0].optimizer
    assert not isinstance(optimizer, ScriptOptimizer)  # their scripts are checked by a run
    if isinstance(optimizer, CustomOptimizer) or optimizer.source is not None:
        _check_optimizer(run_group.runs[0], dataset, device)
    elif run_group.patterns:
        make_optimizer_step(optimizer, build_model(run_group.task, 0, device), schedule_of(run_group.runs[0]))
    for run in {run.schedule: run for run in run_group.runs}.values():
        schedule_of(run).step(run.task.steps - 1)
    return lines


def _check_optimizer(run: Run, dataset: Dataset, device: torch.device) -> None:
    """Take one step of a custom optimizer or rule."""
    model = build_model(run.task, 0, device)
    x, y = _two_examples(run.task, dataset, device)
    try:
        update = make_optimizer_step(run.optimizer, model, schedule_of(run))
        with torch.random.fork_rng(devices=[]):
            with autocast(run.task, device):
                loss = Objective(run.task, device).loss(predict(model, x), y)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            update.step(0)
    except InputError:
        raise
    except Exception as error:  # a custom class may fail in any way
        how = "adamcmp trains with optimizers whose step() needs no closure, and rules; see `adamcmp docs extending`"
        raise InputError(
            f"optimizer: {run.optimizer.name} cannot take a step on dense gradients, once a batch "
            f"({describe_exception(error)}); {how}"
        ) from error


def _two_examples(task: TaskSpec, dataset: Dataset, device: torch.device) -> tuple[Plain, Tensor]:
    """Return two examples as a model is given them, and their targets."""
    few = dataset.train.take(slice(2))
    data = as_precision(replace(dataset, train=few, validation=few, test=few), task.train.precision).to(device)
    return data.inputs(data.train.x), data.train.y


def _check_model(run: Run, dataset: Dataset, device: torch.device) -> tuple[Line, ...]:
    task = run.task
    if task.train.precision == "fp64" and device.type in functions.DEVICES_WITHOUT_FLOAT64:
        raise InputError(f"train.precision=fp64: {device.type} has no float64; give fp32, or execute.device=cpu")
    model = build_model(task, 0, device)
    if not any(p.requires_grad for p in model.parameters()):
        raise InputError(f"model {task.model.name}: has no parameters to train")
    shape = dataset.input_shape
    if task.data.augment is not None and (isinstance(dataset.train.x, MultiInput) or len(shape) != 3):
        raise InputError(
            f"data.augment={task.data.augment}: is for images (C, H, W), but {task.data.name} gives {shape}; set it to "
            "null"
        )
    x, y = _two_examples(task, dataset, device)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            output: Any = predict(model.eval(), x)
    except InputError:
        raise
    except Exception as error:  # a custom model may raise anything on data that does not fit it
        raise InputError(
            f"model {task.model.name} does not take the examples of {task.data.name}, shape "
            f"{list_names(shape)}: {type(error).__name__}: {one_line(error)}"
        ) from error
    criterion = Objective(task, device)
    _check_outputs(task, dataset, criterion.aligned(output, y) if isinstance(output, Tensor) else output, y)
    if isinstance(task.train.loss, CustomLoss):
        check_loss(criterion, task.train.loss, output, y)
    state = (
        make_optimizer_step(run.optimizer, model, schedule_of(run), ours=True).kept
        if needs_optimizer_state(task)
        else {}
    )
    check_metrics(model, state, as_precision(dataset, task.train.precision), task)
    lines = [("model", f"{task.model.name}: {summarize_model(model, output)}")]
    if task.init is not None:
        loading = weights.match_weights(task.init, model)
        new = (
            f"; new: {', '.join(loading.new[:MAX_LISTED_LAYERS])}{' …' if len(loading.new) > MAX_LISTED_LAYERS else ''}"
            if loading.new
            else ""
        )
        count = len(loading.loaded) + len(loading.new)
        lines.append(("init", f"{len(loading.loaded):,} of {count:,} tensors from {task.init.path}{new}"))
    if hidden := hidden_layers(model):
        where = ", ".join(hidden[:MAX_LISTED_LAYERS])
        remedy = "use nn.ModuleList, nn.ModuleDict or nn.ParameterList"
        lines.append(("warning", f"layers in {where} are not trained, since a plain list or dict holds them; {remedy}"))
    return tuple(lines)


def _check_outputs(task: TaskSpec, dataset: Dataset, output: Any, y: Tensor) -> None:
    """Refuse a model whose outputs are not one for each class, quantity or label."""
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if dataset.targets == "classes":
        wide = output.shape[-1] if isinstance(output, Tensor) and output.shape[:-1] == y.shape else 0
        if wide == dataset.num_outputs or (wide > dataset.num_outputs and task.model.extra_outputs):
            return
        if wide > dataset.num_outputs:
            raise InputError(
                f"model {task.model.name}: has {wide:,} outputs for {dataset.num_outputs} classes of "
                f"{task.data.name}; build it with num_classes={dataset.num_outputs}, or set model.extra_outputs=true"
            )
        needed = f"logits of shape {(*y.shape, dataset.num_outputs)}, one per class"
    else:
        if shape == tuple(y.shape):
            return
        needed = f"outputs of shape {tuple(y.shape)}, one per {'label' if dataset.targets == 'labels' else 'quantity'}"
    raise InputError(f"model {task.model.name}: gives {shape} for two examples; needs {needed} of {task.data.name}")
