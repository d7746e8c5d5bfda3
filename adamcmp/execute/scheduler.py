"""Train the runs of an execution plan: split them into shards, collect results, and retry after failures.

A shard is leased before it is trained (``leases``), since other drivers may work on the same study; their runs are left
to them until they are stored or the driver is dead. A worker that has compiled a program gets the shards that share it.
A shard whose process dies, or whose memory ends, is split in two, and both halves resume from its checkpoint. A single
run is retried from there; it has failed if it ends again without further progress. A shard that raises any other error
is trained run by run, so that the error is stored with its run alone. A checkpoint is removed when all of its runs are
stored.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from adamcmp import signals
from adamcmp.engine.checkpoint import TrainingControl, TrainingStopped, load_checkpoint
from adamcmp.engine.program_training import ProgramLimits
from adamcmp.engine.run_result import RunResult
from adamcmp.engine.script_process import kill_left_process
from adamcmp.engine.strategy.types import Shard
from adamcmp.engine.train import train_shard
from adamcmp.errors import InputError
from adamcmp.execute.execution_plan import POLL_SECONDS, ExecutionPlan, format_worker_death
from adamcmp.execute.job_queue import JobQueue, Listener, ShardJob, make_jobs
from adamcmp.execute.leases import Leases
from adamcmp.execute.protocol import (
    Executor,
    Response,
    RunsStored,
    ShardEnded,
    StepsDone,
    TrainRequest,
    VectorizeResult,
    Worker,
    WorkerDied,
)
from adamcmp.execute.pruning import AsyncPruner
from adamcmp.execute.run_writer import Provenance, RunWriter, checkpoint_path
from adamcmp.plan.runs import Run

STOP_TIMEOUT_SECONDS = 60.0
"""Seconds that workers have to write their checkpoints."""
WAIT_SECONDS = 1.0
"""Seconds between two looks at what other drivers have stored."""


@signals.defer_signals()
def train_missing_runs(
    plan: ExecutionPlan,
    todo: Sequence[Run],
    study_dir: Path,
    provenance: Provenance,
    listener: Listener,
    leases: Leases,
) -> None:
    """Train and store runs, except those that other drivers train; return when all are stored.

    On any error or interrupt, finished runs are stored first.

    Raises:
        KeyboardInterrupt: a stop was requested; checkpoints are written.
        InputError: nothing more can be written.
    """
    left = {run.id: run for run in todo}
    pending = RunWriter(study_dir, provenance, leases.release)
    try:
        while left:
            queue = JobQueue(make_jobs(plan, list(left.values()), study_dir, listener), leases)
            if plan.executor is None:
                _train_here(plan, queue, pending, listener)
            else:
                settings = plan.settings
                pruner = AsyncPruner.of(plan.search, plan.runs) if plan.limits is not None else None
                dispatcher = _Dispatcher(
                    plan.executor, settings.checkpoint_seconds, plan.device, pending, listener, plan.limits, pruner
                )
                dispatcher.run(queue)
            pending.store()
            _drop_finished(left, leases, listener, queue.ended)
            if left:
                _wait_for_others(left, leases, listener)
    finally:
        pending.store()


def _drop_finished(left: dict[str, Run], leases: Leases, listener: Listener, ended: Collection[str]) -> None:
    """Remove runs from ``left`` that have ended here or that others have stored."""
    for run_id in ended:
        left.pop(run_id, None)
    finished = [left.pop(key) for key in leases.stored() & left.keys()]
    if finished:
        listener.elsewhere(finished)


def _wait_for_others(left: dict[str, Run], leases: Leases, listener: Listener) -> None:
    """Wait until other drivers have stored more of the runs that are left, or are gone.

    Raises:
        KeyboardInterrupt: someone asked to stop.
    """
    was_announced = False
    while left and (claimed := {name: ids & left.keys() for name, ids in leases.elsewhere().items()}):
        if not any(claimed.values()) or any(run not in set().union(*claimed.values()) for run in left):
            return
        if not was_announced:
            was_announced = True
            listener.say(f"waiting for {len(left):,} runs that {', '.join(sorted(claimed))} trains")
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            if signals.stop_requested():
                raise KeyboardInterrupt
            time.sleep(0.05)
        _drop_finished(left, leases, listener, ())


def _train_here(plan: ExecutionPlan, queue: JobQueue, pending: RunWriter, listener: Listener) -> None:
    while (job := queue.next()) is not None:
        control = TrainingControl(
            listener.stepped,
            shard=job.shard,
            checkpoint=job.checkpoint,
            start=job.start,
            every=plan.settings.checkpoint_seconds,
            weights=pending.study_dir / "weights",
            stopping=signals.stop_requested,
        )
        try:
            for outcomes in train_shard(
                job.shard, plan.datasets[job.shard.task.facts.fingerprint], plan.device, control
            ):
                _take_results(outcomes, job, queue, pending, listener)
        except TrainingStopped as stopped:
            raise KeyboardInterrupt from stopped


def _take_results(
    outcomes: Sequence[RunResult], job: ShardJob, queue: JobQueue, pending: RunWriter, listener: Listener
) -> None:
    ids = {outcome.run.id for outcome in outcomes}
    job.seen |= ids
    queue.ended |= ids
    pending.add(outcomes, job.checkpoint if len(job.seen) == len(job.shard.runs) else None)
    for outcome in outcomes:
        listener.ended(outcome)


@dataclass
class _Dispatcher:
    """Keeps the workers of an executor busy until all jobs are done."""

    executor: Executor
    checkpoint_seconds: float
    device: torch.device
    pending: RunWriter
    listener: Listener
    limits: ProgramLimits | None = None
    pruner: AsyncPruner | None = None
    queue: JobQueue = field(init=False)

    def run(self, queue: JobQueue) -> None:
        """Run all jobs that no other driver has.

        Raises:
            KeyboardInterrupt: someone asked to stop; checkpoints are written.
            InputError: nothing more can be written.
        """
        self.queue = queue
        while queue.claimed or queue.jobs or any(slot.busy is not None for slot in self.executor.slots):
            if signals.stop_requested():
                self._stop()
                raise KeyboardInterrupt
            for slot in self.executor.slots:
                if slot.busy is None and (job := queue.next(self._rank(slot))) is not None:
                    slot.last = job.family
                    weights = self.pending.study_dir / "weights"
                    request = TrainRequest(
                        job.shard, job.checkpoint, job.start, self.checkpoint_seconds, weights, limits=self.limits
                    )
                    job.submitted_at = time.monotonic()
                    self.executor.submit(slot, request, job)
            self._end_overdue()
            for slot, answer in self.executor.answers(POLL_SECONDS):
                queue.claimed[:0] = self._handle(slot, answer)

    def _end_overdue(self) -> None:
        """Kill runs of a function that does not end at its time limit: a script's are ended by their worker."""
        if self.limits is None or math.isinf(self.limits.seconds):
            return
        for slot in self.executor.slots:
            job: ShardJob | None = slot.busy
            if job is not None and time.monotonic() - job.submitted_at > self.limits.kill_seconds:
                self.executor.cancel(slot)
                self._store_failed(job, f"{self.limits.overdue_text}; look at trial.should_stop in its loop")

    def _store_failed(self, job: ShardJob, error: str) -> None:
        for run in job.shard.runs:
            if run.id not in job.seen:
                failed = self._failed(run, error, job.shard)
                self.queue.ended.add(run.id)
                self.pending.add([failed])
                self.listener.ended(failed)

    def _rank(self, slot: Worker) -> Callable[[ShardJob], Any]:
        """Return a sort key of jobs for a worker: first a job whose program it has, then one that no other worker
        has.
        """
        busy_families = {other.last for other in self.executor.slots if other is not slot and other.busy is not None}
        return lambda job: (job.family != slot.last, job.family in busy_families)

    def _handle(self, slot: Worker, answer: Response) -> list[ShardJob]:
        """Handle a response; return jobs to repeat."""
        job: ShardJob | None = slot.busy
        if job is None:  # one that waited has died, and was replaced
            return []
        match answer:
            case StepsDone():
                job.begun = True
                self.listener.stepped(answer.steps, answer.evaluation)
                if self.pruner is not None and answer.evaluation is not None and self.limits is not None:
                    self.pruner.take(job.shard.runs[0], answer.evaluation, self.limits.folder)
            case tuple():
                _take_results(answer, job, self.queue, self.pending, self.listener)
            case RunsStored():
                ids = [outcome.run.id for outcome in answer.outcomes]
                job.seen.update(ids)
                self.queue.ended.update(ids)
                self.pending.release(ids)
                self.pending.merge()
                for outcome in answer.outcomes:
                    self.listener.ended(outcome)
            case ShardEnded(how="unwritable"):
                raise InputError(answer.error)
            case ShardEnded(how="memory" | "error"):
                slot.busy = None
                return self._retry(job, answer.error, alone=answer.how == "error")
            case WorkerDied():
                slot.busy = None
                if self.limits is not None:
                    for run in job.shard.runs:
                        kill_left_process(self.limits.folder / run.id)
                if answer.lost and _has_progressed(job):
                    return [replace(job, died_at=_checkpoint_steps(job), begun=False)]
                return self._retry(job, format_worker_death(answer), alone=False)
            case ShardEnded():
                slot.busy = None
            case list() | VectorizeResult():
                raise AssertionError("a training is never answered by timings")
        return []

    def _retry(self, job: ShardJob, error: str, *, alone: bool) -> list[ShardJob]:
        """Return the jobs that replace a failed one: its runs one by one, its halves, or its only run unless that is
        hopeless.
        """
        runs = tuple(run for run in job.shard.runs if run.id not in job.seen)
        strategy = job.shard.strategy
        if alone and strategy.engine == "vectorised":
            strategy = replace(strategy, engine="sequential", rows=1, compiled=False, graphs=False, reason=error)
            parts: list[tuple[Run, ...]] = [(run,) for run in runs]
        elif len(runs) > 1:
            half = len(runs) // 2
            strategy = replace(strategy, rows=len(runs) - half)
            parts = [runs[:half], runs[half:]]
        elif runs:
            if _has_progressed(job):
                return [replace(job, died_at=_checkpoint_steps(job), begun=False)]
            failed = self._failed(runs[0], error, job.shard)
            self.queue.ended.add(runs[0].id)
            self.pending.add([failed])  # its checkpoint stays for the next command, which may have more memory
            self.listener.ended(failed)
            return []
        else:
            return []
        start = job.checkpoint if job.checkpoint.exists() else job.start
        shards = [Shard(job.shard.task, job.shard.kernel, part, strategy) for part in parts]
        return [ShardJob(shard, checkpoint_path(self.pending.study_dir, shard), job.family, start) for shard in shards]

    def _failed(self, run: Run, error: str, shard: Shard) -> RunResult:
        return RunResult.failed(run, error, shard.strategy, str(self.device))

    def _stop(self) -> None:
        """Have all workers write their checkpoints, and wait for them; jobs that have not begun are cancelled."""
        for slot in self.executor.slots:
            if slot.busy is not None:
                has_begun = slot.busy.begun or self.limits is not None  # a program may save before it reports
                (self.executor.stop if has_begun else self.executor.cancel)(slot)
        waited = 0.0
        while any(slot.busy is not None for slot in self.executor.slots) and waited < STOP_TIMEOUT_SECONDS:
            for slot, answer in self.executor.answers(POLL_SECONDS):
                if isinstance(answer, ShardEnded | WorkerDied):
                    slot.busy = None
                else:
                    self._handle(slot, answer)
            waited += POLL_SECONDS


def _has_progressed(job: ShardJob) -> bool:
    """Return whether it died for the first time, or further on than before."""
    return job.died_at is None or _checkpoint_steps(job) > job.died_at


def _checkpoint_steps(job: ShardJob) -> int:
    """Return how far the checkpoint of a job's runs is."""
    for path in (job.checkpoint, job.start):
        state = load_checkpoint(path) if path is not None else None
        if state is not None:
            return int(state["step"])
    return 0
