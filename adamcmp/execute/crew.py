"""Train runs: choose how, share them out over processes, take what comes back, and go on where one of them fails.

Little work is done here, in this process. More of it goes to a pool, in pieces: a worker that has compiled a program
gets the pieces that share it. A piece whose process dies, or whose memory ends, is cut in two and tried again; one
that raises anything else is trained run by run, so that each error is told of its run alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import torch
from rich import filesize

from adamcmp import interrupts
from adamcmp.config.schema import Execute
from adamcmp.data.dataset import Dataset
from adamcmp.engine.choice import Ask, Choice, Work, choose, cores, is_short, rough_seconds, unmeasured
from adamcmp.engine.memory import training_memory
from adamcmp.engine.outcome import Evaluation, Outcome
from adamcmp.engine.profile import profile
from adamcmp.engine.strategy import Piece, divide
from adamcmp.engine.timing import Timing, matmul_errors
from adamcmp.engine.train import train
from adamcmp.engine.trial import refusal
from adamcmp.engine.watch import Stopped, Watch
from adamcmp.errors import InputError
from adamcmp.execute.local import Pending, unfinished
from adamcmp.execute.pool import Died, Pool, Worker, pool
from adamcmp.execute.rows import Provenance
from adamcmp.execute.worker import Answer, Ended, Progress, TrainAsk, Tried, TryAsk
from adamcmp.plan.runs import Cohort, Run, cohorts
from adamcmp.records import merge_parts

LOOK_EVERY = 0.2
"""Seconds after which the driver looks whether it was interrupted."""
STOPPING_TAKES = 60.0
"""Seconds that workers have to write their checkpoints."""


class Listener(Protocol):
    """Told how a sweep goes on."""

    def stepped(self, steps: int, evaluation: Evaluation | None) -> None:
        """The runs in training have taken so many more steps, all together."""

    def ended(self, outcome: Outcome) -> None:
        """A run has ended."""

    def say(self, text: str) -> None:
        """Something that the user should know."""


@dataclass
class Crew:
    """Cohorts, how each will be trained, and the processes to do it."""

    device: torch.device
    datasets: Mapping[str, Dataset]
    settings: Execute
    cohorts: Sequence[Cohort]
    choices: Sequence[Choice]
    pool: Pool | None
    """None: all is done in this process."""
    memory: float
    """Bytes that what is trained may take, all processes together."""
    works: Sequence[Work] = ()
    """The cohorts with what one look at their models told."""

    @property
    def flops(self) -> float:
        """Floating-point operations of all training steps; inf where they cannot be counted."""
        return sum(work.member_steps * work.profile.flops for work in self.works)

    @property
    def run_bytes(self) -> int:
        """What one run takes while it is trained, of the largest task."""
        return max((work.profile.row_bytes for work in self.works), default=0)

    @property
    def peak_bytes(self) -> int:
        """What is trained takes at most, all processes together, by that look."""
        pairs = zip(self.works, (choice.strategy for choice in self.choices), strict=True)
        return max((s.processes * s.rows * work.profile.row_bytes for work, s in pairs), default=0)

    @property
    def compiles(self) -> bool:
        """Whether some program is compiled before its first step."""
        return any(choice.strategy.compiled for choice in self.choices)

    @property
    def seconds(self) -> float:
        """What all of it should take."""
        return sum(choice.seconds for choice in self.choices)

    @property
    def notes(self) -> list[str]:
        """What the user should know of the choices, each once."""
        found = dict.fromkeys(choice.note for choice in self.choices if choice.note)
        if self.run_bytes > self.memory:
            needs, has = filesize.decimal(self.run_bytes), filesize.decimal(int(self.memory))
            found[f"one run may take {needs}, execute.memory_gb leaves {has}; it is trained all the same"] = None
        return list(found)


@contextmanager
def crew(
    todo: Sequence[Run],
    datasets: Mapping[str, Dataset],
    device: torch.device,
    settings: Execute,
    *,
    dry_run: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Crew]:
    """Choose how to train runs, with the processes that it takes.

    A dry run times nothing: what has not been timed before is priced roughly. ``say`` is told what is being done.
    """
    groups = cohorts(todo)
    works = [Work(each, profile(each, datasets[each.task.facts.fingerprint], device)) for each in groups]
    short = is_short(works, settings)
    if short and settings.engine == "vectorised":
        works = [
            replace(work, refusal=refusal(work.cohort, datasets[work.cohort.task.facts.fingerprint], device))
            for work in works
        ]
    processes = settings.processes if settings.processes != "auto" else cores() if device.type == "cpu" else 1
    memory = training_memory(settings, device, datasets.values())
    largest = max((work.profile.row_bytes for work in works), default=1)
    processes = max(1, min(processes, len(todo), int(memory // largest)))
    if not todo or short or dry_run:
        choices = (
            [Choice(unmeasured(work, settings, device), rough_seconds(work)) for work in works]
            if short
            else choose(works, settings, device, processes, memory)
        )
        yield Crew(device, datasets, settings, groups, choices, None, memory, works)
        return
    with pool(processes, str(device), datasets) as made:
        if settings.engine != "sequential":
            say("trying whether models train as one program")
            works = [replace(work, refusal=each) for work, each in zip(works, _trials(made, groups), strict=True)]

        def errors(cohort: Cohort, rows: int) -> dict[str, float]:
            return matmul_errors(cohort, rows, datasets[cohort.task.facts.fingerprint], device)

        def measure(asks: Sequence[Ask]) -> list[list[Timing]]:
            ways = [strategy for ask in asks for strategy in ask.strategies]
            compiling = "compiling and " if any(strategy.compiled for strategy in ways) else ""
            say(f"{compiling}timing {len(ways)} way{'s' if len(ways) > 1 else ''} to train")
            return _timings(made, asks)

        choices = choose(works, settings, device, processes, memory, measure, errors)
        yield Crew(device, datasets, settings, groups, choices, made, memory, works)


def _answered(made: Pool, asks: Sequence[TryAsk | Ask], *, together: bool) -> list[Answer | Died]:
    """An answer to each ask, from as many processes at a time as there are.

    ``together``: a process that would have nothing to do takes an ask that another one is at, and all have ended when
    this returns.
    """
    waiting = list(range(len(asks)))
    found: dict[int, Answer | Died] = {}
    busy: dict[Worker, int] = {}
    while len(found) < len(asks) or any(worker.busy for worker in made.workers):
        for worker in made.workers:
            left = [i for i in range(len(asks)) if i not in found]
            if worker.busy is None and (waiting or (left and together and worker not in busy)):
                busy[worker] = waiting.pop(0) if waiting else left[0]
                made.ask(worker, asks[busy[worker]])
        for worker, answer in made.answers(LOOK_EVERY):
            if worker.busy is not None:  # else one that waited has died, and was replaced
                worker.busy = None
                found.setdefault(busy[worker], answer)
    return [found[i] for i in range(len(asks))]


def _trials(made: Pool, cohorts: Sequence[Cohort]) -> list[str | None]:
    """Why cohorts cannot be vectorised; a process that dies has not said that they cannot."""
    answers = _answered(made, [TryAsk(cohort) for cohort in cohorts], together=False)
    return [answer.refusal if isinstance(answer, Tried) else None for answer in answers]


def _timings(made: Pool, asks: Sequence[Ask]) -> list[list[Timing]]:
    """Time the ways to train of each cohort, with all processes at work, unless a way takes all threads.

    That is how they will train, and a process that has timed a compiled program has it too.
    """
    together = any(strategy.processes > 1 for ask in asks for strategy in ask.strategies)
    found: list[list[Timing]] = []
    for ask, answer in zip(asks, _answered(made, asks, together=together), strict=True):
        assert isinstance(answer, list | Died)
        found.append(answer if isinstance(answer, list) else [Timing(error=_death(answer))] * len(ask.strategies))
    return found


@dataclass
class _Job:
    """A piece, its checkpoint, and the cohort whose program it shares."""

    piece: Piece
    checkpoint: Path
    family: object
    seen: set[str] = field(default_factory=set)
    """Ids of the runs whose outcomes have come."""
    begun: bool = False
    """Some step has been told of: before that, programs are compiled."""


@interrupts.patient()
def train_all(crew: Crew, todo: Sequence[Run], study_dir: Path, provenance: Provenance, listener: Listener) -> None:
    """Train runs and store them; on any error or interrupt, what has finished is stored first.

    Raises:
        KeyboardInterrupt: someone asked to stop; checkpoints are written.
        InputError: nothing more can be written.
    """
    pending = Pending(study_dir, provenance)
    jobs = _jobs(crew, todo, study_dir, listener)
    try:
        (_here if crew.pool is None else _in_pool)(crew, jobs, pending, listener)
    finally:
        pending.store()
        merge_parts(study_dir)


def _jobs(crew: Crew, todo: Sequence[Run], study_dir: Path, listener: Listener) -> list[_Job]:
    """What earlier commands began first, then the rest in pieces as chosen."""
    begun = unfinished(study_dir, todo, listener.say)
    jobs = [_Job(each.piece, each.checkpoint, each.piece.key) for each in begun]
    taken = {run.id for each in begun for run in each.piece.runs}
    for cohort, choice in zip(crew.cohorts, crew.choices, strict=True):
        left = replace(cohort, runs=tuple(run for run in cohort.runs if run.id not in taken))
        if left.runs:
            family = (cohort.task.key, cohort.kernel)
            jobs += [
                _Job(piece, study_dir / "checkpoints" / f"{piece.key}.pt", family)
                for piece in divide(left, choice.strategy)
            ]
    return jobs


def _here(crew: Crew, jobs: list[_Job], pending: Pending, listener: Listener) -> None:
    for job in jobs:
        watch = Watch(
            listener.stepped,
            piece=job.piece,
            checkpoint=job.checkpoint,
            every=crew.settings.checkpoint_seconds,
            stopping=interrupts.asked,
        )
        try:
            for outcome in train(job.piece, crew.datasets[job.piece.task.facts.fingerprint], crew.device, watch):
                pending.add(outcome)
                listener.ended(outcome)
            pending.done.append(job.checkpoint)
        except Stopped as stopped:
            raise KeyboardInterrupt from stopped


def _in_pool(crew: Crew, jobs: list[_Job], pending: Pending, listener: Listener) -> None:
    made = crew.pool
    assert made is not None
    while jobs or any(worker.busy for worker in made.workers):
        if interrupts.asked():
            _stop(made, pending, listener)
            raise KeyboardInterrupt
        for worker in made.workers:
            if worker.busy is None and jobs:
                job = _next(jobs, worker, made)
                worker.last = job.family
                made.ask(worker, TrainAsk(job.piece, job.checkpoint, crew.settings.checkpoint_seconds))
                worker.busy = job
        for worker, answer in made.answers(LOOK_EVERY):
            jobs[:0] = _take(worker, answer, crew.device, pending, listener)


def _next(jobs: list[_Job], worker: Worker, made: Pool) -> _Job:
    """A piece of the family that the worker knows; else of one that no other is at work on; else the first."""
    others = {other.last for other in made.workers if other is not worker and other.busy}
    ranks = [(job.family != worker.last, job.family in others) for job in jobs]
    return jobs.pop(ranks.index(min(ranks)))


def _take(
    worker: Worker, answer: Answer | Died, device: torch.device, pending: Pending, listener: Listener
) -> list[_Job]:
    """Handle an answer; the pieces to do again."""
    job: _Job | None = worker.busy
    if job is None:  # one that waited has died, and was replaced
        return []
    match answer:
        case Progress():
            job.begun = True
            listener.stepped(answer.steps, answer.evaluation)
        case Outcome():
            job.seen.add(answer.run.id)
            pending.add(answer)
            if len(job.seen) == len(job.piece.runs):
                pending.done.append(job.checkpoint)
            listener.ended(answer)
        case Ended(how="unwritable"):
            raise InputError(answer.error)
        case Ended(how="memory" | "error"):
            worker.busy = None
            return _again(job, answer.error, answer.how == "error", device, pending, listener)
        case Died():
            worker.busy = None
            return _again(job, _death(answer), False, device, pending, listener)
        case Ended():
            worker.busy = None
        case list() | Tried():
            raise AssertionError("a training is never answered by timings")
    return []


def _death(died: Died) -> str:
    code = died.exit_code
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    return f"its process ended {how}; where memory ran out, a lower execute.memory_gb or execute.rows helps"


def _again(
    job: _Job, error: str, alone: bool, device: torch.device, pending: Pending, listener: Listener
) -> list[_Job]:
    """Halves of a piece, or its runs one by one; a single run that fails again has failed."""
    job.checkpoint.unlink(missing_ok=True)
    runs = tuple(run for run in job.piece.runs if run.id not in job.seen)
    strategy = job.piece.strategy
    if alone and strategy.engine == "vectorised":
        strategy = replace(strategy, engine="sequential", rows=1, compiled=False, reason=error)
        parts: list[tuple[Run, ...]] = [(run,) for run in runs]
    elif len(runs) > 1:
        half = len(runs) // 2
        strategy = replace(strategy, rows=len(runs) - half)
        parts = [runs[:half], runs[half:]]
    else:
        for run in runs:
            outcome = Outcome(
                run=run,
                status="failed",
                evaluations=(),
                error=error,
                parameters=None,
                strategy=strategy,
                device=str(device),
                seconds=0.0,
                finished_at=datetime.now(UTC),
            )
            pending.add(outcome)
            listener.ended(outcome)
        return []
    pieces = [Piece(job.piece.task, job.piece.kernel, part, strategy) for part in parts]
    return [_Job(each, job.checkpoint.with_name(f"{each.key}.pt"), job.family) for each in pieces]


def _stop(made: Pool, pending: Pending, listener: Listener) -> None:
    """Ask all workers to write their checkpoints, and wait until they have; what has not begun has none to write."""
    for worker in made.workers:
        if worker.busy is not None and not worker.busy.begun:
            worker.kill()
            worker.busy = None
        if worker.busy is not None:
            try:
                worker.pipe.send("stop")
            except OSError:  # it has just died, and can write nothing
                worker.busy = None
    waited = 0.0
    while any(worker.busy is not None for worker in made.workers) and waited < STOPPING_TAKES:
        for worker, answer in made.answers(LOOK_EVERY):
            if isinstance(answer, Ended | Died):
                worker.busy = None
            else:
                _take(worker, answer, torch.device("cpu"), pending, listener)
        waited += LOOK_EVERY
