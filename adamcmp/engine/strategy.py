"""How the runs of a cohort are trained, and the state of the process that this asks for.

A strategy changes nothing but how the numbers of a step are rounded, and never enters a run's id. In float64 whole
trainings agree to 1e-10; in fp32 rounding grows with the steps, most where a norm follows a convolution: there the
gradient along each channel's scale is rounding alone, and Adam makes steps of any size of it (a CNN after 60 steps at
lr up to 3e-2: 3e-7 in loss without norms, 1e-3 with group norm, 5e-3 with batch norm). It travels with each piece of
work, with its checkpoint and into the record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, Self, TypeVar

import torch

from adamcmp.plan.runs import Cohort, Run, Task

T = TypeVar("T")
Matmul = Literal["default", "onednn"]


SILENT = {"engine", "reason", "step_seconds", "mixes_seeds"}
"""Fields of a strategy that have a column of their own, or tell a reader nothing."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """One way to train; the record tells which."""

    engine: Literal["sequential", "vectorised"] = "sequential"
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
    step_seconds: float = 0.0
    """Seconds that one step of one run takes in one process, as measured; 0 where nothing was."""
    reason: str | None = None
    """Why it is not vectorised, where it cannot be."""

    def settings(self) -> dict[str, Any]:
        """What the record tells of it."""
        return {key: value for key, value in asdict(self).items() if key not in SILENT}


@dataclass(frozen=True)
class Piece:
    """A part of a cohort that one process trains from beginning to end."""

    task: Task
    kernel: str
    runs: tuple[Run, ...]
    strategy: Strategy

    @classmethod
    def of(cls, cohort: Cohort, strategy: Strategy) -> Self:
        """A whole cohort as one piece."""
        return cls(cohort.task, cohort.kernel, cohort.runs, strategy)

    @cached_property
    def key(self) -> str:
        """Names its checkpoint: a hash of its runs and of how they are trained."""
        text = repr(([run.id for run in self.runs], self.strategy.engine, sorted(self.strategy.settings().items())))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def steps(self) -> int:
        """Member-steps: runs times steps."""
        return len(self.runs) * self.task.steps


@contextmanager
def in_force(strategy: Strategy, device: torch.device) -> Iterator[None]:
    """Threads and matrix library as a strategy wants them, and denormal numbers taken for zero.

    Second moments of dead inputs decay into denormals, on which a CPU is 5 times slower. "medium" lets torch take
    oneDNN for fp32 products; on a chip with bf16 matrix units it may also round them, so ``choice`` measures the
    error first. On an accelerator it would mean something else, and is never set.
    """
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(strategy.threads)
    if device.type == "cpu":
        torch.set_float32_matmul_precision("medium" if strategy.matmul == "onednn" else "highest")
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)  # torch's default; there is no asking what it was
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)


def divide(cohort: Cohort, strategy: Strategy) -> list[Piece]:
    """Cut a cohort into pieces of at most ``rows`` runs, of nearly equal size, so that they share compiled programs.

    Runs of a seed stay together, since they share their batches. Where a seed has fewer runs than fit, several seeds
    make one piece, if the strategy lets them.
    """
    by_seed: dict[int, list[Run]] = {}
    for run in cohort.runs:
        by_seed.setdefault(run.seed, []).append(run)
    groups: list[tuple[Run, ...]] = []
    most = max(map(len, by_seed.values()))
    if most >= strategy.rows or not strategy.mixes_seeds:
        for runs in by_seed.values():
            groups += [tuple(part) for part in _evenly(runs, strategy.rows)]
    else:
        for seeds in _evenly(list(by_seed.values()), max(1, strategy.rows // most)):
            groups.append(tuple(run for runs in seeds for run in runs))
    return [Piece(cohort.task, cohort.kernel, runs, strategy) for runs in groups]


def _evenly(items: list[T], most: int) -> Iterator[list[T]]:
    parts = -(-len(items) // most)
    for i in range(parts):
        yield items[i * len(items) // parts : (i + 1) * len(items) // parts]
