"""The sequential engine: one run after the other. It defines the computation of a run.

A run starts from the weights of its seed, takes ``steps`` optimizer steps on batches drawn without replacement
within each epoch, and is evaluated at fixed steps. It has *diverged* when a loss is not finite: it then stops, and
its record says at which step. It has *failed* when anything raised an error: the record holds the error's text.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from adamcmp.data.dataset import Dataset
from adamcmp.data.multi_input import Plain
from adamcmp.engine import ddp, weights
from adamcmp.engine.batches import batches
from adamcmp.engine.checkpoint import CheckpointError, TrainingControl, TrainingStopped, unsaved_attributes
from adamcmp.engine.coefficients import ema_weight, schedule_of
from adamcmp.engine.evaluation import SplitMeasures, evaluate, example_errors, subsample
from adamcmp.engine.extra_metrics import compute_extra_metrics, needs_optimizer_state, needs_outputs
from adamcmp.engine.loading import autocast, build_model, to_device
from adamcmp.engine.objective import Objective, predict
from adamcmp.engine.optimizer_step import make_optimizer_step
from adamcmp.engine.random_streams import host_state, host_streams, seed_device, set_host_state, stream_seed
from adamcmp.engine.run_result import Evaluation, ExampleErrors, RunResult, best_evaluation, from_plain, to_plain
from adamcmp.engine.shared_state import find_owners, modules_of, restore_shared_state
from adamcmp.engine.side_effects import TrackedAttributes
from adamcmp.engine.strategy.types import Shard, Strategy, apply_strategy
from adamcmp.errors import describe_exception
from adamcmp.plan.evaluation_schedule import SplitSizes
from adamcmp.plan.runs import Run

LOSS_CHECK_EVERY = 64
"""Steps whose losses an accelerator may take before they are looked at."""


def train_shard(shard: Shard, dataset: Dataset, device: torch.device, control: TrainingControl) -> Iterator[RunResult]:
    """Train the runs of a shard and yield the result of each when it ends.

    Args:
        shard: runs of one task, with the threads and matrix library to use.
        dataset: the task's data, anywhere.
        device: where to train.
        control: receives progress at every evaluation; saves and stops between two steps.

    Raises:
        TrainingStopped: a stop was requested.
        CheckpointError: a checkpoint cannot be written.
    """
    data = to_device(dataset, shard.task.train.precision, device)
    plan = shard.task.evaluations
    subsamples = {count: subsample(data, count) for count in (plan.before, plan.last)}
    resumed = control.resumed()
    if shard.task.train.save == "best" and resumed and resumed.get("kept") is None:
        resumed = None  # the best so far was not kept
    if resumed and unsaved_attributes(resumed):
        resumed = None
    for run in shard.runs:
        state = resumed if resumed and resumed.get("runs") == [run.id] and "model" in resumed else None
        with apply_strategy(shard.strategy, device):
            outcome = _train_run(run, shard, data, subsamples, device, control, state)
        yield outcome


def _train_run(
    run: Run,
    shard: Shard,
    dataset: Dataset,
    subsamples: Mapping[SplitSizes, Dataset],
    device: torch.device,
    control: TrainingControl,
    resumed: dict[str, Any] | None,
) -> RunResult:
    started = time.perf_counter() - (resumed["seconds"] if resumed else 0.0)
    evaluations = from_plain(resumed["evaluations"]) if resumed else []
    error, diverged_step, parameters, told_of = None, None, None, None
    losses = _LossMonitor(device)
    try:
        with torch.random.fork_rng(devices=[]), host_streams(stream_seed(run.seed, "host")), restore_shared_state(run):
            model = build_model(run.task, run.seed, device)
            parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
            diverged_step, told_of = _train_steps(
                run, shard.strategy, model, dataset, subsamples, device, evaluations, control, started, losses, resumed
            )
    except (TrainingStopped, CheckpointError):
        raise
    except Exception as caught:  # one run's error, of whatever kind, must not end the sweep
        diverged_step = losses.lost()  # what a model raises of weights that are not finite is no error of its own
        error = None if diverged_step else describe_exception(caught)
    done = evaluations[-1].step if evaluations else 0
    control.on_steps(run.task.steps - done, None)
    return RunResult(
        run=run,
        status="failed" if error else "diverged" if diverged_step else "completed",
        evaluations=tuple(evaluations),
        error=error,
        diverged_step=diverged_step,
        parameters=parameters,
        strategy=shard.strategy,
        device=str(device),
        seconds=time.perf_counter() - started,
        finished_at=datetime.now(UTC),
        outcomes=told_of,
    )


class _LossMonitor:
    """Losses that were not looked at yet: a look makes an accelerator wait, so it is taken every ``LOSS_CHECK_EVERY``
    steps.
    """

    def __init__(self, device: torch.device) -> None:
        self._most = 1 if device.type == "cpu" else LOSS_CHECK_EVERY
        self._unseen: list[tuple[int, Tensor]] = []
        self.lost_step: int | None = None
        """The first step, from 1, whose loss was not finite, as far as was looked."""

    def add(self, step: int, loss: Tensor) -> None:
        """Take the loss of a step."""
        self._unseen.append((step, loss))

    @property
    def due(self) -> bool:
        """Whether it is time to look."""
        return len(self._unseen) >= self._most

    def lost(self) -> int | None:
        """Check all losses; return ``lost_step``."""
        if self._unseen and self.lost_step is None:
            steps, losses = zip(*self._unseen, strict=True)
            values = torch.stack(losses).tolist() if len(losses) > 1 else [losses[0].item()]
            self.lost_step = next(
                (step for step, value in zip(steps, values, strict=True) if not math.isfinite(value)), None
            )
        self._unseen.clear()
        return self.lost_step


MODULE_ATTRIBUTES = set(vars(nn.Module()))
"""Attributes that every module has."""


class MovingAverage:
    """The moving average of a model's weights, as a model that takes its buffers as they are."""

    def __init__(self, model: nn.Module, beta: float) -> None:
        self.model, self._beta = copy.deepcopy(model), beta

    @torch.no_grad()
    def update(self, model: nn.Module, t: int) -> None:
        """Take in the weights after step t (from 0)."""
        share = ema_weight(self._beta, t)
        for mean, p in zip(self.model.parameters(), model.parameters(), strict=True):
            mean.lerp_(p, share)
        for (name, _), value in zip(list(self.model.named_buffers()), model.buffers(), strict=True):
            path, _, last = name.rpartition(".")
            self.model.get_submodule(path)._buffers[last] = value.clone()

    def take_attributes(self, model: nn.Module) -> None:
        """Copy the model's plain attributes, such as a running mean, which it may change during training."""
        pairs = list(zip(self.model.modules(), model.modules(), strict=True))
        same: dict[int, Any] = {id(theirs): ours for ours, theirs in pairs}
        for ours, theirs in zip(self.model.parameters(), model.parameters(), strict=True):
            same[id(theirs)] = ours
        for own_module, other in pairs:
            for key in vars(other).keys() - MODULE_ATTRIBUTES:
                with suppress(Exception):  # what cannot be copied stays as it was
                    vars(own_module)[key] = copy.deepcopy(vars(other)[key], dict(same))


def _microbatches(x: Plain, y: Tensor, count: int) -> Iterator[tuple[Plain, Tensor]]:
    """Yield the batches that a step accumulates."""
    if count == 1:
        yield x, y
        return
    for i in range(count):
        yield tree_map(lambda leaf, i=i: leaf.chunk(count)[i], (x, y))


def _train_steps(
    run: Run,
    strategy: Strategy,
    model: nn.Module,
    dataset: Dataset,
    subsamples: Mapping[SplitSizes, Dataset],
    device: torch.device,
    evaluations: list[Evaluation],
    control: TrainingControl,
    started: float,
    losses: _LossMonitor,
    resumed: dict[str, Any] | None,
) -> tuple[int | None, ExampleErrors | None]:
    """Train and fill ``evaluations``; return the step of the first loss that is not finite, from 1, and per-example
    errors.
    """
    task = run.task
    ours = needs_optimizer_state(task) or strategy.update == "adamcmp"
    update = make_optimizer_step(run.optimizer, model, schedule_of(run), ours=ours)
    criterion = Objective(task, device)
    average = MovingAverage(model, task.train.ema) if task.train.ema is not None else None
    best_model = copy.deepcopy(model) if task.train.save == "best" and control.weights is not None else None
    shared = find_owners(modules_of(run))
    attributes = TrackedAttributes(model=model, optimizer=update.holder, loss=criterion.custom, **shared)
    start = 0
    if resumed:
        attributes.load(resumed["attributes"])
        set_host_state(resumed["host"])
        start = resumed["step"]
        model.load_state_dict(resumed["model"])
        update.load(resumed["update"])
        if average is not None:
            average.model.load_state_dict(resumed["average"])
        if best_model is not None:
            best_model.load_state_dict(resumed["kept"])
        control.on_steps(evaluations[-1].step if evaluations else 0, None)
        losses.lost_step = resumed["lost"]
    eval_steps = set(task.evaluations.steps) if ddp.is_first() else set[int]()
    model.train()
    trained = ddp.wrap_model(model)
    parameters = list(model.parameters())
    parts, most = task.train.accumulate, task.train.clip_norm
    keeps_outputs = needs_outputs(task)
    measures: dict[str, SplitMeasures] = {}
    for t, (x, y) in enumerate(batches(dataset, task, (run.seed,), start), start):
        if losses.lost_step is not None:
            return losses.lost_step, None
        control.between_steps(
            lambda t=t: {  # type: ignore[misc]  # mypy does not infer a default's type
                "runs": [run.id],
                "step": t,
                "model": model.state_dict(),
                "update": update.state(),
                "attributes": attributes.state(),
                "host": host_state(),
                "average": average.model.state_dict() if average is not None else None,
                "kept": best_model.state_dict() if best_model is not None else None,
                "evaluations": to_plain(evaluations),
                "lost": losses.lost(),
                "seconds": time.perf_counter() - started,
            }
        )
        seed_device(device, stream_seed(run.seed, ddp.local_stream_name("dropout"), t))
        for p in parameters:
            p.grad = None
        for whole_x, whole_y in _microbatches(x, y, parts):
            few_x, few_y = ddp.local_batch((whole_x, whole_y))
            with autocast(task, device):
                loss = criterion.loss(predict(trained, few_x), few_y) * ddp.loss_weight(criterion.total, few_y, whole_y)
            losses.add(t + 1, ddp.mean_over_ranks(loss.detach()))
            if (losses.due or t + 1 in eval_steps or t + 1 == task.steps) and losses.lost() is not None:
                return losses.lost_step, None
            total = loss / parts if parts > 1 else loss
            total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if most is not None:
            nn.utils.clip_grad_norm_(parameters, most)
        previous: dict[str, Tensor] = {}
        judged = model if average is None else average.model
        if t + 1 in eval_steps and task.train.metrics:
            with update.evaluating():
                previous = {name: p.detach().clone() for name, p in judged.named_parameters()}
        update.step(t)
        if average is not None:
            with update.evaluating():
                average.update(model, t)
        if t + 1 in eval_steps:
            if average is not None:
                average.take_attributes(model)
            examples = subsamples[task.evaluations.shown(t + 1)]
            with update.evaluating(), autocast(task, device):
                evaluation, measures = evaluate(judged, examples, criterion, t + 1, keeps_outputs=keeps_outputs)
                if not evaluation.is_finite():
                    return t + 1, None
                if previous:
                    outputs = {name: split.outputs for name, split in measures.items() if split.outputs is not None}
                    evaluation = evaluation._replace(
                        metrics=compute_extra_metrics(judged, previous, update.kept, examples, task, outputs)
                    )
                done = evaluations[-1].step if evaluations else 0
                evaluations.append(evaluation)
                if best_model is not None and best_evaluation(evaluations, task.criteria.error.sign) is evaluation:
                    best_model.load_state_dict(judged.state_dict())
            control.on_steps(t + 1 - done, evaluation)
    judged = model if average is None else average.model
    if not ddp.is_first():
        return None, None
    with update.evaluating():
        if task.train.save is not None and control.weights is not None:
            chosen = evaluations[-1] if best_model is None else best_evaluation(evaluations, task.criteria.error.sign)
            weights.save_weights(control.weights, run, judged if best_model is None else best_model, chosen)
    if not run.stores_examples:
        return None, None
    return None, example_errors(measures["test"].statistics, subsamples[task.evaluations.last].test.y, criterion)
