"""Runs on held-out seeds that follow from a plan alone. No pandas, so that a dry run starts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from adamcmp.plan.run_ids import rule_identity, run_id
from adamcmp.plan.runs import Run, optimizer_key
from adamcmp.storage.schema import Stage

FIRST_HELD_OUT_SEED = 1_000_000
"""The first held-out seed, beyond those that users tune with."""
EXPECTED_CANDIDATES = 3
"""Candidates of an optimizer that the time of held-out runs is estimated by: 2.5 on average in the calibration."""


def run_on_seeds(run: Run, seeds: Sequence[int], stage: Stage = "confirm") -> list[Run]:
    """Return runs of the same trial on other seeds."""
    optimizer, schedule = rule_identity(run.optimizer), rule_identity(run.schedule)
    return [replace(run, id=run_id(run.task, optimizer, schedule, seed), seed=seed, stage=stage) for seed in seeds]


def placeholder_runs(runs: Sequence[Run], seeds: int) -> list[Run]:
    """Return about as many runs as there will be on held-out seeds, of the first trials of every optimizer."""
    trials: dict[object, dict[tuple[float, float], Run]] = {}
    for run in runs:
        trials.setdefault(optimizer_key(run), {}).setdefault((run.optimizer.lr, run.optimizer.weight_decay), run)
    fresh = list(range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + seeds))
    firsts = [run for of_arm in trials.values() for run in islice(of_arm.values(), EXPECTED_CANDIDATES)]
    return [held_out for run in firsts for held_out in run_on_seeds(run, fresh)]
