"""Benchmark training strategies: time a few steps and an evaluation, and cache the timings per machine."""

from __future__ import annotations

import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from adamcmp.data.dataset import Dataset
from adamcmp.engine import sequential, vectorized
from adamcmp.engine.checkpoint import TrainingControl, TrainingStopped
from adamcmp.engine.loading import to_device
from adamcmp.engine.run_result import RunResult
from adamcmp.engine.strategy.timing_cache import Timing
from adamcmp.engine.strategy.types import Shard, Strategy, apply_strategy, split_into_shards
from adamcmp.errors import describe_exception
from adamcmp.plan.runs import Run, RunGroup

MIN_TIMED_SECONDS = 0.3
"""Seconds of stepping that a timing takes at least, all turns together."""
MAX_TIMED_STEPS = 128
"""Maximum number of steps of a single run per turn."""
ROUNDS = 9
"""In which the ways to train are timed."""
TIE_RATIO, TIE_REPEATS = 1.1, 3
"""If the two fastest programs differ by less, they are timed this many times more often."""


@cache
def matmul_gflops(device: torch.device, side: int = 1024) -> float:
    """Return GFLOP/s of an fp32 matrix product of ``side``² on all threads: the quickest of five."""
    a = torch.ones(side, side, device=device)
    seconds = []
    for _ in range(6):  # the first one loads the library
        started = time.perf_counter()
        (a @ a)[0, 0].item()
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds) / 1e9


def time_strategies(
    run_group: RunGroup, strategies: Sequence[Strategy], dataset: Dataset, device: torch.device
) -> list[Timing]:
    """Time strategies on runs of a group, in turns, so that other load on the machine affects all of them equally.

    The result is the median over turns: load mostly lasts longer than a turn, and so slows all strategies in the same
    turns. An exception of a strategy is part of its timing and not raised.
    """
    probes: list[_Probe | Timing] = []
    stacks: dict[int, vectorized.BatchedTraining] = {}
    for strategy in strategies:
        try:
            if strategy.engine == "sequential":
                probes.append(_SequentialProbe(run_group, strategy, dataset, device))
            else:
                probes.append(_BatchedProbe(run_group, strategy, dataset, device, stacks))
        except Exception as error:  # no compiler, no memory, a model that fails: all mean that this way is not taken
            probes.append(Timing(error=describe_exception(error)))
    for turn in range(ROUNDS * (1 + TIE_REPEATS)):
        due = [i for i, probe in enumerate(probes) if isinstance(probe, _Probe) and (turn == 0 or not probe.enough)]
        if turn >= ROUNDS:
            due = _tied_probes(probes)
        for i in due:
            probe = probes[i]
            assert isinstance(probe, _Probe)
            try:
                probe.turn()
            except Exception as error:  # likewise
                probes[i] = Timing(error=describe_exception(error))
    return [probe.timing() if isinstance(probe, _Probe) else probe for probe in probes]


def _tied_probes(probes: Sequence[_Probe | Timing]) -> list[int]:
    """Return the two fastest programs if their timings are too close to decide."""
    steps = sorted((probe.timing().step, i) for i, probe in enumerate(probes) if isinstance(probe, _BatchedProbe))[:2]
    return [i for _, i in steps] if len(steps) == 2 and steps[1][0] < TIE_RATIO * steps[0][0] else []


class _Probe(ABC):
    """One strategy being timed: built and warmed up, then asked for turns."""

    spent = 0.0
    """Seconds of all turns, as they count."""
    _wall = _running = 0.0

    def turn(self) -> None:
        """Call ``take``, and measure the share of its time in which the thread was running."""
        wall, running = time.perf_counter(), time.thread_time()
        self.take()
        self._wall += time.perf_counter() - wall
        self._running += time.thread_time() - running

    def _share_of(self, device: torch.device) -> float:
        """Return the share of all turns in which the thread was running; 1 on an accelerator, for which it only
        waits.
        """
        return self._running / self._wall if self._wall and device.type == "cpu" else 1.0

    @property
    def enough(self) -> bool:
        """Whether no more turns are needed."""
        return self.spent >= MIN_TIMED_SECONDS

    @abstractmethod
    def take(self) -> None:
        """Time a few steps."""

    @abstractmethod
    def timing(self) -> Timing:
        """Return the timing."""


class _StepClock(TrainingControl):
    """Sees when each step begins, and stops a training behind so many."""

    def __init__(self, count: int, device: torch.device) -> None:
        super().__init__()
        self.begun: list[float] = []
        self._count, self._device = count, device

    def between_steps(self, _state: Callable[[], dict[str, Any]]) -> None:
        """Look at the clock.

        Raises:
            TrainingStopped: all steps are timed.
        """
        if len(self.begun) in (1, self._count):
            _synchronize(self._device)
        self.begun.append(time.perf_counter())
        if len(self.begun) > self._count:
            raise TrainingStopped


def _synchronize(device: torch.device) -> None:
    """Wait until an accelerator has finished its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


class _SequentialProbe(_Probe):
    """Times steps of each optimizer after its first; an evaluation is the additional time of a training of one step.

    Steps are never derived from the time of a whole training: an evaluation may take as long as hundreds of them.
    """

    def __init__(self, run_group: RunGroup, strategy: Strategy, dataset: Dataset, device: torch.device) -> None:
        self._run_group, self._strategy, self._dataset, self._device = run_group, strategy, dataset, device
        self._runs = {run.optimizer.name: run for run in run_group.runs}
        self._steps = 1
        first = next(iter(self._runs.values()))
        self._step(first)
        while self._steps < MAX_TIMED_STEPS and self._steps * self._step(first) < MIN_TIMED_SECONDS / ROUNDS:
            self._steps *= 2
        once = min(self._whole(first) for _ in range(2))
        self._found: dict[str, list[float]] = {name: [self._step(run)] for name, run in self._runs.items()}
        self._evaluation = max(once - self._found[first.optimizer.name][0], 0.0)

    def _train(self, run: Run, steps: int, control: TrainingControl) -> list[RunResult]:
        once = run.task.train.model_copy(update={"evaluations": 1})
        schedule = run.schedule.model_copy(update={"warmup_steps": 0})
        probe = replace(run, task=replace(run.task, train=once, steps=steps), schedule=schedule)
        shard = Shard(probe.task, self._run_group.kernel, (probe,), self._strategy)
        return list(sequential.train_shard(shard, self._dataset, self._device, control))

    def _whole(self, run: Run) -> float:
        """Return the seconds of a training of one step, with an evaluation."""
        (outcome,) = self._train(run, 1, TrainingControl())
        return outcome.seconds

    def _step(self, run: Run) -> float:
        """Return seconds of a step; where a run ends early, of those that it has taken."""
        control, started = _StepClock(1 + self._steps, self._device), time.perf_counter()
        with suppress(TrainingStopped):
            self._train(run, 2 + self._steps, control)
            control.begun.append(time.perf_counter())
        begun = control.begun[1:] if len(control.begun) > 2 else [started, *control.begun]
        return (begun[-1] - begun[0]) / (len(begun) - 1)

    def take(self) -> None:
        for name, run in self._runs.items():
            step = self._step(run)
            self._found[name].append(step)
            self.spent += self._steps * step / len(self._runs)

    def timing(self) -> Timing:
        step = {name: statistics.median(seconds) for name, seconds in self._found.items()}
        mean = statistics.fmean(step[run.optimizer.name] for run in self._run_group.runs)
        return Timing(mean, self._evaluation, share=self._share_of(self._device))


class _BatchedProbe(_Probe):
    """A shard as large as the run group's largest; ways of equal rows share one stack, since where it lies in memory
    makes a tenth of the speed.
    """

    def __init__(
        self,
        run_group: RunGroup,
        strategy: Strategy,
        dataset: Dataset,
        device: torch.device,
        stacks: dict[int, vectorized.BatchedTraining],
    ) -> None:
        self._strategy, self._device = strategy, device
        shard = max(split_into_shards(run_group, strategy), key=lambda candidate: len(candidate.runs))
        self._rows = len(shard.runs)
        with self._in_force():
            if self._rows not in stacks:
                data = to_device(dataset, run_group.task.train.precision, device)
                stacks[self._rows] = vectorized.BatchedTraining(shard, data, device, TrainingControl())
            self._training = stacks[self._rows]
            first = self._seconds(1, evaluate=True)
            first += self._seconds(1, evaluate=False)  # compiled programs settle in two calls
            self._steps, spent = 1, 0.0
            while (
                spent < MIN_TIMED_SECONDS / ROUNDS
                and 2 * self._steps <= max(run_group.task.steps, 4)
                and self._steps < 1024
            ):
                self._steps *= 2
                spent = self._seconds(self._steps, evaluate=False)
            self._evaluation = min(self._seconds(0, evaluate=True) for _ in range(2))
        self._turns: list[float] = []
        self._first = first

    @contextmanager
    def _in_force(self) -> Iterator[None]:
        with apply_strategy(self._strategy, self._device), torch.random.fork_rng(devices=[]), torch.no_grad():
            yield

    def _seconds(self, steps: int, *, evaluate: bool) -> float:
        self._training.shard = replace(self._training.shard, strategy=self._strategy)
        started = time.perf_counter()
        self._training.rehearse(steps, evaluate=evaluate)
        _synchronize(self._device)
        return time.perf_counter() - started

    def take(self) -> None:
        with self._in_force():
            seconds = self._seconds(self._steps, evaluate=False)
        self._turns.append(seconds)
        self.spent += seconds

    def timing(self) -> Timing:
        step = statistics.median(self._turns) / self._steps
        first = max(self._first - 2 * step - self._evaluation, 0.0)
        return Timing(step / self._rows, self._evaluation / self._rows, first, self._share_of(self._device))
