"""Training strategies that need no benchmark: of short work, and of work that could not be timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from adamcmp.config.schema import ExecutionSettings
from adamcmp.engine.hardware import count_cores
from adamcmp.engine.strategy.cost import ProfiledGroup
from adamcmp.engine.strategy.types import Matmul, Strategy

MIN_SECONDS_TO_BENCHMARK = 6.0
"""Seconds of sequential training, roughly counted, below which nothing is timed."""
MIN_SECONDS_SINGLE_RUN = 60.0
"""Threshold for a single run, which processes cannot share and for which compiling seldom pays."""
TOO_SHORT_REASON = (
    f"the work is little: below {MIN_SECONDS_TO_BENCHMARK:g} s by a count of its arithmetic, "
    f"{MIN_SECONDS_SINGLE_RUN:g} s for a run alone"
)
STEP_OVERHEAD_SECONDS, ONE_THREAD_FLOPS_PER_SECOND = 120e-6, 40e9
"""Rough seconds of a step whatever the model, and FLOP/s, of one thread: for that count alone."""
MAX_FLOPS_ONE_THREAD = 30e6
"""FLOPs of a step below which threads cost more than they bring. Measured with torch 2.14 on two cores, batch 100,
AdamW, microseconds a step with one and with two threads: MLP 64-32-10 164 and 200, 784-64-10 399 and 378,
784-256-256-10 1505 and 1180."""
CACHE_BYTES_PER_PROCESS = 12e6
"""Bytes of rows that are worth having in one process on a CPU: about what its share of the last-level cache holds."""
MAX_ROWS = 256
INITIAL_ROWS = 32
"""Initial number of rows on an accelerator; it is doubled for as long as ``MAX_STEP_RATIO`` holds."""


def estimate_seconds(work: ProfiledGroup) -> float:
    """Return a count of arithmetic in place of a timing."""
    flops = work.profile.flops if work.profile.flops < float("inf") else 0.0
    return work.member_steps * (STEP_OVERHEAD_SECONDS + flops / ONE_THREAD_FLOPS_PER_SECOND)


def default_strategy(
    work: ProfiledGroup, settings: ExecutionSettings, device: torch.device, why: str = TOO_SHORT_REASON
) -> Strategy:
    """Return the strategy in this process without benchmarks: sequential unless set; threads depend only on the task.

    ``why`` is the stored reason, unless the model cannot be vectorized.
    """
    small = device.type == "cpu" and work.profile.flops < MAX_FLOPS_ONE_THREAD
    matmul: Matmul = "onednn" if settings.matmul == "onednn" else "default"
    common = Strategy(threads=1 if small else count_cores(), matmul=matmul)
    if settings.engine == "sequential":
        return common
    if settings.engine == "auto" or work.refusal is not None:
        return replace(common, reason=work.refusal or why)
    rows = settings.rows if settings.rows != "auto" else initial_rows(work, device)
    rows = min(rows, len(work.run_group.runs))
    return replace(common, engine="vectorised", rows=rows, **model_fields(work))


def short_strategy(work: ProfiledGroup, settings: ExecutionSettings, device: torch.device) -> Strategy:
    """Return the strategy of work that is too short to benchmark; sequential runs take adamcmp's own step."""
    strategy = default_strategy(work, settings, device)
    is_free = settings.engine == "auto" and strategy.engine == "sequential" and settings.ranks == 1
    return replace(strategy, update="adamcmp") if is_free else strategy


def is_short(works: Sequence[ProfiledGroup], settings: ExecutionSettings) -> bool:
    """Return whether the work is too little to measure anything for: all of it is done in this process."""
    fixed = settings.compile is True or settings.processes != "auto"
    runs = sum(len(work.run_group.runs) for work in works)
    return not fixed and sum(map(estimate_seconds, works)) < (
        MIN_SECONDS_TO_BENCHMARK if runs > 1 else MIN_SECONDS_SINGLE_RUN
    )


def model_fields(work: ProfiledGroup) -> dict[str, Any]:
    """Return the fields of a strategy of several rows that depend on the model."""
    return {
        "mixes_seeds": not work.profile.draws,
        "example_bytes": round(work.profile.activation_bytes / work.run_group.task.batch_size),
    }


def initial_rows(work: ProfiledGroup, device: torch.device) -> int:
    """Return r: on a CPU as many as fit the cache's share of a process."""
    if device.type != "cpu":
        return INITIAL_ROWS
    return max(1, min(round(CACHE_BYTES_PER_PROCESS / work.profile.row_bytes), MAX_ROWS))
