"""Choose how runs are trained, with the processes that it takes: little work is done here, more of it in a pool."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from adamcmp import signals
from adamcmp.config.schema import ExecutionSettings, SearchSettings
from adamcmp.data.dataset import Dataset
from adamcmp.engine.hardware import count_cores, count_devices, device_for_process, onednn_rounds_to_bf16
from adamcmp.engine.program_training import ProgramLimits
from adamcmp.engine.run_result import RunResult
from adamcmp.engine.strategy.cost import (
    MIN_TRAINING_FRACTION,
    CostEstimate,
    CostProfile,
    ProfiledGroup,
    profile_group,
    training_memory,
)
from adamcmp.engine.strategy.default import estimate_seconds, is_short, short_strategy
from adamcmp.engine.strategy.select import BenchmarkRequest, select_strategies
from adamcmp.engine.strategy.timing_cache import Machine, Timing
from adamcmp.engine.strategy.types import ONEDNN_ROUNDS_ERROR, Strategy, StrategyChoice
from adamcmp.engine.strategy.vectorizable import why_not_vectorizable
from adamcmp.errors import InputError
from adamcmp.execute.local_pool import LocalPool, start_pool
from adamcmp.execute.program_check import (
    ProgramCheck,
    check_program,
    count_processes,
    fingerprint_of,
    run_limits,
    visible_gpus,
)
from adamcmp.execute.protocol import (
    Executor,
    Response,
    StoreTarget,
    VectorizeCheck,
    VectorizeResult,
    Worker,
    WorkerDied,
)
from adamcmp.plan.programs import ProgramTask, program_of, with_metrics
from adamcmp.plan.runs import Run, RunGroup, group_runs
from adamcmp.plan.search import pruning_steps

POLL_SECONDS = 0.2
"""Seconds after which the driver looks whether it was interrupted."""


@dataclass(frozen=True)
class ExecutionPlan:
    """Run groups, their strategies, and the executor that trains them."""

    device: torch.device
    datasets: Mapping[str, Dataset]
    settings: ExecutionSettings
    estimate: CostEstimate
    executor: Executor | None
    """None: all is done in this process."""
    limits: ProgramLimits | None = None
    """Resources of each run of a script or function."""
    check: ProgramCheck | None = None
    """Findings of the check of a script or function."""
    is_checked_now: bool = False
    """The check was made for this plan; else an earlier one is stored."""
    checked: tuple[RunResult, ...] = ()
    """Results of planned runs that the check has trained."""
    search: SearchSettings | None = None

    @property
    def runs(self) -> list[Run]:
        """All runs of the plan; those of a program with the metrics that its check has found."""
        return [run for work in self.estimate.works for run in work.run_group.runs]

    @property
    def pairs(self) -> Iterator[tuple[RunGroup, StrategyChoice]]:
        """Run groups with their strategies."""
        return zip((work.run_group for work in self.estimate.works), self.estimate.choices, strict=True)


@contextmanager
def prepare_execution(
    todo: Sequence[Run],
    datasets: Mapping[str, Dataset],
    device: torch.device,
    settings: ExecutionSettings,
    *,
    store: StoreTarget | None = None,
    search: SearchSettings | None = None,
    dry_run: bool = False,
    benchmarks: bool = True,
    say: Callable[[str], None] = lambda _: None,
    study_dir: Path | None = None,
) -> Iterator[ExecutionPlan]:
    """Choose how to train runs, with the processes that it takes.

    Without ``benchmarks`` strategies are chosen by rough estimates and by earlier timings alone; so they are in a dry
    run. ``say`` receives progress messages. Workers of a cluster store their runs themselves, in ``store``; without
    it all runs train on this machine. A ``search`` may end most of its runs early.

    Raises:
        InputError: the matrix library that is set would not compute in fp32 here, or there is no cluster.
    """
    if program_of(todo) is not None:
        with _program_execution(
            todo, device, settings, store, search, say, dry_run=dry_run, study_dir=study_dir
        ) as plan:
            yield plan
        return
    if settings.matmul == "onednn" and device.type == "cpu" and onednn_rounds_to_bf16():
        raise InputError(ONEDNN_ROUNDS_ERROR)
    if settings.ranks > 1:
        settings = settings.model_copy(update={"engine": "sequential", "processes": 1})
    works = [
        ProfiledGroup(group, profile_group(group, datasets[group.task.facts.fingerprint], device))
        for group in group_runs(todo)
    ]
    on_ray = settings.where == "ray" and store is not None and not dry_run
    short = is_short(works, settings) and not on_ray
    if short and settings.engine == "vectorised":
        works = [
            replace(
                work,
                refusal=why_not_vectorizable(work.run_group, datasets[work.run_group.task.facts.fingerprint], device),
            )
            for work in works
        ]
    processes = (
        settings.processes
        if settings.processes != "auto"
        else count_cores()
        if device.type == "cpu"
        else count_devices(device)
    )
    memory = training_memory(settings, device, datasets.values())
    largest = max((work.profile.row_bytes for work in works), default=1)
    processes = max(1, min(processes, len(todo), int(memory // largest)))

    def made(
        works: Sequence[ProfiledGroup], choices: Sequence[StrategyChoice], executor: Executor | None
    ) -> ExecutionPlan:
        choices = [_with_ranks(work, choice, settings.ranks) for work, choice in zip(works, choices, strict=True)]
        options = (
            choices if search is None else [_with_pruning(*pair, search) for pair in zip(works, choices, strict=True)]
        )
        return ExecutionPlan(device, datasets, settings, CostEstimate(works, options, memory), executor)

    if not todo or short:
        yield made(
            works,
            [StrategyChoice(short_strategy(work, settings, device), estimate_seconds(work)) for work in works],
            None,
        )
        return
    if dry_run:
        yield made(works, select_strategies(works, settings, device, processes, memory), None)
        return
    if on_ray:
        from adamcmp.execute.ray_executor import ray_cluster

        assert store is not None
        say("asking the Ray cluster")
        with ray_cluster(settings, datasets, store) as nodes:
            nodes.row_bytes = {work.run_group.task.key: work.profile.row_bytes for work in works}
            most = settings.processes if settings.processes != "auto" else nodes.processes
            whole = settings.memory_gb * 1e9 if settings.memory_gb != "auto" else nodes.memory() / 2
            memory = max(
                whole - most * sum(dataset.memory_bytes for dataset in datasets.values()), MIN_TRAINING_FRACTION * whole
            )
            processes = max(1, min(most, int(memory // largest)))
            works, choices = _benchmark_and_select(
                nodes, works, settings, nodes.device, processes, memory, say, nodes.place
            )
            share = min(1.0, processes / len(nodes.slots))  # choices are of one node
            choices = [replace(choice, seconds=choice.seconds * share) for choice in choices]
            yield replace(made(works, choices, nodes), device=nodes.device)
        return
    with start_pool([device_for_process(device, i) for i in range(processes)], datasets) as executor:
        timed = _benchmark_and_select(executor, works, settings, device, processes, memory, say, benchmarks=benchmarks)
        yield made(*timed, executor)


@contextmanager
def _program_execution(
    todo: Sequence[Run],
    device: torch.device,
    settings: ExecutionSettings,
    store: StoreTarget | None,
    search: SearchSettings | None,
    say: Callable[[str], None],
    *,
    dry_run: bool,
    study_dir: Path | None = None,
) -> Iterator[ExecutionPlan]:
    """Yield a plan for runs of a script or function, after its check."""
    task = todo[0].task
    assert isinstance(task, ProgramTask)
    on_ray = settings.where == "ray" and not dry_run
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    memory = training_memory(settings, torch.device("cpu"), ())
    folder = study_dir or (store.study_dir if store is not None else None)
    check = ProgramCheck.load(folder, fingerprint_of(task)) if folder is not None else None
    made_now = check is None

    def counted(check: ProgramCheck | None, executor: Executor | None = None) -> int:
        if executor is not None and on_ray:
            return min(len(executor.slots), len(todo))
        return min(count_processes(check, settings, count_cores(), gpus, memory), len(todo))

    def made(
        runs: Sequence[Run], executor: Executor | None, processes: int, limits: ProgramLimits, done: Sequence[RunResult]
    ) -> ExecutionPlan:
        return ExecutionPlan(
            device, {}, settings, _program_estimate(runs, check, processes, limits.threads, memory), executor,
            limits, check, made_now, tuple(done), search,
        )  # fmt: skip

    def threads(processes: int) -> int:
        per_run = settings.cores_per_run
        return max(1, int(per_run) if per_run != "auto" else count_cores() // processes)

    if dry_run or store is None:
        processes = counted(check)
        yield made(todo, None, processes, ProgramLimits(threads=threads(processes)), ())
        return
    done: list[RunResult] = []
    if on_ray:
        from adamcmp.execute.ray_executor import ray_cluster

        say("asking the Ray cluster")
        with ray_cluster(settings, {}, store) as nodes:
            per_run = 1 if settings.cores_per_run == "auto" else int(settings.cores_per_run)
            nodes.run_gpus = 0.0 if settings.gpus_per_run == "auto" else settings.gpus_per_run
            if check is None and settings.check:
                check, done = check_program(nodes, todo, settings, store.study_dir, say)
            limits = run_limits(check, settings, store.study_dir, per_run)
            yield replace(
                made(_resolved(todo, check, done), nodes, counted(check, nodes), limits, done), device=nodes.device
            )
        return
    if check is None and settings.check:
        processes = min(counted(None), MAX_CHECK_PROCESSES)
        with _program_pool(processes, device, gpus, settings) as executor:
            check, done = check_program(executor, todo, settings, store.study_dir, say)
    processes = counted(check)
    limits = run_limits(check, settings, store.study_dir, threads(processes))
    with _program_pool(processes, device, gpus, settings) as executor:
        yield made(_resolved(todo, check, done), executor, processes, limits, done)


MAX_CHECK_PROCESSES = 4
"""Runs of a check that train at a time, since their memory is not known yet."""


def _program_pool(
    processes: int, device: torch.device, gpus: int, settings: ExecutionSettings
) -> AbstractContextManager[LocalPool]:
    """Return a pool of processes that run scripts or call functions."""
    seen = visible_gpus(processes, gpus, settings)
    devices = [f"cuda:{text.partition(',')[0]}" if text else str(device) for text in seen]
    return start_pool(devices, {}, seen if any(seen) else ())


def _resolved(todo: Sequence[Run], check: ProgramCheck | None, done: Sequence[RunResult]) -> list[Run]:
    """Return the runs that are left, with the metrics of the check."""
    ended = {result.run.id for result in done}
    left = [run for run in todo if run.id not in ended]
    return left if check is None else with_metrics(left, check.reported)


def _program_estimate(
    runs: Sequence[Run], check: ProgramCheck | None, processes: int, threads: int, memory: float
) -> CostEstimate:
    """Return the cost of runs of a program, as its check has measured it; without one it is not known."""
    seconds, size = (check.seconds, int(check.bytes)) if check is not None else (0.0, 0)
    works = [ProfiledGroup(group, CostProfile(math.inf, 0, size // 2, False)) for group in group_runs(runs)]
    choices = []
    for work in works:
        task = work.run_group.task
        assert isinstance(task, ProgramTask)
        strategy = Strategy(
            engine=task.program.kind, processes=processes, threads=threads, step_seconds=seconds / task.steps
        )
        choices.append(StrategyChoice(strategy, seconds * len(work.run_group.runs) / processes, open=check is None))
    return CostEstimate(works, choices, memory)


def _with_ranks(work: ProfiledGroup, choice: StrategyChoice, ranks: int) -> StrategyChoice:
    """Return a choice in which so many processes share every batch."""
    size = work.run_group.task.batch_size // work.run_group.task.train.accumulate
    if size % ranks:
        raise InputError(f"execute.ranks={ranks}: batches of {size} cannot be shared evenly; give a divisor of {size}")
    return replace(choice, strategy=replace(choice.strategy, ranks=ranks))


def _with_pruning(work: ProfiledGroup, choice: StrategyChoice, search: SearchSettings) -> StrategyChoice:
    """Return a choice with the steps at which a search ends runs early, where it does."""
    several = len({run.seed for run in work.run_group.runs}) > 1
    looks = () if several and not choice.strategy.mixes_seeds else pruning_steps(work.run_group.task, search)
    return replace(choice, strategy=replace(choice.strategy, rungs=looks, reduction=search.reduction))


def _benchmark_and_select(
    executor: Executor,
    works: Sequence[ProfiledGroup],
    settings: ExecutionSettings,
    device: torch.device,
    processes: int,
    memory: float,
    say: Callable[[str], None],
    place: Machine | None = None,
    *,
    benchmarks: bool = True,
) -> tuple[list[ProfiledGroup], list[StrategyChoice]]:
    """Check and time strategies on an executor; return the profiled groups and their strategies."""
    if settings.engine != "sequential":
        say("trying whether models train as one program")
        refusals = _check_vectorizable(executor, [work.run_group for work in works], processes)
        works = [replace(work, refusal=refusal) for work, refusal in zip(works, refusals, strict=True)]

    def measure(requests: Sequence[BenchmarkRequest]) -> list[list[Timing]]:
        ways = [strategy for request in requests for strategy in request.strategies]
        compiling = "compiling and " if any(strategy.compiled for strategy in ways) else ""
        say(f"{compiling}timing {len(ways)} way{'s' if len(ways) > 1 else ''} to train")
        return _run_benchmarks(executor, requests, processes)

    timed = select_strategies(works, settings, device, processes, memory, measure if benchmarks else None, place)
    return list(works), timed


def _collect_responses(
    executor: Executor, requests: Sequence[VectorizeCheck | BenchmarkRequest], most: int, *, together: bool
) -> list[Response]:
    """Return a response to each request, from at most ``most`` workers at a time: those of one machine.

    ``together``: a worker that would have nothing to do takes a request that another one has, and all have ended when
    this returns.
    """
    waiting = list(range(len(requests)))
    responses: dict[int, Response] = {}
    taken: set[Worker] = set()
    while len(responses) < len(requests) or any(slot.busy is not None for slot in executor.slots):
        for slot in executor.slots[:most]:
            left = [i for i in range(len(requests)) if i not in responses]
            if slot.busy is None and (waiting or (left and together and slot not in taken)):
                which = waiting.pop(0) if waiting else left[0]
                taken.add(slot)
                executor.submit(slot, requests[which], which)
        if signals.stop_requested():  # by a clock: a signal ends the process here
            raise KeyboardInterrupt
        for slot, answer in executor.answers(POLL_SECONDS):
            if slot.busy is not None:  # else one that waited has died, and was replaced
                responses.setdefault(slot.busy, answer)
                slot.busy = None
    return [responses[i] for i in range(len(requests))]


def _check_vectorizable(executor: Executor, groups: Sequence[RunGroup], most: int) -> list[str | None]:
    """Return why run groups cannot be vectorized; a process that dies has not said that they cannot."""
    answers = _collect_responses(executor, [VectorizeCheck(run_group) for run_group in groups], most, together=False)
    return [answer.refusal if isinstance(answer, VectorizeResult) else None for answer in answers]


def _run_benchmarks(executor: Executor, requests: Sequence[BenchmarkRequest], most: int) -> list[list[Timing]]:
    """Time the ways to train of each run group, with all processes at work, unless a way takes all threads.

    That is how they will train, and a process that has timed a compiled program has it too.
    """
    together = any(strategy.processes > 1 for request in requests for strategy in request.strategies)
    timings: list[list[Timing]] = []
    for request, answer in zip(requests, _collect_responses(executor, requests, most, together=together), strict=True):
        assert isinstance(answer, list | WorkerDied)
        timings.append(
            answer
            if isinstance(answer, list)
            else [Timing(error=format_worker_death(answer))] * len(request.strategies)
        )
    return timings


def format_worker_death(died: WorkerDied) -> str:
    """Return the error message for a worker that died."""
    if died.lost:
        return died.lost
    code = died.exit_code
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    memory = "; where memory ran out, a lower execute.memory_gb or execute.rows helps" if code in (-9, None) else ""
    return f"its process ended {how}{memory}"
