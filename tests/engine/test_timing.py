"""Timings of real ways to train, on clocks that tests turn."""

import itertools

import pytest

from adamcmp.engine import timing
from adamcmp.engine.inputs import CPU
from adamcmp.engine.strategy import Strategy
from adamcmp.plan.runs import group_runs

ROWS = Strategy(engine="vectorised", rows=4)


@pytest.fixture(scope="module")
def work(planned):
    runs, datasets = planned("train.steps=50", "optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2,1e-1,1")
    (cohort,) = group_runs(runs)
    return cohort, datasets[cohort.task.facts.fingerprint]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(timing, "ENOUGH", 0.01)


def test_every_way_is_timed(work):
    alone, rows = timing.time_strategies(work[0], [Strategy(), ROWS], work[1], CPU)
    for each in (alone, rows):
        assert each.error is None
        assert each.step > 0
        assert each.evaluation >= 0
        assert each.share > 0


def test_what_a_way_raises_is_told_and_others_are_timed_all_the_same(work, monkeypatch):
    build = timing.vectorised.Training

    def refuse(piece, *args):
        if len(piece.runs) == 8:
            raise RuntimeError("too many\nrows")
        return build(piece, *args)

    monkeypatch.setattr(timing.vectorised, "Training", refuse)
    many, few = timing.time_strategies(
        work[0], [Strategy(engine="vectorised", rows=8), ROWS], work[1], CPU
    )  # fmt: skip
    assert many == timing.Timing(error="RuntimeError: too many rows")
    assert few.error is None


def test_a_way_that_fails_while_it_is_timed_tells_too(work, monkeypatch):
    def fail(_):
        raise ArithmeticError("at a turn")

    monkeypatch.setattr(timing._Vectorised, "take", fail)
    alone, rows = timing.time_strategies(work[0], [Strategy(), ROWS], work[1], CPU)
    assert rows.error == "ArithmeticError: at a turn"
    assert alone.error is None


def test_the_median_turn_counts_and_a_row_has_its_share(work, monkeypatch):
    """A turn that something else made slow counts for nothing."""
    probe = timing._Vectorised(*work[:1], ROWS, work[1], CPU, {})
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
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return now


def test_steps_of_a_run_alone_are_timed_without_evaluations_however_long_these_take(work, monkeypatch, clock):
    """Each optimizer counts by its share of the runs; the first step, which builds buffers, does not count."""
    take = timing.sequential.make_update

    def slow(optimizer, *args, **how):
        update = take(optimizer, *args, **how)
        step = update.step

        def stepped(t):
            clock[0] += 0.02 if t == 0 else {"adam": 0.001, "adamw": 0.003}[optimizer.name]
            step(t)

        update.step = stepped
        return update

    def evaluate(*args):
        clock[0] += 0.5
        return evaluated(*args)

    evaluated = timing.sequential.evaluate
    monkeypatch.setattr(timing.sequential, "make_update", slow)
    monkeypatch.setattr(timing.sequential, "evaluate", evaluate)
    found = timing.time_strategies(work[0], [Strategy()], work[1], CPU)[0]
    assert found.step == pytest.approx(0.002)
    assert found.evaluation == pytest.approx(0.5, abs=0.03)  # with what else a run takes once


def test_a_run_that_diverges_is_timed_as_far_as_it_gets(work, monkeypatch, clock):
    lost = timing.sequential._Losses.lost

    def stop(self):
        clock[0] += 0.25
        step = self._unseen[-1][0] if self._unseen else 0
        return step if step == 3 else lost(self)

    monkeypatch.setattr(timing.sequential._Losses, "lost", stop)
    probe = timing._Sequential(*work[:1], Strategy(), work[1], CPU)
    probe._steps = 100
    assert probe._step(work[0].runs[0]) == pytest.approx(0.25)


def test_programs_that_are_close_are_timed_again(work, monkeypatch):
    turns = []
    monkeypatch.setattr(
        timing._Vectorised, "take", lambda self: (turns.append(self._strategy), self._turns.append(1.0))
    )
    monkeypatch.setattr("adamcmp.engine.strategy.rounds_products", lambda: False)  # whatever this processor does
    others = [ROWS, Strategy(engine="vectorised", rows=4, matmul="onednn"), Strategy(engine="vectorised", rows=2)]
    timing.time_strategies(work[0], others, work[1], CPU)
    counts = [turns.count(each) for each in others]
    assert counts[0] == counts[1] == timing.TURNS * (1 + timing.AGAIN)
    assert counts[2] == timing.TURNS  # half the rows in the same time


def test_a_busy_core_is_noticed(work, monkeypatch):
    clock = itertools.count(step=1.0)
    monkeypatch.setattr(timing.time, "thread_time", lambda: next(clock) / 4)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    probe = timing._Sequential(*work[:1], Strategy(), work[1], CPU)
    monkeypatch.setattr(probe, "take", lambda: None)
    probe.turn()
    assert probe._share_of(CPU) < 0.5


def test_a_product_has_a_rate():
    assert timing.product_rate(CPU, 64) > 0.01
