"""Whether a model can be vectorised is tried, not asked: a short training by both engines must give the same."""

from __future__ import annotations

import math
from dataclasses import replace
from textwrap import shorten

import torch

from adamcmp.config.schema import OwnOptimizer
from adamcmp.data.dataset import Dataset
from adamcmp.engine import sequential, vectorised
from adamcmp.engine.criterion import predict
from adamcmp.engine.effects import Effects, effects
from adamcmp.engine.inputs import as_precision, autocast, build_model
from adamcmp.engine.outcome import Outcome
from adamcmp.engine.strategy import Piece, Strategy
from adamcmp.engine.watch import Watch
from adamcmp.errors import told
from adamcmp.plan.runs import Cohort, Task

LONGEST_REASON = 160
"""Characters of what torch.func says of a model that it refuses: its advice goes on for a paragraph."""
EXAMPLES = 8
"""In a batch of the trial; fewer where a batch has fewer."""
SAME_LOSS = {"fp64": 1e-8, "fp32": 1e-3, "bf16": 5e-2}
"""Relative: far above rounding after two steps, far below what a model gives that mixes rows or loses a buffer."""


def refusal(cohort: Cohort, dataset: Dataset, device: torch.device) -> str | None:
    """Why the runs of a cohort cannot be trained as one program; None where they can.

    That is: an own optimizer; a forward pass that changes what a program cannot carry; what torch.func says of the
    model; or losses, after two steps, other than the sequential engine's.
    """
    if isinstance(cohort.runs[0].optimizer, OwnOptimizer):
        return "an own optimizer trains one run at a time"
    try:
        task, few = _smaller(cohort.task, dataset)
        left = _left_behind(task, few, device)
        if left:
            return _short(f"its forward pass changes {', '.join(left)}, which no program of several runs can carry")
        run = replace(min(cohort.runs, key=lambda each: each.optimizer.lr), task=task)
        schedule = run.schedule.model_copy(update={"warmup_steps": 0})
        runs = (replace(run, schedule=schedule),) * min(2, len(cohort.runs))
        (alone,) = sequential.train(Piece(task, cohort.kernel, runs[:1], Strategy()), few, device, Watch())
        if alone.error is not None:  # its runs are the place to say so
            return _short(alone.error)
        rows = Strategy(engine="vectorised", rows=len(runs))
        together = list(vectorised.train(Piece(task, cohort.kernel, runs, rows), few, device, Watch()))
    except Exception as error:  # torch.func and own models may fail in any way
        return _short(told(error))
    return next((reason for each in together if (reason := _other(alone, each, task))), None)


def _smaller(task: Task, dataset: Dataset) -> tuple[Task, Dataset]:
    """Two steps of one small batch, and an evaluation on other examples."""
    size = min(task.batch_size, EXAMPLES)
    train, validation, test = (part.take(slice(size)) for part in (dataset.train, dataset.validation, dataset.test))
    settings = task.train.model_copy(update={"evaluations": 1, "metrics": ()})
    few = replace(dataset, train=train, validation=validation, test=test)
    return replace(task, train=settings, batch_size=size, steps=2), few


def _left_behind(task: Task, dataset: Dataset, device: torch.device) -> tuple[str, ...]:
    """What a training pass changes beside buffers, and an evaluation at all; what only the first pass makes is none."""
    model = build_model(task, 0, device)
    data = as_precision(dataset, task.train.precision).to(device)
    x = data.inputs(data.train.x)

    def change(training: bool) -> Effects:
        model.train(training)
        with autocast(task, device):
            predict(model, x)
            return effects(model, lambda: predict(model, x))

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        trained, evaluated = change(True), change(False)
    return tuple(dict.fromkeys([*trained.others, *evaluated.buffers, *evaluated.others]))


def _other(alone: Outcome, row: Outcome, task: Task) -> str | None:
    if alone.status != row.status:
        return f"as one of several rows a run has {row.status}, alone it has {alone.status}"
    for one, other in zip(alone.evaluations, row.evaluations, strict=True):
        for part in ("train", "validation", "test"):
            expected, found = (getattr(each, f"{part}_loss") for each in (one, other))
            if not math.isclose(expected, found, rel_tol=SAME_LOSS[task.train.precision], abs_tol=1e-6):
                return f"as one of several rows the model gives {part} loss {found:.6g}, alone {expected:.6g}"
    return None


def _short(reason: str) -> str:
    return shorten(reason, LONGEST_REASON, placeholder=" …")
