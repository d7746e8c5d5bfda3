"""Select the training strategy of each run group, by benchmarks if a sweep is long enough to repay them.

A sweep that is estimated to take less than ``MIN_SECONDS_TO_BENCHMARK`` is trained sequentially, without benchmarks.
For a longer one, strategies are timed in rounds: single runs and eager rows, then compiled rows if compiling can pay,
then other numbers of rows if much work remains. On an accelerator, the number of rows is doubled for as long as that
pays. Run groups that differ only in their rule share the timings of one of them. The selection is a pure function of
the timings, which ``strategy.benchmark`` caches, and of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from adamcmp.config.schema import CustomOptimizer, ExecutionSettings
from adamcmp.engine.hardware import count_cores, onednn_rounds_to_bf16, why_not_compile
from adamcmp.engine.strategy.benchmark import Machine, Timing, TimingCache, strategy_key
from adamcmp.engine.strategy.cost import ProfiledGroup
from adamcmp.engine.strategy.types import Matmul, RowLayout, Strategy, StrategyChoice, split_into_shards
from adamcmp.plan.runs import RunGroup

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
MAX_STEP_RATIO = 0.9
"""Maximum time per step and run, relative to a program of half the rows, for doubling to pay."""
MIN_SECONDS_TO_COMPILE = 8.0
"""Seconds of eager training, over all processes, from which compiling is tried: it takes about five."""
CACHED_COMPILE_SECONDS = 2.0
"""Seconds in which another process loads a program from the compiler's cache, where a benchmark has put it."""
MIN_SECONDS_TO_TRY_ROWS = 90.0
"""Seconds of training from which other numbers of rows are tried too."""


class BenchmarkRequest(NamedTuple):
    """Ways to train a run group, to be timed in turns."""

    run_group: RunGroup
    strategies: tuple[Strategy, ...]


BenchmarkFn = Callable[[Sequence[BenchmarkRequest]], Sequence[Sequence[Timing]]]


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
    rows = settings.rows if settings.rows != "auto" else _initial_rows(work, device)
    rows = min(rows, len(work.run_group.runs))
    return replace(common, engine="vectorised", rows=rows, **_model_fields(work))


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


def _model_fields(work: ProfiledGroup) -> dict[str, Any]:
    """Return the fields of a strategy of several rows that depend on the model."""
    return {
        "mixes_seeds": not work.profile.draws,
        "example_bytes": round(work.profile.activation_bytes / work.run_group.task.batch_size),
    }


def _initial_rows(work: ProfiledGroup, device: torch.device) -> int:
    """Return r: on a CPU as many as fit the cache's share of a process."""
    if device.type != "cpu":
        return INITIAL_ROWS
    return max(1, min(round(CACHE_BYTES_PER_PROCESS / work.profile.row_bytes), MAX_ROWS))


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
        own = work.run_group.kernel if isinstance(work.run_group.runs[0].optimizer, CustomOptimizer) else None
        alike.setdefault((work.run_group.task.key, work.run_group.patterns, work.refusal, own), []).append(i)
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


def _differ_in_rows_only(one: Strategy, other: Strategy) -> bool:
    """Return whether two ways differ in rows alone."""
    return replace(one, rows=other.rows, step_seconds=other.step_seconds, reason=other.reason) == other


class StrategyTimings:
    """Timings of one run group's strategies, old and new."""

    open = False
    """Something that should have been timed was not."""

    def __init__(
        self,
        work: ProfiledGroup,
        settings: ExecutionSettings,
        device: torch.device,
        processes: int,
        memory: float,
        place: Machine,
    ) -> None:
        self.work, self._settings, self._device, self._processes = work, settings, device, processes
        self._memory, self._cores = memory, place.cores
        self._kept = TimingCache(work.run_group, device, processes, place)
        self._timings = self._kept.all
        self._strategies: dict[str, Strategy] = {}
        self._layouts: dict[Strategy, RowLayout] = {}

    def has(self, strategy: Strategy) -> bool:
        """Return whether a strategy was timed."""
        self._strategies[self._name(strategy)] = strategy
        return self._name(strategy) in self._timings

    def learn(self, strategy: Strategy, timing: Timing) -> None:
        """Add the timing of a strategy."""
        self._kept.learn(self._name(strategy), timing)

    def keep(self) -> None:
        """Write new timings to the cache."""
        self._kept.keep()

    def _name(self, strategy: Strategy) -> str:
        if strategy.engine == "sequential":
            return strategy_key(strategy, RowLayout(1, 1))
        if strategy not in self._layouts:
            layouts = (RowLayout.of(shard.runs) for shard in split_into_shards(self.work.run_group, strategy))
            self._layouts[strategy] = max(layouts, key=lambda layout: layout.total)
        return strategy_key(strategy, self._layouts[strategy])

    def first_round(self) -> list[Strategy]:
        """Return one run alone, on one thread and on all; and eager rows."""
        small = self.work.profile.flops < MAX_FLOPS_ONE_THREAD
        threads = (
            [self._cores] if self._device.type != "cpu" or self._cores == 1 else [1] if small else [1, self._cores]
        )
        matmuls = self._matmuls()[: 1 if small else None]  # what is small does not wait for products
        strategies = [
            Strategy(threads=t, processes=1 if t > 1 else self._processes, matmul=matmul, reason=self.work.refusal)
            for t in threads
            for matmul in matmuls
        ]
        vectorised = [] if self._settings.compile is True else self._vectorised(self._rows(), compiled=False)
        if self._settings.engine == "sequential":
            return strategies
        if self._settings.engine == "vectorised" and self.work.refusal is None:
            return vectorised
        return strategies + vectorised

    def compiled_round(self, total: float) -> list[Strategy]:
        """Return compiled rows, where eager training would take long enough."""
        pays = MIN_SECONDS_TO_COMPILE if len(self.work.run_group.runs) > 1 else MIN_SECONDS_SINGLE_RUN
        wanted = self._settings.compile is True or (self._settings.compile == "auto" and total > pays)
        if not wanted or why_not_compile(self._device):
            return []
        eager = {s.matmul: self._timings[self._name(s)].step for s in self._eager()}
        quickest = min(eager, key=eager.__getitem__, default=None)
        return [s for s in self._vectorised(self._rows(), compiled=True) if quickest in (None, s.matmul)]

    def _eager(self) -> list[Strategy]:
        strategies = self._vectorised(self._rows(), compiled=False)
        return [s for s in strategies if self.has(s) and self._timings[self._name(s)].error is None]

    def further_round(self, total: float) -> list[Strategy]:
        """Return other numbers of rows, where much is to do."""
        best = self.best().strategy
        if (
            self._device.type != "cpu"
            or total < MIN_SECONDS_TO_TRY_ROWS
            or best.engine == "sequential"
            or self._settings.rows != "auto"
        ):
            return []
        rows = [r for r in (best.rows // 2, best.rows * 2) if 1 <= r <= self._most_rows()]
        return [s for r in rows for s in self._vectorised(r, compiled=best.compiled) if s.matmul == best.matmul]

    def doubled_round(self) -> list[Strategy]:
        """Return twice as many rows on an accelerator, where the last doubling was worth it."""
        best = self.best()
        if self._device.type == "cpu" or best.open or best.strategy.engine == "sequential":
            return []
        rows = min(2 * best.strategy.rows, self._most_rows())
        if self._settings.rows != "auto" or rows <= best.strategy.rows:
            return []
        fewer = [
            s
            for s in self._strategies.values()
            if _differ_in_rows_only(s, best.strategy) and s.rows < best.strategy.rows
        ]
        before = max(fewer, key=lambda s: s.rows, default=None)
        if before is not None and best.strategy.step_seconds > MAX_STEP_RATIO * self._timings[self._name(before)].step:
            return []
        doubled = self._vectorised(rows, compiled=best.strategy.compiled)
        return [s for s in doubled if s.matmul == best.strategy.matmul and not self.has(s)]

    def best(self) -> StrategyChoice:
        """Return the strategy that ends first by the timings, with the reason for an unexpected one."""
        if self.open:
            likely = [s for s in self._strategies.values() if s.engine == "vectorised"]
            strategy = likely[0] if likely else default_strategy(self.work, self._settings, self._device)
            return StrategyChoice(strategy, self._roughly(), self._note(), open=True)
        open_to = [(s, self._timings[name]) for name, s in self._strategies.items() if name in self._timings]
        good = [(s, t) for s, t in open_to if t.error is None]
        if not good:
            rough = estimate_seconds(self.work)
            candidates = [s for s in self._strategies.values() if s.engine == self._settings.engine]
            if candidates:  # what the user wants is tried all the same: a failure there is met run by run
                return StrategyChoice(candidates[0], rough, self._note())
            failed = next((t.error for _, t in open_to if t.error), None)
            return StrategyChoice(
                default_strategy(self.work, self._settings, self._device, f"no way could be timed: {failed}"),
                rough,
                self._note(),
            )
        strategy, timing = min(good, key=lambda pair: self._seconds(*pair))
        reason = strategy.reason or self._reason(strategy, timing, open_to)
        chosen = replace(strategy, step_seconds=timing.step, reason=reason)
        return StrategyChoice(chosen, self._seconds(strategy, timing), self._note())

    def lent(self, work: ProfiledGroup) -> StrategyChoice:
        """Return the best way, for these runs or for others whose rule alone is another."""
        choice = self.best()
        if work is self.work:
            return choice
        strategy = choice.strategy
        if strategy.engine == "vectorised":
            busy = replace(strategy, rows=min(strategy.rows, -(-len(work.run_group.runs) // strategy.processes)))
            strategy = replace(busy, rows=max(len(shard.runs) for shard in split_into_shards(work.run_group, busy)))
        return replace(choice, strategy=strategy, seconds=choice.seconds * work.member_steps / self.work.member_steps)

    def _roughly(self) -> float:
        """Return seconds by the fastest timing for any number of rows; without one, by the count of arithmetic."""
        timed = [self._seconds_alone(timing) for timing in self._timings.values() if timing.error is None]
        return min(timed, default=estimate_seconds(self.work)) / self._processes

    def _reason(self, chosen: Strategy, timing: Timing, open_to: Sequence[tuple[Strategy, Timing]]) -> str | None:
        """Return why it is sequential where it might be vectorized, or eager where the user wants it compiled."""
        if chosen.engine == "vectorised":
            unwanted = self._settings.compile is True and not chosen.compiled
            return self._lacking_compiler() if unwanted else None
        together = [(s, t) for s, t in open_to if s.engine == "vectorised"]
        failed = [t.error for _, t in together if t.error]
        if self._settings.engine == "sequential" or not together:
            return None
        if len(failed) == len(together):
            return f"as one program: {failed[0]}"
        rows, best = min(((s.rows, t.step) for s, t in together if t.error is None), key=lambda pair: pair[1])
        return f"quicker so: {1e3 * timing.step:.3g} ms a step of a run, {1e3 * best:.3g} ms in a program of {rows}"

    def _seconds(self, strategy: Strategy, timing: Timing) -> float:
        """Return work by the speed of all processes, and one compilation; few shards keep few processes busy."""
        busy = min(strategy.processes, -(-len(self.work.run_group.runs) // strategy.rows))
        compiling = min(timing.first, CACHED_COMPILE_SECONDS) if strategy.compiled else 0.0
        return self._seconds_alone(timing) / busy + compiling

    def _seconds_alone(self, timing: Timing) -> float:
        """Return steps and evaluations of all runs, by the speed of one process."""
        return self.work.member_steps * timing.step + self.work.member_evaluations * timing.evaluation

    def _vectorised(self, rows: int, *, compiled: bool) -> list[Strategy]:
        """Return vectorized strategies with the rows of the group's actual shards, so that benchmarks equal
        trainings.
        """
        if self.work.refusal is not None or self._settings.engine == "sequential":
            return []
        common = Strategy(
            engine="vectorised",
            rows=rows,
            compiled=compiled,
            processes=self._processes,
            threads=max(1, self._cores // self._processes) if self._device.type == "cpu" else 1,
            **_model_fields(self.work),
        )
        rows = max(len(shard.runs) for shard in split_into_shards(self.work.run_group, common))
        ways = [replace(common, rows=rows, matmul=matmul) for matmul in self._matmuls()]
        return [*ways, *(replace(way, graphs=True) for way in ways if self._device.type == "cuda")]

    def _rows(self) -> int:
        """Return the initial number of rows, spread evenly over processes and seeds; or the user's setting."""
        return (
            self._settings.rows
            if self._settings.rows != "auto"
            else min(_initial_rows(self.work, self._device), self._most_rows())
        )

    def _most_rows(self) -> int:
        """Return the maximum number of rows: as many as fit in memory, and few enough to use all processes."""
        held = int(self._memory / self._processes / self.work.profile.row_bytes)
        return max(1, min(held, -(-len(self.work.run_group.runs) // self._processes)))

    def _matmuls(self) -> list[Matmul]:
        """Return libraries to try: oneDNN only for fp32 on the CPU, and only where it computes in fp32."""
        if self._settings.matmul != "auto":
            return [self._settings.matmul]
        fp32 = self._device.type == "cpu" and self.work.run_group.task.train.precision == "fp32"
        return ["default", "onednn"] if fp32 and not onednn_rounds_to_bf16() else ["default"]

    def _lacking_compiler(self) -> str | None:
        failed = [t.error for name, t in self._timings.items() if " compiled " in name and t.error]
        return why_not_compile(self._device) or (f"torch.compile failed: {failed[0]}" if failed else None)

    def _note(self) -> str | None:
        lacking = self._lacking_compiler() if self._settings.compile is not False else None
        return f"{lacking}; programs run without torch.compile, at about half the speed" if lacking else None
