"""Metrics that ``train.metrics`` asks for: measured at every evaluation, ours and a user's alike."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from adamcmp.config.instantiate import find_target
from adamcmp.data.dataset import Dataset
from adamcmp.engine.evaluation import CHUNK_EXAMPLES, chunk_size, measure_split
from adamcmp.engine.objective import Objective, predict
from adamcmp.engine.random_streams import all_streams, stream_seed
from adamcmp.errors import InputError, one_line, suggest_names
from adamcmp.metrics.functions import CLASS_METRICS, MODEL_METRICS
from adamcmp.metrics.spec import METRIC_SPECS, Targets
from adamcmp.plan.runs import TaskSpec

State = Mapping[str, Mapping[str, Tensor]]
"""Optimizer state, by name of the parameter and then of the state."""
TARGET_METRICS: Mapping[Targets, tuple[str, ...]] = {
    targets: (*(error.name for error in errors), *(f.__name__ for f in CLASS_METRICS if targets == "classes"))
    for targets, errors in METRIC_SPECS.items()
}
"""Names that need no path: functions of ``adamcmp.metrics.functions`` by the targets that they are for."""
OUTPUT_ARGUMENTS, OUTPUT_SPLITS = {"outputs", "logits"}, ("validation", "test")
"""Arguments of a metric that stand for the model's outputs, and the splits on which such a metric is computed."""
OBJECTIVE_EXAMPLES = 1000
"""Training examples that ``objective`` is over, at most."""


def compute_extra_metrics(
    model: nn.Module,
    previous: Mapping[str, Tensor],
    state: State,
    dataset: Dataset,
    task: TaskSpec,
    outputs: Mapping[str, Tensor] | None = None,
) -> dict[str, float]:
    """Return every metric that ``train.metrics`` requests: ``test_calibration_error``, ``updates_head.weight_angle``.

    Args:
        model: after a step; measured in evaluation mode.
        previous: its parameters before that step.
        state: the optimizer's state of every parameter after it.
        dataset: the evaluated examples, on the model's device.
        task: names the metrics.
        outputs: of the model on the validation and test split, from the evaluation; None: they are computed here.

    Raises:
        InputError: a metric is unknown, has an argument that adamcmp does not provide, fails, or returns anything but
            numbers.
    """
    with all_streams(stream_seed(0, "metrics")):  # one that draws gives the same numbers in both engines
        return _compute(model, previous, state, dataset, task, outputs)


def _compute(
    model: nn.Module,
    previous: Mapping[str, Tensor],
    state: State,
    dataset: Dataset,
    task: TaskSpec,
    outputs: Mapping[str, Tensor] | None,
) -> dict[str, float]:
    was_training = model.training
    model.eval()
    criterion = Objective(task, dataset.train.y.device)
    metrics: dict[str, float] = {}
    if outputs is None:
        outputs = _outputs(model, dataset, criterion) if needs_outputs(task) else {}

    def objective() -> Tensor:
        few = dataset.train.take(slice(OBJECTIVE_EXAMPLES))
        return criterion.loss(predict(model, dataset.inputs(few.x)), few.y)

    for name in task.train.metrics:
        check_metric_name(name, task)
        function = _function(name)
        short, parameters = name.rpartition(".")[2], set(inspect.signature(function).parameters)
        if not parameters & OUTPUT_ARGUMENTS:
            offered: dict[str, Any] = {"model": model, "previous": previous, "y": dataset.train.y.clone()}
            offered |= {"objective": objective, "state": state}
            if "x" in parameters:
                offered["x"] = dataset.inputs(dataset.train.x)
            metrics |= _as_numbers(name, short, function, {k: v for k, v in offered.items() if k in parameters})
            continue
        for part in OUTPUT_SPLITS:
            split = getattr(dataset, part)
            given_outputs = criterion.original(criterion.aligned(outputs[part], split.y))
            offered = {"y": criterion.original(split.y).clone(), "model": model, "previous": previous, "state": state}
            offered |= {name: given_outputs.clone() for name in parameters & OUTPUT_ARGUMENTS}
            arguments = {k: v for k, v in offered.items() if k in parameters}
            metrics |= _as_numbers(name, f"{part}_{short}", function, arguments)
    model.train(was_training)
    return metrics


def check_metrics(model: nn.Module, state: State, dataset: Dataset, task: TaskSpec) -> None:
    """Measure everything on two examples of each part, before anything is trained; arguments as
    ``compute_extra_metrics`` has.

    Raises:
        InputError: as ``compute_extra_metrics``.
    """
    if task.train.metrics:
        parts = (dataset.train, dataset.validation, dataset.test)
        train, validation, test = (part.take(slice(2)) for part in parts)
        few = replace(dataset, train=train, validation=validation, test=test)
        small = few.to(next(model.parameters()).device)
        with torch.random.fork_rng(devices=[]):
            previous = {name: p.detach().clone() for name, p in model.named_parameters()}
            compute_extra_metrics(model, previous, state, small, task)


def needs_optimizer_state(task: TaskSpec) -> bool:
    """Return whether some metric of the task reads the optimizer's state."""
    custom = [name for name in task.train.metrics if "." in name]
    return any("state" in inspect.signature(_function(name)).parameters for name in custom)


def needs_outputs(task: TaskSpec) -> bool:
    """Return whether some metric of the task is computed from the model's outputs.

    Raises:
        InputError: a metric is not known, or is for other targets.
    """
    for name in task.train.metrics:
        check_metric_name(name, task)
    return any(inspect.signature(_function(name)).parameters.keys() & OUTPUT_ARGUMENTS for name in task.train.metrics)


@torch.no_grad()
def _outputs(model: nn.Module, dataset: Dataset, objective: Objective) -> dict[str, Tensor]:
    size = chunk_size(dataset, CHUNK_EXAMPLES)
    outputs: dict[str, Tensor] = {}
    for name in OUTPUT_SPLITS:
        measures = measure_split(model, getattr(dataset, name), dataset.inputs, objective, size, keeps_outputs=True)
        assert measures.outputs is not None
        outputs[name] = measures.outputs
    return outputs


def _function(name: str) -> Any:
    return find_target(f"adamcmp.metrics.functions.{name}" if "." not in name else name, "train.metrics")


def check_metric_name(name: str, task: TaskSpec) -> None:
    """Refuse a short name that is none of ours, or is for other targets.

    Raises:
        InputError: it is.
    """
    targets = task.facts.targets
    fitting = (*TARGET_METRICS[targets], *(function.__name__ for function in MODEL_METRICS))
    if "." in name or name in fitting:
        return
    if any(name in names for names in TARGET_METRICS.values()):
        raise InputError(
            f"train.metrics: {name} is not for {targets}, which {task.data.name} has to predict; fitting: "
            f"{', '.join(fitting)}"
        )
    raise InputError(
        f"train.metrics: no metric {name!r}; {suggest_names(name, fitting)} A path names your own function."
    )


def _tensor_versions(tensors: Sequence[Tensor]) -> list[tuple[int, bool]]:
    return [(tensor._version, tensor.requires_grad) for tensor in tensors]


def _as_numbers(name: str, prefix: str, function: Any, arguments: Mapping[str, Any]) -> dict[str, float]:
    tensors = [
        leaf for leaf in tree_leaves([arguments.get("previous"), arguments.get("state")]) if isinstance(leaf, Tensor)
    ]
    model = arguments.get("model")
    tensors += [] if model is None else [*model.parameters(), *model.buffers()]
    before = _tensor_versions(tensors)
    try:
        value = function(**arguments)
    except Exception as error:  # a custom function may fail in any way
        raise InputError(f"train.metrics: {name} failed: {type(error).__name__}: {one_line(error)}") from error
    if before != _tensor_versions(tensors):
        raise InputError(
            f"train.metrics: {name} changes the model or the optimizer's state that it measures. Let it work on a "
            "copy, such as copy.deepcopy(model)"
        )
    values = (
        {f"{prefix}_{key}": number for key, number in value.items()} if isinstance(value, Mapping) else {prefix: value}
    )
    plain = {
        key: value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        for key, value in values.items()
    }
    for key, number in plain.items():
        if not isinstance(number, Real):
            raise InputError(f"train.metrics: {name} gives a {type(number).__name__} for {key}; must give numbers")
    return {key: float(number) for key, number in plain.items()}
