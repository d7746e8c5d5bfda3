"""The sequential engine: one run after the other. What it does is what a run *is*.

A run starts from the weights of its seed, takes ``steps`` optimizer steps on batches drawn without replacement
within each epoch, and is evaluated at fixed steps. It has *diverged* when a loss is not finite: it then stops, and
its record says at which step. It has *failed* when anything raised an error: the record holds the error's text.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import torch

from adamcmp import metrics
from adamcmp.data.dataset import Dataset, Split
from adamcmp.engine.evaluation import evaluate
from adamcmp.engine.inputs import DTYPES, build_model
from adamcmp.engine.outcome import Evaluation, OnSteps, Outcome
from adamcmp.engine.streams import batch_indices, seed_device, stream_seed
from adamcmp.engine.threads import denormals_flushed, suitable_threads
from adamcmp.engine.updates import make_update, rolled_out
from adamcmp.errors import one_line
from adamcmp.plan.runs import Cohort, Run

NAME = "sequential"
QUICK = 0.25
"""Seconds of five steps above which an estimate measures no more."""


def train(cohort: Cohort, dataset: Dataset, device: torch.device, on_steps: OnSteps) -> Iterator[Outcome]:
    """Train the runs of a cohort, each yielded as it ends.

    Args:
        cohort: runs of one task.
        dataset: the task's data, anywhere.
        device: where to train.
        on_steps: told of progress at every evaluation.
    """
    placed = _as_precision(dataset, DTYPES[cohort.task.train.precision]).to(device)
    with denormals_flushed(), suitable_threads(build_model(cohort.task, 0, device), placed, cohort.task.batch_size):
        for run in cohort.runs:
            yield _train_run(run, placed, device, on_steps)


def estimate(run: Run, dataset: Dataset, device: torch.device) -> float:
    """Seconds that a run will take, from short trainings of it: the cost of a step, and of an evaluation.

    The quickest of three counts, since whatever else the machine does only ever adds time. Where already a few steps
    are long, they alone are scaled up, so that guessing never takes long itself.
    """

    def seconds(steps: int) -> float:
        probe = _shortened(run, min(run.task.steps, steps))
        (outcome,) = train(Cohort(probe.task, "", (probe,)), dataset, device, lambda *_: None)
        return outcome.seconds

    warming = seconds(5)
    if warming > QUICK:
        return warming * run.task.steps / min(run.task.steps, 5)
    first, second = (min(seconds(steps) for _ in range(3)) for steps in (20, 80))
    extra = min(run.task.steps, 80) - min(run.task.steps, 20)
    per_step = max(second - first, 0.0) / extra if extra else 0.0
    per_evaluation = max(first - per_step * min(run.task.steps, 20), 0.0)
    return per_step * run.task.steps + per_evaluation * len(run.task.eval_steps)


def _shortened(run: Run, steps: int) -> Run:
    once = run.task.train.model_copy(update={"evaluations": 1})
    schedule = run.schedule.model_copy(update={"warmup_steps": 0})
    return replace(run, task=replace(run.task, train=once, steps=steps), schedule=schedule)


def _as_precision(dataset: Dataset, dtype: torch.dtype) -> Dataset:
    def cast(part: Split) -> Split:
        return Split(part.x.to(dtype) if part.x.is_floating_point() else part.x, part.y)

    return replace(dataset, train=cast(dataset.train), validation=cast(dataset.validation), test=cast(dataset.test))


def _train_run(run: Run, dataset: Dataset, device: torch.device, on_steps: OnSteps) -> Outcome:
    started = time.perf_counter()
    evaluations: list[Evaluation] = []
    error, diverged_step, parameters = None, None, None
    try:
        with torch.random.fork_rng(devices=[]):
            model = build_model(run.task, run.seed, device)
            parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
            diverged_step = _loop(run, model, dataset, device, evaluations, on_steps)
    except Exception as caught:  # one run's error, of whatever kind, must not end the sweep
        error = f"{type(caught).__name__}: {one_line(caught)}"
    done = evaluations[-1].step if evaluations else 0
    on_steps(run.task.steps - done, None)
    return Outcome(
        run=run,
        status="failed" if error else "diverged" if diverged_step else "completed",
        evaluations=tuple(evaluations),
        error=error,
        diverged_step=diverged_step,
        parameters=parameters,
        engine=NAME,
        device=str(device),
        seconds=time.perf_counter() - started,
        finished_at=datetime.now(UTC),
    )


def _loop(
    run: Run,
    model: torch.nn.Module,
    dataset: Dataset,
    device: torch.device,
    evaluations: list[Evaluation],
    on_steps: OnSteps,
) -> int | None:
    """Train; fill ``evaluations``; return the step of the first loss that is not finite, counted from 1."""
    task, train = run.task, dataset.train
    update = make_update(run.optimizer, model, rolled_out(run))
    batches = batch_indices(run.seed, len(train.y), task.batch_size, device)
    eval_steps = set(task.eval_steps)
    model.train()
    for t, batch in zip(range(task.steps), batches, strict=False):
        seed_device(device, stream_seed(run.seed, "dropout", t))
        model.zero_grad(set_to_none=True)
        loss = metrics.cross_entropy(model(train.x[batch]), train.y[batch])
        if not math.isfinite(loss.item()):
            return t + 1
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        update(t)
        if t + 1 in eval_steps:
            evaluation = evaluate(model, dataset, t + 1, task.train.eval_examples)
            seen = (evaluation.train_loss, evaluation.validation_loss, evaluation.weight_norm)
            if not all(map(math.isfinite, seen)):  # test has no say in which runs count
                return t + 1
            done = evaluations[-1].step if evaluations else 0
            evaluations.append(evaluation)
            on_steps(t + 1 - done, evaluation)
    return None
