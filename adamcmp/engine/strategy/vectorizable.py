"""Check whether a model can be vectorized: a short training by both engines must give the same numbers.

The training is as in a sweep: two seeds with two rows each, in float64, at learning rates that move the weights. Two
problems may stay hidden in a few steps and are tested directly: tensors that share memory, and control flow that
depends on values or on random numbers.
"""

from __future__ import annotations

import math
from dataclasses import replace
from textwrap import shorten
from typing import Literal, NamedTuple

import torch

from adamcmp.config.schema import CustomOptimizer
from adamcmp.data.dataset import Dataset
from adamcmp.engine import sequential, vectorized
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.loading import as_precision, autocast, build_model
from adamcmp.engine.objective import predict
from adamcmp.engine.random_streams import host_state, host_streams
from adamcmp.engine.run_result import RunResult
from adamcmp.engine.shared_state import restore_shared_state
from adamcmp.engine.side_effects import SideEffects, find_side_effects, shared_storage
from adamcmp.engine.strategy.cost import OperationCounter
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.errors import describe_exception
from adamcmp.metrics.functions import DEVICES_WITHOUT_FLOAT64
from adamcmp.optim.rule import Rule
from adamcmp.plan.runs import Run, RunGroup, TaskSpec

Precision = Literal["fp32", "bf16", "fp64"]
MAX_REASON_CHARS = 160
"""Maximum length of a reason: torch.func's messages include a paragraph of advice."""
CHECK_EXAMPLES = 8
"""In a batch of the check; fewer where a batch has fewer."""
CHECK_STEPS = 4
"""Steps of the check, each followed by an evaluation: a stale alias shows in the second."""
TOLERANCES = {"fp64": 1e-8, "fp32": 1e-3, "bf16": 5e-2}
"""Relative difference of losses and weight norms up to which both engines agree."""
MAX_FLOAT64_PARAMETERS = 3_000_000
"""Largest model checked in float64 with four rows; larger ones use their own precision and two rows of one seed."""
MIN_CHECK_LR, MAX_CHECK_LR = 1e-3, 3e-2
"""Bounds of the learning rates of the check: below them weights hardly move, above them they may diverge."""


def why_not_vectorizable(run_group: RunGroup, dataset: Dataset, device: torch.device) -> str | None:
    """Return why the runs of a run group cannot be trained as one program; None if they can.

    The reasons are a custom optimizer, a forward pass with effects or control flow that a program cannot carry, tensors
    that share memory, an error by torch.func on the model or on a custom loss, and losses or weight norms that differ
    from the sequential engine's.
    """
    if isinstance(run_group.runs[0].optimizer, CustomOptimizer):
        return "a custom optimizer trains one run at a time"
    with restore_shared_state(run_group.runs[0]):
        return _why_not(run_group, dataset, device)


def _why_not(run_group: RunGroup, dataset: Dataset, device: torch.device) -> str | None:
    try:
        observed = _observe_forward(run_group.task, dataset, device)
        if observed.reason:
            return _shorten(observed.reason)
        if observed.parameters <= MAX_FLOAT64_PARAMETERS and device.type not in DEVICES_WITHOUT_FLOAT64:
            try:
                reason = _compare_engines(run_group, dataset, device, observed, "fp64")
                if reason or run_group.task.train.precision != "bf16":  # autocast has rules of its own
                    return reason
            except Exception as error:  # a model may have its own precision in its code
                if "dtype" not in str(error).lower() and "double" not in str(error).lower():
                    raise
        return _compare_engines(run_group, dataset, device, observed, run_group.task.train.precision)
    except Exception as error:  # torch.func and custom models may fail in any way
        return _shorten(describe_exception(error))


class _ForwardObservations(NamedTuple):
    """Observations on a model's forward passes."""

    reason: str
    """Why it cannot be vectorized; empty if nothing speaks against it."""
    draws: bool
    """It draws random numbers with torch, so that a program has one seed."""
    parameters: int


def _observe_forward(task: TaskSpec, dataset: Dataset, device: torch.device) -> _ForwardObservations:
    """Look at a training pass and an evaluation of a model; what only its first pass makes counts for nothing."""
    task, few = _shrink_task(task, dataset, task.train.precision)
    model = build_model(task, 0, device)
    parameters = sum(p.numel() for p in model.parameters())
    if any(tensor.is_complex() for tensor in [*model.parameters(), *model.buffers()]):
        return _ForwardObservations(
            "it has complex parameters or buffers, for which there are no batched gradients", False, parameters
        )
    if shared := shared_storage(model):
        return _ForwardObservations(f"{', '.join(shared)} shares memory with a parameter or buffer", False, parameters)
    data = as_precision(few, task.train.precision).to(device)
    x = data.inputs(data.train.x)
    watching = OperationCounter()

    def change(training: bool) -> SideEffects:
        model.train(training)
        with autocast(task, device):
            predict(model, x)
            return find_side_effects(model, lambda: predict(model, x))

    with torch.random.fork_rng(devices=[]), host_streams(0), torch.no_grad(), watching:
        before = host_state()
        trained, evaluated = change(True), change(False)
        draws_outside = host_state() != before
    left = tuple(dict.fromkeys([*trained.others, *evaluated.buffers, *evaluated.others]))
    shared = shared_storage(model)  # some are made in the first pass
    reason = ""
    if left:
        reason = f"its forward pass changes {', '.join(left)}, which no program of several runs can carry"
    elif draws_outside:
        reason = "its forward pass draws from Python's or NumPy's generator, which a program calls once for all rows"
    elif watching.reads:
        reason = "its forward pass reads the value of a tensor in Python (if, while, .item()), which may differ by row"
    elif shared:
        reason = f"{', '.join(shared)} shares memory with a parameter or buffer"
    return _ForwardObservations(reason, watching.draws, parameters)


def _compare_engines(
    run_group: RunGroup, dataset: Dataset, device: torch.device, observed: _ForwardObservations, precision: Precision
) -> str | None:
    """Train two rows of each of two seeds by both engines; a model that draws, or is large, has one seed."""
    task, few = _shrink_task(run_group.task, dataset, precision)
    is_large = observed.parameters > MAX_FLOAT64_PARAMETERS
    seeds = (0,) if is_large else (0, 1)
    rows = [_check_run(run_group, task, factor) for factor in (1.0, 2.0)]
    for together_seeds in [(seed,) for seed in seeds] if observed.draws else [seeds]:
        runs = tuple(replace(row, id=f"{row.id}-{k}-{s}", seed=s) for s in together_seeds for k, row in enumerate(rows))
        alone = list(
            sequential.train_shard(Shard(task, run_group.kernel, runs, Strategy()), few, device, TrainingControl())
        )
        if any(result.error is not None for result in alone):  # its runs are the place to say so
            return _shorten(next(result.error for result in alone if result.error is not None))
        strategy = Strategy(engine="vectorised", rows=len(runs))
        together = list(
            vectorized.train_shard(Shard(task, run_group.kernel, runs, strategy), few, device, TrainingControl())
        )
        for one, other in zip(alone, together, strict=True):
            if reason := _describe_difference(one, other, TOLERANCES[precision]):
                return reason
    return None


def _check_run(run_group: RunGroup, task: TaskSpec, factor: float) -> Run:
    """Return the run group's first run with a learning rate that moves weights, times a factor, and without warmup."""
    run = run_group.runs[0]
    assert isinstance(run.optimizer, Rule)
    lr = factor * min(max(run.optimizer.lr, MIN_CHECK_LR), MAX_CHECK_LR)
    schedule = run.schedule.model_copy(update={"warmup_steps": 0})
    return replace(run, task=task, schedule=schedule, optimizer=run.optimizer.model_copy(update={"lr": lr}))


def _shrink_task(task: TaskSpec, dataset: Dataset, precision: Precision) -> tuple[TaskSpec, Dataset]:
    """Return a few steps of one small batch, each with an evaluation on other examples."""
    size = min(task.batch_size, CHECK_EXAMPLES)
    size -= size % task.train.accumulate
    size = size or task.train.accumulate
    train, validation, test = (part.take(slice(size)) for part in (dataset.train, dataset.validation, dataset.test))
    settings = task.train.model_copy(update={"evaluations": CHECK_STEPS, "metrics": (), "precision": precision})
    few = replace(dataset, train=train, validation=validation, test=test)
    return replace(task, train=settings, batch_size=size, steps=CHECK_STEPS), few


def _describe_difference(alone: RunResult, row: RunResult, tolerance: float) -> str | None:
    """Return how a row differs from the run alone; None if it does not."""
    if alone.status != row.status:
        return f"in a batch of several the run has {row.status}, alone it has {alone.status}"
    bounds = {"train_loss": tolerance, "validation_loss": tolerance, "test_loss": tolerance}
    bounds["weight_norm"] = max(
        tolerance, TOLERANCES["fp32"]
    )  # a bias that no loss feels takes steps of rounding errors
    for one, other in zip(alone.evaluations, row.evaluations, strict=True):
        for name, bound in bounds.items():
            expected, actual = getattr(one, name), getattr(other, name)
            if not math.isclose(expected, actual, rel_tol=bound, abs_tol=1e-3 * bound):
                what = name.replace("_", " ")
                return (
                    f"as one of several rows the model has {what} {actual:.6g} at step {one.step}, alone {expected:.6g}"
                )
    return None


def _shorten(reason: str) -> str:
    return shorten(reason, MAX_REASON_CHARS, placeholder=" …")
