"""A task from its settings: steps, batch size and loss, checked against the data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from adamcmp.config.schema import MAX_STEPS, AnySchedule, Config, CustomLoss, Data, InitSettings
from adamcmp.errors import InputError
from adamcmp.metrics.spec import LOSS_NAMES, METRIC_SPECS
from adamcmp.plan.programs import build_program_task
from adamcmp.plan.runs import MAX_COUNTED_CLASSES, DatasetMetadata, InitWeights, TaskSpec


def build_task(config: Config, facts: Callable[[Data], DatasetMetadata]) -> tuple[TaskSpec, AnySchedule]:
    """Return the task and the schedule of a configuration.

    Args:
        config: validated settings.
        facts: loads a data set and returns its metadata.

    Raises:
        InputError: settings that do not fit the data.
    """
    if config.program is not None:
        return build_program_task(config)
    metadata = facts(config.data)
    train, examples = config.train, metadata.train_examples
    _check_criteria(config, metadata)
    if train.batch_size == "full" and train.accumulate > 1:
        raise InputError("train.accumulate: a full batch is one step; give train.batch_size a number, or accumulate=1")
    batch_size = examples if train.batch_size == "full" else train.batch_size * train.accumulate
    if batch_size > examples:
        times = f" × train.accumulate={train.accumulate}" if train.accumulate > 1 else ""
        raise InputError(
            f"train.batch_size={train.batch_size}{times}: {config.data.name} has {examples} training examples; "
            f"give at most {examples // max(train.accumulate, 1)}, or full"
        )
    steps = train.steps if train.steps is not None else max(1, round((train.epochs or 0) * (examples // batch_size)))
    if steps > MAX_STEPS:
        raise InputError(f"train.epochs={train.epochs:g}: are {steps:.3g} steps; at most {MAX_STEPS:,} make sense")
    if config.schedule.warmup_steps >= steps:
        raise InputError(
            f"schedule.warmup_steps={config.schedule.warmup_steps}: must be less than the budget of {steps} steps"
        )
    init = _init_weights(config.init) if config.init is not None else None
    ranks = config.execute.ranks
    if ranks > batch_size // train.accumulate:
        raise InputError(
            f"execute.ranks={ranks}: shares a batch of {batch_size // train.accumulate} examples. Give at most that "
            "many processes, or a larger train.batch_size"
        )
    return TaskSpec(config.data, config.model, train, metadata, batch_size, steps, init, ranks), config.schedule


def _check_criteria(config: Config, metadata: DatasetMetadata) -> None:
    """Refuse a loss or a metric that does not fit the targets."""
    loss, error, targets = config.train.loss, config.train.error, metadata.targets
    fitting = [metric.name for metric in METRIC_SPECS[targets]]
    if error not in ("auto", *fitting):
        raise InputError(
            f"train.error={error}: {config.data.name} has {targets} to predict; fitting: {', '.join(fitting)}"
        )
    if isinstance(loss, CustomLoss):
        return
    if loss.name not in ("auto", *LOSS_NAMES[targets]):
        raise InputError(
            f"train.loss={loss.name}: {config.data.name} has {targets} to predict; fitting: "
            f"{', '.join(LOSS_NAMES[targets])}, or a function of your own (train.loss._target_=…)"
        )
    weighted = loss.class_weights is not None or loss.label_smoothing > 0
    if targets == "quantities" and weighted:
        raise InputError("train.loss: label_smoothing and class_weights are for classes and labels, not for quantities")
    if isinstance(loss.class_weights, tuple) and len(loss.class_weights) != metadata.num_outputs:
        raise InputError(
            f"train.loss.class_weights: {len(loss.class_weights)} weights; {config.data.name} has "
            f"{metadata.num_outputs} {targets}"
        )
    if loss.class_weights == "balanced" and (not metadata.class_counts or 0 in metadata.class_counts):
        raise InputError(
            f"train.loss.class_weights=balanced: needs every one of at most {MAX_COUNTED_CLASSES:,} {targets} in the "
            "training part; give the weights as a list"
        )


@cache
def _init_weights(start: InitSettings) -> InitWeights:
    path = start.path
    file = Path(path).expanduser().absolute()
    try:
        return InitWeights(str(file), hashlib.sha256(file.read_bytes()).hexdigest()[:16], start.skip, start.strict)
    except OSError as error:
        raise InputError(
            f"init={path}: cannot be read ({error.strerror}); give a .safetensors file, as train.save leaves in "
            "results/<study>/weights"
        ) from error
