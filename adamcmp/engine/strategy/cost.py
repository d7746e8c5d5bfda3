"""Estimate the cost of training: FLOPs and memory of one run, the memory that is available, and totals of a plan."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import torch
from rich import filesize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from adamcmp.config.schema import ExecutionSettings
from adamcmp.data.dataset import Dataset
from adamcmp.engine.hardware import available_memory, count_devices, device_memory
from adamcmp.engine.loading import as_precision, autocast, build_model
from adamcmp.engine.objective import predict
from adamcmp.engine.shared_state import restore_shared_state
from adamcmp.engine.strategy.types import StrategyChoice
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
class CostProfile:
    """Cost of one run of a task."""

    flops: float
    """FLOPs of one step: forward and backward, which counts twice; inf if unknown."""
    state_bytes: int
    """Parameters, gradients, two moments, and an average and the best weights where they are kept."""
    activation_bytes: int
    """All that one forward pass of a batch makes; a step that accumulates has several."""
    draws: bool
    """The forward pass draws random numbers, as dropout does."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a program; backward needs as much again as forward."""
        return self.state_bytes + 2 * self.activation_bytes


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Adds up FLOPs and bytes of operations, and notes those that draw, or hand a tensor's value to Python."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.flops, self.made, self.draws, self.reads = 0.0, 0, False, False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: nothing is compiled here, and importing the compiler to skip it takes a second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_formulas().get(getattr(func, "_overloadpacket", func)):
            self.flops += float(formula(*args, **(kwargs or {}), out_val=out))
        self.draws |= torch.Tag.nondeterministic_seeded in func.tags
        self.reads |= func is torch.ops.aten._local_scalar_dense.default
        views = func.is_view if isinstance(func, torch._ops.OpOverload) else False
        for leaf in torch.utils._pytree.tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and not views:
                self.made += leaf.numel() * leaf.element_size()
        return out


_IRRELEVANT_SETTINGS = {
    "steps",
    "epochs",
    "evaluations",
    "eval_examples",
    "evaluation_share",
    "metrics",
    "error",
    "clip_norm",
}
"""Settings of a training that its profile does not depend on."""
_profiles: dict[tuple[str, ...], CostProfile] = {}


def profile_group(run_group: RunGroup, dataset: Dataset, device: torch.device) -> CostProfile:
    """Look at a run group's model on two examples, and on four: what both make is no activation, but rounded weights.

    Run groups that differ in budget or optimizer alone have one profile: a look at a large model takes many seconds.
    """
    task = run_group.task
    settings = (task.model.model_dump_json(), task.train.model_dump_json(exclude=_IRRELEVANT_SETTINGS))
    key = (*settings, task.facts.fingerprint, str(task.batch_size), str(device))
    if key not in _profiles:
        with restore_shared_state(run_group.runs[0]):
            _profiles[key] = _profile_model(run_group, dataset, device)
    return _profiles[key]


def _profile_model(run_group: RunGroup, dataset: Dataset, device: torch.device) -> CostProfile:
    task = run_group.task
    data = as_precision(dataset, task.train.precision)
    rows = (torch.arange(count) % len(data.train.y) for count in (2, 4))
    x, more = tree_map(lambda leaf: leaf.to(device), [data.inputs(data.train.x[row]) for row in rows])
    model = build_model(task, run_group.runs[0].seed, device).train()
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    watching, larger = OperationCounter(), OperationCounter()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            with autocast(task, device), larger:
                predict(model, more)
            with autocast(task, device), watching:
                predict(model, x)
    except Exception:  # an own model may fail in any way; its trial and its runs are the places to say so
        return CostProfile(math.inf, 4 * parameters, 0, False)
    scale = task.batch_size / 2
    flops = 3 * scale * watching.flops
    made = scale / task.train.accumulate * (larger.made - watching.made)
    copies = 4 + (task.train.ema is not None) + (task.train.save == "best")
    return CostProfile(flops, copies * parameters, round(made), watching.draws)


DATA_FRACTION = 0.25
"""Share of the memory above which a memory-mapped data set stays on disk."""
DATASET_COPIES = 2
"""Copies of a data set in memory: this process's, and the one that training processes share."""
MIN_TRAINING_FRACTION = 0.25
"""Share of the memory that is left to training however large the data are."""


def host_memory(settings: ExecutionSettings) -> float:
    """Return the bytes of this machine that may be used: the setting, or half of the available memory."""
    return settings.memory_gb * 1e9 if settings.memory_gb != "auto" else available_memory() / 2


def data_memory(settings: ExecutionSettings) -> float:
    """Return bytes beyond which a memory-mapped data set stays on disk."""
    return DATA_FRACTION * host_memory(settings)


def training_memory(settings: ExecutionSettings, device: torch.device, datasets: Iterable[Dataset]) -> float:
    """Return the bytes that are left for training, all processes together."""
    held = sum(dataset.memory_bytes for dataset in datasets)
    if device.type == "cuda" and settings.memory_gb == "auto":
        copies = count_devices(device)
        allowed = copies * device_memory(device) / 2
    else:
        allowed, copies = host_memory(settings), DATASET_COPIES
    return max(allowed - copies * held, MIN_TRAINING_FRACTION * allowed)


@dataclass(frozen=True)
class CostEstimate:
    """Total cost of run groups, from their profiles and strategies."""

    works: Sequence[ProfiledGroup]
    choices: Sequence[StrategyChoice]
    memory: float
    """Bytes that training may use, all processes together."""

    @property
    def flops(self) -> float:
        """Floating-point operations of all training steps; inf where they cannot be counted."""
        return sum(work.member_steps * work.profile.flops for work in self.works)

    @property
    def run_bytes(self) -> int:
        """Bytes of one run of the largest task during training."""
        return max((work.profile.row_bytes for work in self.works), default=0)

    @property
    def peak_bytes(self) -> int:
        """Maximum bytes during training, all processes together, by the profiles."""
        pairs = zip(self.works, (choice.strategy for choice in self.choices), strict=True)
        return max((s.processes * s.rows * work.profile.row_bytes for work, s in pairs), default=0)

    @property
    def compiles(self) -> bool:
        """Whether some program is compiled before its first step."""
        return any(choice.strategy.compiled for choice in self.choices)

    @property
    def seconds(self) -> float:
        """Estimated seconds of all groups together."""
        return sum(choice.seconds for choice in self.choices)

    @property
    def notes(self) -> list[str]:
        """Notes on the strategies for the user, each once."""
        notes = dict.fromkeys(choice.note for choice in self.choices if choice.note)
        if self.run_bytes > self.memory:
            needs, has = filesize.decimal(self.run_bytes), filesize.decimal(int(self.memory))
            notes[f"one run may take {needs}, execute.memory_gb leaves {has}; it is trained all the same"] = None
        return list(notes)


@dataclass(frozen=True)
class ProfiledGroup:
    """A run group and its cost, before benchmarks."""

    run_group: RunGroup
    profile: CostProfile
    refusal: str | None = None
    """Why it cannot be vectorized, from ``vectorizable.why_not_vectorizable``."""

    @property
    def member_steps(self) -> int:
        """Runs times steps."""
        return len(self.run_group.runs) * self.run_group.task.steps

    @property
    def member_evaluations(self) -> float:
        """Number of runs times evaluations, each weighted by its examples: 1 for the last."""
        return len(self.run_group.runs) * self.run_group.task.evaluations.full
