"""What a task costs, from one look at its model: no clock is read."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from adamcmp.data.dataset import Dataset
from adamcmp.engine.criterion import predict
from adamcmp.engine.inputs import as_precision, autocast, build_model
from adamcmp.engine.shared import restored
from adamcmp.plan.runs import RunGroup


@cache
def flop_formulas() -> Mapping[Any, Callable[..., int]]:
    """Return torch's formulas of FLOPs by operation.

    Their module imports triton for the kernels of models that have some, which takes a third of a second: it gets a
    stand-in for the class that it registers.
    """
    name = "triton.runtime.jit"
    stand_in = ModuleType(name)
    stand_in.JITFunction = type("JITFunction", (), {})  # type: ignore[attr-defined]  # what is imported of it
    if is_lacking := "triton" not in sys.modules:
        sys.modules[name] = stand_in
    try:
        from torch.utils.flop_counter import flop_registry
    finally:
        if is_lacking:
            sys.modules.pop(name, None)
    return flop_registry


@dataclass(frozen=True)
class Profile:
    """What one run of a task needs."""

    flops: float
    """Of one step: forward and backward, by the rule that backward is twice forward; inf where it is not known."""
    state_bytes: int
    """Parameters, gradients, two moments, and an average and the best weights where they are kept."""
    activation_bytes: int
    """All that one forward pass of a batch makes; a step that accumulates has several."""
    draws: bool
    """The forward pass draws random numbers, as dropout does."""

    @property
    def row_bytes(self) -> int:
        """Of one row of a program; backward needs as much again as forward."""
        return self.state_bytes + 2 * self.activation_bytes


class Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Adds up FLOPs and bytes of operations, and notes those that draw, or hand a tensor's value to Python."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.flops, self.made, self.draws, self.reads = 0.0, 0, False, False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; to skip the compiler, torch would import it, which takes a second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_formulas().get(getattr(func, "_overloadpacket", func)):
            self.flops += float(formula(*args, **(kwargs or {}), out_val=out))
        self.draws |= torch.Tag.nondeterministic_seeded in func.tags
        self.reads |= func is torch.ops.aten._local_scalar_dense.default
        views = func.is_view if isinstance(func, torch._ops.OpOverload) else False
        for each in torch.utils._pytree.tree_leaves(out):
            if isinstance(each, torch.Tensor) and not views:
                self.made += each.numel() * each.element_size()
        return out


_BUDGET = {"steps", "epochs", "evaluations", "eval_examples", "evaluation_share", "metrics", "error", "clip_norm"}
"""Settings of a training that its profile does not depend on."""
_SEEN: dict[tuple[str, ...], Profile] = {}


def profile(cohort: RunGroup, dataset: Dataset, device: torch.device) -> Profile:
    """Look at a cohort's model on two examples, and on four: what both make is no activation, but rounded weights.

    Cohorts that differ in budget or optimizer alone have one profile: a look at a large model takes many seconds.
    """
    task = cohort.task
    told = (task.model.model_dump_json(), task.train.model_dump_json(exclude=_BUDGET))
    key = (*told, task.facts.fingerprint, str(task.batch_size), str(device))
    if key not in _SEEN:
        with restored(cohort.runs[0]):
            _SEEN[key] = _looked(cohort, dataset, device)
    return _SEEN[key]


def _looked(cohort: RunGroup, dataset: Dataset, device: torch.device) -> Profile:
    task = cohort.task
    data = as_precision(dataset, task.train.precision)
    rows = (torch.arange(count) % len(data.train.y) for count in (2, 4))
    x, more = tree_map(lambda each: each.to(device), [data.inputs(data.train.x[each]) for each in rows])
    model = build_model(task, cohort.runs[0].seed, device).train()
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    watching, larger = Watching(), Watching()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            with autocast(task, device), larger:
                predict(model, more)
            with autocast(task, device), watching:
                predict(model, x)
    except Exception:  # an own model may fail in any way; its trial and its runs are the places to say so
        return Profile(math.inf, 4 * parameters, 0, False)
    scale = task.batch_size / 2
    flops = 3 * scale * watching.flops
    made = scale / task.train.accumulate * (larger.made - watching.made)
    copies = 4 + (task.train.ema is not None) + (task.train.save == "best")
    return Profile(flops, copies * parameters, round(made), watching.draws)
