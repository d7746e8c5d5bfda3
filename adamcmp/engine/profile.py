"""What a task costs and whether it can be vectorised, from one look at its model: no clock is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from adamcmp import metrics
from adamcmp.data.dataset import Dataset
from adamcmp.engine.inputs import as_precision, autocast, build_model
from adamcmp.engine.program import KERNELS, Layout, names_of, program
from adamcmp.engine.streams import seed_device
from adamcmp.engine.vectorised import initial_stack
from adamcmp.errors import one_line
from adamcmp.plan.runs import Cohort, Task

LONGEST_REASON = 160
"""Characters of what torch.func says of a model that it refuses: its advice goes on for a paragraph."""
SAME_LOSS = 1e-2
"""Relative: far above bf16's rounding, far below what a model gives that mixes rows."""


@dataclass(frozen=True)
class Profile:
    """What one run of a task needs."""

    flops: float
    """Of one step: forward and backward, by the rule that backward is twice forward; inf where it is not known."""
    state_bytes: int
    """Parameters, gradients and two moments."""
    activation_bytes: int
    """All that one forward pass of a batch makes."""
    draws: bool
    """The forward pass draws random numbers, as dropout does."""
    refusal: str | None
    """Why it cannot be vectorised."""

    @property
    def row_bytes(self) -> int:
        """Of one row of a program; backward needs as much again as forward."""
        return self.state_bytes + 2 * self.activation_bytes


class _Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Adds up what operations make, and notes those that draw."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.made, self.draws = 0, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.draws |= torch.Tag.nondeterministic_seeded in func.tags
        views = func.is_view if isinstance(func, torch._ops.OpOverload) else False
        for each in torch.utils._pytree.tree_leaves(out):
            if isinstance(each, torch.Tensor) and not views:
                self.made += each.numel() * each.element_size()
        return out


def profile(cohort: Cohort, dataset: Dataset, device: torch.device) -> Profile:
    """Look at a cohort's model on two examples, and on four: what both make is no activation, but rounded weights."""
    task = cohort.task
    data = as_precision(dataset, task)
    x, y = data.inputs(data.train.x[:2]).to(device), data.train.y[:2].to(device)
    more = data.inputs(data.train.x[torch.arange(4) % len(data.train.y)]).to(device)
    model = build_model(task, cohort.runs[0].seed, device).train()
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    counter, watching, larger = FlopCounterMode(display=False), _Watching(), _Watching()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            with autocast(task, device), larger:
                model(more)
            with autocast(task, device), counter, watching:
                model(x)
    except Exception as error:  # an own model may fail in any way; its runs are the place to say so
        return Profile(math.inf, 4 * parameters, 0, False, f"{type(error).__name__}: {one_line(error)}")
    scale = task.batch_size / len(x)
    flops = 3 * scale * float(counter.get_total_flops())
    refusal = _refusal(cohort, x, y)
    return Profile(flops, 4 * parameters, round(scale * (larger.made - watching.made)), watching.draws, refusal)


def _refusal(cohort: Cohort, x: torch.Tensor, y: torch.Tensor) -> str | None:
    """Why not: an own optimizer, what torch.func says of the model, or another loss than the model alone gives."""
    task: Task = cohort.task
    if cohort.kernel not in KERNELS:
        return "an own optimizer trains one run at a time"
    try:
        losses = _rows_losses(cohort, x, y)
        model = build_model(task, cohort.runs[0].seed, x.device).train()
        with torch.random.fork_rng(devices=[]), torch.no_grad(), autocast(task, x.device):
            seed_device(x.device, 0)
            alone = metrics.cross_entropy(model(x), y)
    except Exception as error:  # torch.func and own models may fail in any way
        return shorten(f"{type(error).__name__}: {one_line(error)}", LONGEST_REASON, placeholder=" …")
    if not torch.allclose(losses, alone.expand(2), rtol=SAME_LOSS, atol=1e-6):
        return f"as one of several rows the model gives loss {losses[0]:.6g}, alone {alone:.6g}"
    return None


def _rows_losses(cohort: Cohort, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    task, device = cohort.task, x.device
    names = names_of(build_model(task, 0, device), task, x)
    stack = initial_stack((cohort.runs[0], cohort.runs[0]), cohort.kernel, names, device)
    count = len(KERNELS[cohort.kernel][1]._fields)
    table = torch.zeros((count, 2), dtype=next(iter(stack.params.values())).dtype, device=device)
    step = program(task, cohort.kernel, Layout(1, 2), names, device, compiled=False, matmul="default").step
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        seed_device(device, 0)
        return step(stack, x.unsqueeze(0), y.unsqueeze(0), table, table)
