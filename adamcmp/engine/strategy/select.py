"""Select the training strategy of each run group, by benchmarks if a sweep is long enough to repay them.

A sweep that is estimated to take less than ``MIN_SECONDS_TO_BENCHMARK`` is trained sequentially, without benchmarks.
For a longer one, strategies are timed in rounds: single runs and eager rows, then compiled rows if compiling can pay,
then other numbers of rows if much work remains. On an accelerator, the number of rows is doubled for as long as that
pays. Run groups that differ only in their rule share the timings of one of them. The selection is a pure function of
the timings, which ``strategy.benchmark`` caches, and of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from adamcmp.config.schema import CustomOptimizer, ExecutionSettings
from adamcmp.engine.strategy.cost import ProfiledGroup
from adamcmp.engine.strategy.timing_cache import Machine, Timing
from adamcmp.engine.strategy.timings import StrategyTimings
from adamcmp.engine.strategy.types import Strategy, StrategyChoice
from adamcmp.plan.runs import RunGroup


class BenchmarkRequest(NamedTuple):
    """Ways to train a run group, to be timed in turns."""

    run_group: RunGroup
    strategies: tuple[Strategy, ...]


BenchmarkFn = Callable[[Sequence[BenchmarkRequest]], Sequence[Sequence[Timing]]]


def select_strategies(
    works: Sequence[ProfiledGroup],
    settings: ExecutionSettings,
    device: torch.device,
    processes: int,
    memory: float,
    measure: BenchmarkFn | None = None,
    place: Machine | None = None,
) -> list[StrategyChoice]:
    """Return a strategy for each run group.

    Args:
        works: the run groups.
        settings: of the user; ``auto`` leaves a choice open.
        device: where they are trained.
        processes: number of training processes.
        memory: bytes that all of them may take.
        measure: times the strategies of each group in turns; all groups at the same time unless a strategy uses all
            threads. None: strategies without cached timings leave the choice open.
        place: where that is, if not here.
    """
    timings = [StrategyTimings(work, settings, device, processes, memory, place or Machine()) for work in works]
    leaders = [timings[i] for i in _timing_sources(works)]
    timed = [timing for timing, leader in zip(timings, leaders, strict=True) if timing is leader]

    def choices() -> list[StrategyChoice]:
        return [leader.lent(timing.work) for timing, leader in zip(timings, leaders, strict=True)]

    _benchmark_missing(timed, [group.first_round() for group in timed], measure)
    for trial in (StrategyTimings.compiled_round, StrategyTimings.further_round):
        total = sum(choice.seconds for choice in choices())
        _benchmark_missing(timed, [trial(group, total) for group in timed], measure)
    while any(doubled := [group.doubled_round() for group in timed]):
        _benchmark_missing(timed, doubled, measure)
    for group in timed:
        group.keep()
    return choices()


def _timing_sources(works: Sequence[ProfiledGroup]) -> list[int]:
    """Return the index of the group whose timings each group uses: among groups that differ only in their rule, the one
    with most runs.

    A rule is a small part of a step, so that timing a dozen of them takes longer than it can save.
    """
    alike: dict[object, list[int]] = {}
    for i, work in enumerate(works):
        custom_kernel = work.run_group.kernel if isinstance(work.run_group.runs[0].optimizer, CustomOptimizer) else None
        alike.setdefault((work.run_group.task.key, work.run_group.patterns, work.refusal, custom_kernel), []).append(i)
    first = {i: max(group, key=lambda j: len(works[j].run_group.runs)) for group in alike.values() for i in group}
    return [first[i] for i in range(len(works))]


def _benchmark_missing(
    known: Sequence[StrategyTimings], requested: Sequence[Sequence[Strategy]], measure: BenchmarkFn | None
) -> None:
    """Time strategies without a timing; those that use all threads one group after the other."""
    lacking = [
        (timing, [s for s in strategies if not timing.has(s)])
        for timing, strategies in zip(known, requested, strict=True)
    ]
    if measure is None:
        for group, strategies in lacking:
            group.open = group.open or bool(strategies)
        return
    shared = [(group, [s for s in strategies if not _uses_all_threads(s)]) for group, strategies in lacking]
    greedy = [(group, [s for s in strategies if _uses_all_threads(s)]) for group, strategies in lacking]
    for batch in ([pair for pair in shared if pair[1]], *([pair] for pair in greedy if pair[1])):
        timings_by_group = (
            measure([BenchmarkRequest(group.work.run_group, tuple(strategies)) for group, strategies in batch])
            if batch
            else ()
        )
        for (group, strategies), timings in zip(batch, timings_by_group, strict=True):
            for strategy, timing in zip(strategies, timings, strict=True):
                group.learn(strategy, timing)


def _uses_all_threads(strategy: Strategy) -> bool:
    return strategy.processes == 1 and strategy.threads > 1
