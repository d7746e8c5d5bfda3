"""What a way to train costs on this machine: a few steps of it, and an evaluation, timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from adamcmp.data.dataset import Dataset
from adamcmp.engine import sequential, vectorised
from adamcmp.engine.inputs import as_precision, build_model
from adamcmp.engine.program import Layout, gradients, names_of
from adamcmp.engine.strategy import Piece, Strategy, divide, in_force
from adamcmp.engine.vectorised import initial_stack
from adamcmp.engine.watch import Watch
from adamcmp.errors import one_line
from adamcmp.plan.runs import Cohort, Run

ENOUGH = 0.1
"""Seconds of stepping that a timing takes at least."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one process; or the error that came instead."""

    step: float = 0.0
    """Of one step of one run."""
    evaluation: float = 0.0
    """Of one evaluation of one run."""
    first: float = 0.0
    """Of the first two steps and the first evaluation beyond that: compiling."""
    error: str | None = None


def product_rate(device: torch.device, side: int = 1024) -> float:
    """GFLOP/s of an fp32 matrix product of ``side``² on all threads: the quickest of five."""
    a = torch.ones(side, side, device=device)
    seconds = []
    for _ in range(6):  # the first one loads the library
        started = time.perf_counter()
        (a @ a)[0, 0].item()
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds) / 1e9


def time_strategy(cohort: Cohort, strategy: Strategy, dataset: Dataset, device: torch.device) -> Timing:
    """Time a strategy on runs of a cohort; whatever it raises is told, not raised."""
    try:
        if strategy.engine == "sequential":
            return _sequential(cohort, strategy, dataset, device)
        return _vectorised(cohort, strategy, dataset, device)
    except Exception as error:  # no compiler, no memory, a model that fails: all mean that this way is not taken
        return Timing(error=f"{type(error).__name__}: {one_line(error)}")


def _sequential(cohort: Cohort, strategy: Strategy, dataset: Dataset, device: torch.device) -> Timing:
    """By trainings of two lengths, the quickest of each, since whatever else the machine does only adds time."""
    names = {run.optimizer.name: run for run in cohort.runs}
    costs = [_one(run, cohort, strategy, dataset, device) for run in names.values()]
    counts = [sum(run.optimizer.name == name for run in cohort.runs) for name in names]
    total = sum(counts)
    return Timing(
        sum(n * cost.step for n, cost in zip(counts, costs, strict=True)) / total,
        sum(n * cost.evaluation for n, cost in zip(counts, costs, strict=True)) / total,
    )


def _one(run: Run, cohort: Cohort, strategy: Strategy, dataset: Dataset, device: torch.device) -> Timing:
    def seconds(steps: int) -> float:
        once = run.task.train.model_copy(update={"evaluations": 1})
        schedule = run.schedule.model_copy(update={"warmup_steps": 0})
        probe = replace(run, task=replace(run.task, train=once, steps=steps), schedule=schedule)
        (outcome,) = sequential.train(Piece(probe.task, cohort.kernel, (probe,), strategy), dataset, device, Watch())
        return outcome.seconds

    seconds(1)
    few, most = 2, 4
    first = seconds(few)
    while most < 128 and first * most / few < ENOUGH:
        most *= 2
    second = min(seconds(most) for _ in range(2))
    first = min(first, seconds(few))
    step = max(second - first, 1e-9) / (most - few)
    return Timing(step, max(first - step * few, 0.0))


def _vectorised(cohort: Cohort, strategy: Strategy, dataset: Dataset, device: torch.device) -> Timing:
    piece = max(divide(cohort, strategy), key=lambda each: len(each.runs))
    with in_force(strategy, device), torch.random.fork_rng(devices=[]), torch.no_grad():
        training = vectorised.Training(piece, as_precision(dataset, cohort.task).to(device), device, Watch())
        first = _seconds(lambda: training.rehearse(1, evaluate=True), device)
        first += _seconds(lambda: training.rehearse(1, evaluate=False), device)  # compiled programs settle in two calls
        steps, spent = 1, 0.0
        while spent < ENOUGH and 2 * steps <= max(cohort.task.steps, 4) and steps < 1024:
            steps *= 2
            spent = _seconds(partial(training.rehearse, steps, evaluate=False), device)
        spent = min(spent, _seconds(partial(training.rehearse, steps, evaluate=False), device))
        evaluation = min(_seconds(lambda: training.rehearse(0, evaluate=True), device) for _ in range(2))
    step = spent / steps
    rows = len(piece.runs)
    return Timing(step / rows, evaluation / rows, max(first - 2 * step - evaluation, 0.0))


def matmul_errors(cohort: Cohort, rows: int, dataset: Dataset, device: torch.device) -> dict[str, float]:
    """Relative error of the fp32 gradients of ``rows`` rows against float64, by each library of matrix products."""
    default = Strategy(engine="vectorised", rows=rows)
    truth = _gradients(cohort, "fp64", default, dataset, device)
    found = [_gradients(cohort, "fp32", each, dataset, device) for each in (default, replace(default, matmul="onednn"))]
    errors = [float((each - truth).norm() / truth.norm().clamp(min=1e-300)) for each in found]
    return {"default": errors[0], "onednn": errors[1]}


def _gradients(
    cohort: Cohort, precision: str, strategy: Strategy, dataset: Dataset, device: torch.device
) -> torch.Tensor:
    """All gradients of the first batch: weights drawn in fp32 are the same numbers in fp64."""
    task = replace(cohort.task, train=cohort.task.train.model_copy(update={"precision": precision}))
    runs = (cohort.runs[0],) * strategy.rows
    data = as_precision(dataset, task)
    batch = slice(task.batch_size)
    x, y = (part.to(device).unsqueeze(0) for part in (data.inputs(data.train.x[batch]), data.train.y[batch]))
    with in_force(strategy, device), torch.random.fork_rng(devices=[]), torch.no_grad():
        names = names_of(build_model(task, runs[0].seed, device), task, x[0])
        stack = initial_stack([replace(run, task=task) for run in runs], cohort.kernel, names, device)
        over_rows = gradients(build_model(task, 0, device).train(), Layout(1, strategy.rows), names)
        grads, _ = over_rows(stack.params, stack.rest, x, y)
        return torch.cat([grads[name].double().flatten() for name in names.trained])


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    call()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() - started
