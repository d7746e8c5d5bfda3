"""Types of training strategies: how the runs of a group are laid out, and the process state that a strategy needs."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, Self, TypeVar

import torch

from adamcmp.engine.hardware import onednn_rounds_to_bf16
from adamcmp.errors import InputError
from adamcmp.plan.run_ids import rule_identity
from adamcmp.plan.runs import Run, RunGroup, TaskSpec

T = TypeVar("T")
Matmul = Literal["default", "onednn"]
INTERNAL_FIELDS = {"engine", "reason", "step_seconds", "mixes_seeds", "example_bytes", "rungs", "reduction"}
"""Fields of a strategy that have a column of their own, or tell a reader nothing."""
ONEDNN_ROUNDS_ERROR = (
    "execute.matmul=onednn: would round fp32 products to bf16 on this processor; give default, or train.precision=bf16 "
    "where that is wanted"
)
MAX_PADDING = 1.1
"""Rows of a common layout over a shard's own, beyond which the shard has a layout of its own."""


@dataclass(frozen=True)
class RowLayout:
    """How the rows of a program lie, and what its shapes depend on next to the task."""

    seeds: int
    rows: int
    """K, rows of each seed."""

    @property
    def total(self) -> int:
        """R = S·K."""
        return self.seeds * self.rows

    @classmethod
    def of(cls, runs: Iterable[Run]) -> Self:
        """Return the least that holds some runs."""
        counts = Counter(run.seed for run in runs)
        return cls(len(counts), max(counts.values()))


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """Training strategy of a shard; records store it."""

    engine: Literal["sequential", "vectorised", "script", "function"] = "sequential"
    rows: int = 1
    """R, the most runs in one program."""
    compiled: bool = False
    """Programs go through torch.compile."""
    matmul: Matmul = "default"
    """Library of fp32 matrix products on the CPU."""
    processes: int = 1
    threads: int = 1
    """Threads of each process."""
    mixes_seeds: bool = True
    """Programs may hold runs of several seeds; not where a model draws random numbers, from one seed's generator."""
    graphs: bool = False
    """Steps are replayed as CUDA graphs."""
    example_bytes: int = 0
    """Bytes that a forward pass makes per example; 0 if unknown."""
    step_seconds: float = 0.0
    """Seconds that one step of one run takes in one process, as measured; 0 where nothing was."""
    reason: str | None = None
    """Why it is not vectorized, where it cannot be."""
    rungs: tuple[int, ...] = ()
    """Steps after which a program keeps only the best of its trials: one in ``reduction``."""
    reduction: int = 3
    ranks: int = 1
    """Processes that each take a share of every batch of one run."""
    update: Literal["torch", "adamcmp"] = "torch"
    """Library whose update step a sequential run uses, if torch.optim has the rule. Torch's step imports a compiler,
    which takes longer than a short run."""

    def settings(self) -> dict[str, Any]:
        """Return the fields that records store."""
        fields = {key: value for key, value in asdict(self).items() if key not in INTERNAL_FIELDS}
        return fields if self.update == "adamcmp" else {key: fields[key] for key in fields if key != "update"}


@dataclass(frozen=True)
class Shard:
    """A part of a run group that one process trains from beginning to end."""

    task: TaskSpec
    kernel: str
    runs: tuple[Run, ...]
    strategy: Strategy
    layout: RowLayout | None = None
    """At the start; None: the least that holds the runs. The shards of a run group share one, and so its programs."""

    @classmethod
    def of(cls, run_group: RunGroup, strategy: Strategy) -> Self:
        """Return a whole run group as one shard."""
        return cls(run_group.task, run_group.kernel, run_group.runs, strategy)

    @cached_property
    def key(self) -> str:
        """Names its checkpoint: a hash of its runs and of how they are trained."""
        text = repr(([run.id for run in self.runs], self.strategy.engine, sorted(self.strategy.settings().items())))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def steps(self) -> int:
        """Run-steps: number of runs times steps."""
        return len(self.runs) * self.task.steps


@contextmanager
def apply_strategy(strategy: Strategy, device: torch.device) -> Iterator[None]:
    """Set threads and matrix library, flush denormal numbers to zero, and keep fp32 exact, inside the block.

    Second moments of dead inputs decay into denormals, on which a CPU is 5 times slower. On a CPU "medium" lets torch
    take oneDNN for fp32 products; if that would round them to bf16, it is refused. On CUDA neither products nor
    convolutions are TF32, and algorithms are deterministic if available.

    Raises:
        InputError: oneDNN is requested although it rounds.
    """
    onednn = device.type == "cpu" and strategy.matmul == "onednn"
    if onednn and onednn_rounds_to_bf16():
        raise InputError(ONEDNN_ROUNDS_ERROR)
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(strategy.threads)
    torch.set_float32_matmul_precision("medium" if onednn else "highest")
    torch.set_flush_denormal(True)
    try:
        with _exact_cuda() if device.type == "cuda" else nullcontext():
            yield
    finally:
        torch.set_flush_denormal(False)  # torch's default; there is no asking what it was
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)


@contextmanager
def _exact_cuda() -> Iterator[None]:
    """Make fp32 convolutions exact and results deterministic inside the block, if an operation has such an
    algorithm.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with (
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "(?s).*does not have a deterministic implementation")
            warnings.filterwarnings("ignore", "TensorFloat32 tensor cores")  # fp32 is fp32
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def split_into_shards(run_group: RunGroup, strategy: Strategy) -> list[Shard]:
    """Cut a run group into shards of at most ``rows`` runs, of nearly equal size and one layout: one compiled program.

    Runs of a seed stay together, since they share their batches. Where a seed has fewer runs than fit, several seeds
    make one shard, if the strategy lets them. Shards that lack few rows of the common layout are filled up.
    """
    by_seed: dict[int, list[Run]] = {}
    for run in run_group.runs:
        by_seed.setdefault(run.seed, []).append(run)
    groups: list[tuple[Run, ...]] = []
    most = max(map(len, by_seed.values()))
    if strategy.rungs:
        groups = _groups_by_optimizer(run_group.runs, strategy.rows)
    elif most >= strategy.rows or not strategy.mixes_seeds:
        for runs in by_seed.values():
            groups += [tuple(part) for part in _split_evenly(runs, strategy.rows)]
    else:
        for seeds in _split_evenly(list(by_seed.values()), max(1, strategy.rows // most)):
            groups.append(tuple(run for runs in seeds for run in runs))
    group_layouts = [RowLayout.of(runs) for runs in groups]
    common = RowLayout(max(layout.seeds for layout in group_layouts), max(layout.rows for layout in group_layouts))
    layouts = [common if common.total <= MAX_PADDING * layout.total else layout for layout in group_layouts]
    return [
        Shard(run_group.task, run_group.kernel, runs, strategy, layout)
        for runs, layout in zip(groups, layouts, strict=True)
    ]


def _groups_by_optimizer(runs: Iterable[Run], rows: int) -> list[tuple[Run, ...]]:
    """Return runs of one optimizer each, with all seeds of a trial, since pruning compares these."""
    arms: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        cell = rule_identity(run.optimizer) + rule_identity(run.schedule)
        arms.setdefault(run.arm, {}).setdefault(cell, []).append(run)
    groups: list[tuple[Run, ...]] = []
    for cells in arms.values():
        seeds = max(map(len, cells.values()))
        parts = _split_evenly(list(cells.values()), max(1, rows // seeds))
        groups += [tuple(run for members in part for run in members) for part in parts]
    return groups


def _split_evenly(items: list[T], most: int) -> Iterator[list[T]]:
    parts = -(-len(items) // most)
    for i in range(parts):
        yield items[i * len(items) // parts : (i + 1) * len(items) // parts]


@dataclass(frozen=True)
class StrategyChoice:
    """Strategy of a run group, and its estimated seconds with all processes at work."""

    strategy: Strategy
    seconds: float
    note: str | None = None
    """Note for the user, such as a missing compiler."""
    open: bool = False
    """It is yet to be timed; until then, seconds are rough, and the strategy is a likely one."""
