"""Loss and primary metric of a task, as functions of a model's outputs and of targets."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adamcmp.config.instantiate import find_target
from adamcmp.config.schema import CustomLoss
from adamcmp.data.multi_input import Plain
from adamcmp.errors import InputError, describe_exception
from adamcmp.metrics import functions, losses
from adamcmp.metrics.influence import per_example
from adamcmp.metrics.spec import METRIC_SPECS, Targets
from adamcmp.plan.runs import TaskSpec

DTYPES = {"fp32": torch.float32, "bf16": torch.float32, "fp64": torch.float64}
"""Type of weights and optimizer state, by precision."""


def arguments(x: Plain) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Return the inputs of examples as a model's positional and keyword arguments."""
    if isinstance(x, Tensor):
        return (x,), {}
    return (x, {}) if isinstance(x, tuple) else ((), x)


def outputs(result: Any) -> Any:
    """Return the predictions among the results of a model.

    These are ``logits`` of a dict or an object, else its first tensor with an axis; of a tuple such as
    ``(loss, logits)`` the first element with an axis; and a tensor itself.
    """
    if isinstance(result, Tensor) or result is None:
        return result
    if isinstance(result, Mapping):
        return result["logits"] if "logits" in result else _first_output(result.values())
    if isinstance(getattr(result, "logits", None), Tensor):
        return result.logits
    if dataclasses.is_dataclass(result):
        return _first_output(getattr(result, field_.name) for field_ in dataclasses.fields(result))
    return _first_output(result) if isinstance(result, tuple | list) else result


def _first_output(values: Iterable[Any]) -> Any:
    """Return the first tensor that is more than one number; a nested structure is looked into."""
    for value in values:
        output = value if isinstance(value, Tensor) else outputs(value)
        if isinstance(output, Tensor) and output.ndim > 0:
            return output
    return None


def predict(model: nn.Module, x: Plain) -> Tensor:
    """Return the outputs of a model on examples."""
    positional, named = arguments(x)
    return outputs(model(*positional, **named))  # type: ignore[no-any-return]  # checked before anything is trained


class Objective:
    """The loss that a task trains with, and the loss and error that it is measured by, of outputs on one device."""

    def __init__(self, task: TaskSpec, device: torch.device) -> None:
        """Build loss and metric from a task's settings.

        Raises:
            InputError: a custom loss cannot be imported or built.
        """
        facts = task.facts
        place: dict[str, Any] = {"device": device, "dtype": DTYPES[task.train.precision]}
        scaled = bool(facts.target_std)
        self._mean = torch.tensor(facts.target_mean, **place) if scaled else None
        self._std = torch.tensor(facts.target_std, **place) if scaled else None
        self._wide = facts.targets != "classes"
        self._statistics, self._error = functions.METRIC_FUNCTIONS[task.criteria.error.name]
        self.custom = _custom_loss(task.train.loss) if isinstance(task.train.loss, CustomLoss) else None
        """A loss of the user's own, which may have attributes that change."""
        weights = None if isinstance(task.train.loss, CustomLoss) else _weights(task.train.loss.class_weights, task)
        class_weights = None if weights is None else torch.tensor(weights, **place)
        self._trained, self._measured = _loss_and_metric(task, class_weights, self.custom)
        self._class_weights = class_weights if task.criteria.loss == "cross_entropy" else None
        self._name = task.criteria.error.name

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """Return the mean training loss of a batch, with label smoothing and class weights."""
        return self._trained(self.aligned(output, y), y)

    def total(self, y: Tensor) -> Tensor | float:
        """Return the sum of weights that the mean training loss over targets divides by."""
        if self._class_weights is None:
            return float(y.numel())
        return self._class_weights[y.flatten()].sum()

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each example as evaluations measure it, summed over its predictions: (B,)."""
        losses = self.losses_of_each(output, y)
        if losses.ndim == 1:
            return losses
        summed, predictions = losses.flatten(1).sum(1), y.numel()
        return summed if losses.numel() == predictions else summed * (predictions / losses.numel())

    def losses_of_each(self, output: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each prediction as evaluations measure it, in the shape that its function gives."""
        return self._measured(self.aligned(output, y), y)

    def statistics(self, output: Tensor, y: Tensor) -> Tensor:
        """Return the statistics of each example that the metric is computed from: (B, K)."""
        return self._statistics(self._scaled(self.aligned(output, y)), self._scaled(y))

    def error(self, statistics: Tensor, y: Tensor) -> Tensor:
        """Return the error over all examples from statistics (…, N, K): (…), float64."""
        return self._error(statistics, self._scaled(y))

    def per_example(self, statistics: Tensor, y: Tensor) -> NDArray[np.float64]:
        """Return N values whose mean (of RMSE the root of it) is the error; from statistics (N, K)."""
        finished, targets = (functions.to_float64(tensor).cpu().numpy() for tensor in (statistics, self._scaled(y)))
        return per_example(self._name, finished, targets, max(1, y.numel() // len(y)))

    def aligned(self, output: Tensor, y: Tensor) -> Tensor:
        """Return outputs in the shape of targets: a single quantity may be given without an axis of its own."""
        return output.unsqueeze(-1) if self._wide and output.ndim == y.ndim - 1 else output

    def original(self, output: Tensor) -> Tensor:
        """Return outputs or targets in the unit of the data."""
        return output if self._mean is None or self._std is None else output * self._std + self._mean

    def _scaled(self, output: Tensor) -> Tensor:
        """Return values in the unit of the data, without the mean: metrics use differences, and a large mean would
        round them.
        """
        return output if self._std is None else output * self._std


LossFunction = Callable[[Tensor, Tensor], Tensor]


def _loss_and_metric(
    task: TaskSpec, class_weights: Tensor | None, custom: LossFunction | None
) -> tuple[LossFunction, LossFunction]:
    """Return the training loss of a batch, one number; and the loss of each prediction as it is measured."""
    settings = task.train.loss
    if isinstance(settings, CustomLoss):
        assert custom is not None

        def function(output: Tensor, y: Tensor) -> Tensor:
            return custom(output.clone(), y.clone())  # it may write into what it is given

        return lambda output, y: function(output, y).mean(), function
    options: dict[str, Any] = {"label_smoothing": settings.label_smoothing, "class_weights": class_weights}
    match task.criteria.loss:
        case "cross_entropy":
            return partial(losses.cross_entropy, **options, reduction="mean"), losses.cross_entropy
        case "bce":
            return lambda output, y: losses.bce(output, y, **options).mean(), losses.bce
        case "huber":
            huber = partial(losses.huber, delta=settings.delta)
            return lambda output, y: huber(output, y).mean(), huber
        case _:
            return lambda output, y: losses.mse(output, y).mean(), losses.mse


def _custom_loss(settings: CustomLoss) -> LossFunction:
    """Return a function as it is with its arguments, or a class built with them."""
    target: Any = find_target(settings.target, "train.loss")
    if not inspect.isclass(target):
        return partial(target, **settings.arguments)
    try:
        built: Any = target(**settings.arguments)
    except Exception as error:  # a custom class may fail in any way while it is built
        raise InputError(f"train.loss: {settings.target} cannot be built: {describe_exception(error)}") from error
    return built  # type: ignore[no-any-return]  # what it gives is looked at before anything is trained


def _weights(class_weight: str | Sequence[float] | None, task: TaskSpec) -> Sequence[float] | None:
    """Return weights of classes; balanced are N / (C n_c) of classes, and n_without / n_with of labels, as is usual."""
    if class_weight is None or not isinstance(class_weight, str):
        return class_weight
    examples, counts = task.facts.train_examples, task.facts.class_counts
    if task.facts.targets == "labels":
        return [(examples - count) / count for count in counts]
    return [sum(counts) / (len(counts) * count) for count in counts]


def check_loss(criterion: Objective, settings: CustomLoss, output: Tensor, y: Tensor) -> None:
    """Try a custom loss on two examples.

    Raises:
        InputError: it fails, or gives anything but a loss for each of them.
    """
    what = f"train.loss: {settings.target}"
    try:
        result: Any = criterion.losses_of_each(output, y)
    except Exception as error:  # a custom function may fail in any way
        raise InputError(
            f"{what} failed on outputs {tuple(output.shape)} and y {tuple(y.shape)}: {describe_exception(error)}"
        ) from error
    if not isinstance(result, Tensor) or result.ndim == 0 or len(result) != len(y):
        given_ = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise InputError(
            f"{what} gives {given_ or 'one number'} for {len(y)} examples; give a loss for each of them "
            "(reduction=none): adamcmp takes the mean"
        )


def constant_baselines(
    train_y: Tensor, ys: Mapping[str, Tensor], targets: Targets, std: Tensor | None
) -> dict[str, dict[str, float]]:
    """Return the error of the best constant prediction, by metric and split."""
    baselines: dict[str, dict[str, float]] = {}
    scale = 1.0 if std is None else std
    for metric in METRIC_SPECS[targets]:
        function = functions.METRIC_FUNCTIONS[metric.name]
        best = _best_constant(metric.name, train_y.flatten(0, -2) if targets != "classes" else train_y)
        baselines[metric.name] = {}
        for part, y in ys.items():
            if targets == "classes":
                baselines[metric.name][part] = functions.to_float64(y != best).mean().item()
            else:
                baselines[metric.name][part] = function(best.expand(y.shape) * scale, y * scale)
    return baselines


def _best_constant(error: str, y: Tensor) -> Tensor:
    """Return the constant prediction of least error on training targets."""
    match error:
        case "error_rate":
            return y.flatten().bincount().argmax()
        case "mae":
            return y.median(0).values
        case "rmse" | "r2":
            return y.mean(0)
        case "f1":
            return torch.ones_like(y[0])
        case "hamming_loss":
            return torch.where(y.mean(0) > 0.5, 1.0, -1.0)
        case _:
            return torch.zeros_like(y[0])
