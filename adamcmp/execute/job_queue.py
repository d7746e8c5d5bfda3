"""The queue of shards to train: order, leases and retries."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from adamcmp.engine.run_result import Evaluation, RunResult
from adamcmp.engine.strategy.types import Shard, split_into_shards
from adamcmp.execute.execution_plan import ExecutionPlan
from adamcmp.execute.leases import Leases
from adamcmp.execute.run_writer import checkpoint_path, find_resumable
from adamcmp.plan.runs import Run

LEASE_AHEAD_SECONDS = 2.0
"""Seconds of work, by measured steps, that a driver claims at a time, at least."""
MAX_LEASING_FRACTION = 0.01
"""Share of its time that a driver spends on claims: where many wait for the lock, each claims more at a time."""
DEFAULT_JOB_SECONDS = 0.1
"""Assumed duration of a job whose steps were never timed: without it, a driver would claim all such jobs at once."""


@dataclass
class ShardJob:
    """A shard, the path of its checkpoint, and the checkpoint to start from."""

    shard: Shard
    checkpoint: Path
    family: object
    """The run group whose program it shares."""
    start: Path | None = None
    """The checkpoint of a larger shard."""
    seen: set[str] = field(default_factory=set)
    """Ids of the runs whose results have come."""
    begun: bool = False
    """Whether some step was reported; before that, programs are compiled."""
    submitted_at: float = 0.0
    """Time by the monotonic clock at which a worker got it."""
    died_at: int | None = None
    """How far its checkpoint was when it died last."""

    @property
    def seconds(self) -> float:
        """Estimated seconds by benchmarks; 0 without them."""
        return self.shard.steps * self.shard.strategy.step_seconds


@dataclass
class JobQueue:
    """Jobs, of which a driver claims the next few when it gives one out."""

    jobs: list[ShardJob]
    leases: Leases
    claimed: list[ShardJob] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    """Ids of the runs that have ended here."""
    _ahead: float = LEASE_AHEAD_SECONDS

    def next(self, key: Callable[[ShardJob], Any] = lambda _: 0) -> ShardJob | None:
        """Return the leased job of the smallest key, or the next that no other driver has; None if there is none."""
        while not self.claimed and self.jobs:
            jobs = [_pop_least(self.jobs, key)]
            seconds, count = jobs[0].seconds or DEFAULT_JOB_SECONDS, 0
            while count < len(self.jobs) and seconds < self._ahead:
                seconds += self.jobs[count].seconds or DEFAULT_JOB_SECONDS
                count += 1
            jobs += self.jobs[:count]
            del self.jobs[:count]
            began = time.monotonic()
            free = self.leases.claim([[run.id for run in job.shard.runs] for job in jobs])
            self._ahead = max(LEASE_AHEAD_SECONDS, (time.monotonic() - began) / MAX_LEASING_FRACTION)
            self.claimed = [job for job, ids in zip(map(_keep_free_runs, jobs, free), free, strict=True) if ids]
        if not self.claimed:
            return None
        return _pop_least(self.claimed, key)


def _pop_least(jobs: list[ShardJob], key: Callable[[ShardJob], Any]) -> ShardJob:
    return jobs.pop(min(range(len(jobs)), key=lambda index: key(jobs[index])))


def _keep_free_runs(job: ShardJob, free: Collection[str]) -> ShardJob:
    """Return a job with the runs that are free: a smaller shard if other drivers have some of its runs."""
    if len(free) in (0, len(job.shard.runs)):
        return job
    shard = replace(job.shard, runs=tuple(run for run in job.shard.runs if run.id in free), layout=None)
    checkpoint = job.checkpoint.with_name(f"{shard.key}.pt")
    return replace(job, shard=shard, checkpoint=checkpoint, start=job.start or job.checkpoint)


def make_jobs(plan: ExecutionPlan, todo: Sequence[Run], study_dir: Path, listener: Listener) -> list[ShardJob]:
    """Return the jobs: shards that earlier commands began first, then the other runs by strategy."""
    begun = find_resumable(study_dir, todo, listener.say)
    jobs = [ShardJob(waiting.shard, waiting.checkpoint, waiting.shard.key, waiting.start) for waiting in begun]
    taken = {run.id for waiting in begun for run in waiting.shard.runs}
    for run_group, choice in plan.pairs:
        left = replace(run_group, runs=tuple(run for run in run_group.runs if run.id not in taken))
        if left.runs:
            family = (run_group.task.key, run_group.kernel, run_group.patterns)
            shards = split_into_shards(left, choice.strategy)
            jobs += [ShardJob(shard, checkpoint_path(study_dir, shard), family) for shard in shards]
    return jobs


class Listener(Protocol):
    """Callbacks on the progress of a sweep."""

    def stepped(self, steps: int, evaluation: Evaluation | None) -> None:
        """Receive the number of steps that the runs in training have taken since the last call."""

    def ended(self, outcome: RunResult) -> None:
        """Receive the result of a run that has ended."""

    def elsewhere(self, runs: Sequence[Run]) -> None:
        """Receive runs that other drivers have stored."""

    def say(self, text: str) -> None:
        """Receive a message for the user."""
