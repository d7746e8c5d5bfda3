"""Timings of real ways to train, on clocks that tests turn."""

import itertools

import pytest

from adamcmp.engine.loading import CPU
from adamcmp.engine.strategy import benchmark
from adamcmp.engine.strategy.timing_cache import Timing
from adamcmp.engine.strategy.types import Strategy
from adamcmp.plan.runs import group_runs

ROWS = Strategy(engine="vectorised", rows=4)


@pytest.fixture(scope="module")
def work(planned):
    runs, datasets = planned("train.steps=50", "optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2,1e-1,1")
    (run_group,) = group_runs(runs)
    return run_group, datasets[run_group.task.facts.fingerprint]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(benchmark, "MIN_TIMED_SECONDS", 0.01)


def test_every_way_is_timed(work):
    alone, rows = benchmark.time_strategies(work[0], [Strategy(), ROWS], work[1], CPU)
    for each in (alone, rows):
        assert each.error is None
        assert each.step > 0
        assert each.evaluation >= 0
        assert each.share > 0


def test_what_a_way_raises_is_told_and_others_are_timed_all_the_same(work, monkeypatch):
    build = benchmark.vectorized.BatchedTraining

    def refuse(shard, *args):
        if len(shard.runs) == 8:
            raise RuntimeError("too many\nrows")
        return build(shard, *args)

    monkeypatch.setattr(benchmark.vectorized, "BatchedTraining", refuse)
    many, few = benchmark.time_strategies(
        work[0], [Strategy(engine="vectorised", rows=8), ROWS], work[1], CPU
    )  # fmt: skip
    assert many == Timing(error="RuntimeError: too many rows")
    assert few.error is None


def test_a_way_that_fails_while_it_is_timed_tells_too(work, monkeypatch):
    def fail(_):
        raise ArithmeticError("at a turn")

    monkeypatch.setattr(benchmark._BatchedProbe, "take", fail)
    alone, rows = benchmark.time_strategies(work[0], [Strategy(), ROWS], work[1], CPU)
    assert rows.error == "ArithmeticError: at a turn"
    assert alone.error is None


def test_the_median_turn_counts_and_a_row_has_its_share(work, monkeypatch):
    """A turn that something else made slow counts for nothing."""
    probe = benchmark._BatchedProbe(*work[:1], ROWS, work[1], CPU, {})
    seconds = itertools.cycle([0.4, 0.4, 9.0, 0.4, 0.4])
    monkeypatch.setattr(probe, "_seconds", lambda steps, evaluate: next(seconds))
    probe._turns.clear()
    for _ in range(5):
        probe.turn()
    assert probe.timing().step == pytest.approx(0.4 / probe._steps / 4)
    assert probe.spent == pytest.approx(10.6)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until something moves it."""
    now = [0.0]
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: now[0])
    return now


def test_steps_of_a_run_alone_are_timed_without_evaluations_however_long_these_take(work, monkeypatch, clock):
    """Each optimizer counts by its share of the runs; the first step, which builds buffers, does not count."""
    take = benchmark.sequential.make_optimizer_step

    def slow(optimizer, *args, **how):
        update = take(optimizer, *args, **how)
        step = update.step

        def stepped(t):
            clock[0] += 0.02 if t == 0 else {"adam": 0.001, "adamw": 0.003}[optimizer.name]
            step(t)

        update.step = stepped
        return update

    def evaluate(*args, **how):
        clock[0] += 0.5
        return evaluated(*args, **how)

    evaluated = benchmark.sequential.evaluate
    monkeypatch.setattr(benchmark.sequential, "make_optimizer_step", slow)
    monkeypatch.setattr(benchmark.sequential, "evaluate", evaluate)
    found = benchmark.time_strategies(work[0], [Strategy()], work[1], CPU)[0]
    assert found.step == pytest.approx(0.002)
    assert found.evaluation == pytest.approx(0.5, abs=0.03)  # with what else a run takes once


def test_a_run_that_diverges_is_timed_as_far_as_it_gets(work, monkeypatch, clock):
    lost = benchmark.sequential._LossMonitor.lost

    def stop(self):
        clock[0] += 0.25
        step = self._unseen[-1][0] if self._unseen else 0
        return step if step == 3 else lost(self)

    monkeypatch.setattr(benchmark.sequential._LossMonitor, "lost", stop)
    probe = benchmark._SequentialProbe(*work[:1], Strategy(), work[1], CPU)
    probe._steps = 100
    assert probe._step(work[0].runs[0]) == pytest.approx(0.25)


def test_programs_that_are_close_are_timed_again(work, monkeypatch):
    turns = []
    monkeypatch.setattr(
        benchmark._BatchedProbe, "take", lambda self: (turns.append(self._strategy), self._turns.append(1.0))
    )
    monkeypatch.setattr(
        "adamcmp.engine.strategy.types.onednn_rounds_to_bf16", lambda: False
    )  # whatever this processor does
    others = [ROWS, Strategy(engine="vectorised", rows=4, matmul="onednn"), Strategy(engine="vectorised", rows=2)]
    benchmark.time_strategies(work[0], others, work[1], CPU)
    counts = [turns.count(each) for each in others]
    assert counts[0] == counts[1] == benchmark.ROUNDS * (1 + benchmark.TIE_REPEATS)
    assert counts[2] == benchmark.ROUNDS  # half the rows in the same time


def test_a_busy_core_is_noticed(work, monkeypatch):
    clock = itertools.count(step=1.0)
    monkeypatch.setattr(benchmark.time, "thread_time", lambda: next(clock) / 4)
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))
    probe = benchmark._SequentialProbe(*work[:1], Strategy(), work[1], CPU)
    monkeypatch.setattr(probe, "take", lambda: None)
    probe.turn()
    assert probe._share_of(CPU) < 0.5


def test_a_product_has_a_rate():
    assert benchmark.matmul_gflops(CPU, 64) > 0.01
