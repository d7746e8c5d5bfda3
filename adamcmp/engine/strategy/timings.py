"""Timings of a run group's strategies: which to time in each round, and which is the fastest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from adamcmp.config.schema import ExecutionSettings
from adamcmp.engine.hardware import onednn_rounds_to_bf16, why_not_compile
from adamcmp.engine.strategy.cost import ProfiledGroup
from adamcmp.engine.strategy.default import (
    MAX_FLOPS_ONE_THREAD,
    MIN_SECONDS_SINGLE_RUN,
    default_strategy,
    estimate_seconds,
    initial_rows,
    model_fields,
)
from adamcmp.engine.strategy.timing_cache import Machine, Timing, TimingCache, strategy_key
from adamcmp.engine.strategy.types import Matmul, RowLayout, Strategy, StrategyChoice, split_into_shards

MAX_STEP_RATIO = 0.9
"""Maximum time per step and run, relative to a program of half the rows, for doubling to pay."""
MIN_SECONDS_TO_COMPILE = 8.0
"""Seconds of eager training, over all processes, from which compiling is tried: it takes about five."""
CACHED_COMPILE_SECONDS = 2.0
"""Seconds in which another process loads a program from the compiler's cache, where a benchmark has put it."""
MIN_SECONDS_TO_TRY_ROWS = 90.0
"""Seconds of training from which other numbers of rows are tried too."""


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
        matmuls = self._matmuls()[: 1 if small else None]  # small steps do not wait for products
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
        """Return compiled strategies, if eager training would take long enough."""
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
        """Return strategies with other numbers of rows, if much work is left."""
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
        """Return strategies with twice as many rows on an accelerator, if the last doubling paid."""
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
            if candidates:  # the user's setting is tried anyway: failures are handled run by run
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
        """Return the seconds of the fastest timing for any number of rows, or the estimate from FLOPs."""
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
        """Return the seconds of all work in all processes, with one compilation; few shards use few processes."""
        busy = min(strategy.processes, -(-len(self.work.run_group.runs) // strategy.rows))
        compiling = min(timing.first, CACHED_COMPILE_SECONDS) if strategy.compiled else 0.0
        return self._seconds_alone(timing) / busy + compiling

    def _seconds_alone(self, timing: Timing) -> float:
        """Return the seconds of all steps and evaluations in one process."""
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
            **model_fields(self.work),
        )
        rows = max(len(shard.runs) for shard in split_into_shards(self.work.run_group, common))
        ways = [replace(common, rows=rows, matmul=matmul) for matmul in self._matmuls()]
        return [*ways, *(replace(way, graphs=True) for way in ways if self._device.type == "cuda")]

    def _rows(self) -> int:
        """Return the initial number of rows, spread evenly over processes and seeds; or the user's setting."""
        return (
            self._settings.rows
            if self._settings.rows != "auto"
            else min(initial_rows(self.work, self._device), self._most_rows())
        )

    def _most_rows(self) -> int:
        """Return the maximum number of rows: as many as fit in memory, and few enough to use all processes."""
        held = int(self._memory / self._processes / self.work.profile.row_bytes)
        return max(1, min(held, -(-len(self.work.run_group.runs) // self._processes)))

    def _matmuls(self) -> list[Matmul]:
        """Return the matmul libraries to try: oneDNN only for fp32 on the CPU, and only if it computes in fp32."""
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
