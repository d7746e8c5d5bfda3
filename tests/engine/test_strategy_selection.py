"""The choice is a pure function of timings and work; here the timings are a table."""

from dataclasses import replace

import pytest
import torch

from adamcmp.config.schema import ExecutionSettings
from adamcmp.engine import hardware
from adamcmp.engine.loading import CPU
from adamcmp.engine.strategy import timing_cache, timings
from adamcmp.engine.strategy.cost import ProfiledGroup, profile_group
from adamcmp.engine.strategy.default import default_strategy, estimate_seconds, is_short
from adamcmp.engine.strategy.select import select_strategies
from adamcmp.engine.strategy.timing_cache import Timing
from adamcmp.plan.runs import group_runs


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(timing_cache, "timings_folder", lambda: tmp_path / "timings")
    monkeypatch.setattr(timings, "why_not_compile", lambda _: None)
    monkeypatch.setattr(timings, "onednn_rounds_to_bf16", lambda: False)


@pytest.fixture
def work(planned):
    def make(steps=500, *overrides):
        runs, datasets = planned(f"train.steps={steps}", "optimizer.lr=geomspace(1e-4,1,100)", *overrides)
        (run_group,) = group_runs(runs)
        return ProfiledGroup(run_group, profile_group(run_group, datasets[run_group.task.facts.fingerprint], CPU))

    return make


class Clock:
    """Seconds of a step by kind of strategy; remembers what was asked."""

    def __init__(self, sequential=1e-3, eager=1e-4, compiled=1e-5, onednn=0.5, fails=()):
        self.table = {"sequential": sequential, "eager": eager, "compiled": compiled}
        self.onednn, self.fails, self.asked = onednn, fails, []

    def __call__(self, asks):
        return [[self.timing(s) for s in ask.strategies] for ask in asks]

    def timing(self, s):
        kind = "sequential" if s.engine == "sequential" else "compiled" if s.compiled else "eager"
        self.asked.append((kind, s.matmul))
        step = self.table[kind] * (self.onednn if s.matmul == "onednn" else 1.0)
        return Timing(error="boom") if kind in self.fails else Timing(step, step, 4.0)


def chosen(work, clock, memory=4e9, device=CPU, **settings):
    (found,) = select_strategies(
        [work], ExecutionSettings(**settings), device, 2 if device == CPU else 1, memory, clock
    )
    return found


def test_the_quickest_is_taken(work):
    found = chosen(work(5000), Clock())
    assert (found.strategy.engine, found.strategy.compiled, found.strategy.matmul) == ("vectorised", True, "onednn")
    assert found.strategy.rows == 50
    evaluations = 1 + 9 * 3 * 359 / 1797
    assert found.seconds == pytest.approx((100 * 5000 + 100 * evaluations) * 0.5e-5 / 2 + 2.0)
    assert found.strategy.reason is None
    alone = chosen(work(5000, "train.batch_size=50"), Clock(1e-9)).strategy
    assert alone.engine == "sequential"
    assert alone.reason == "quicker so: 1e-06 ms a step of a run, 0.05 ms in a program of 50"


def test_without_a_clock_only_what_was_timed_before_is_chosen(work):
    new = chosen(work(5000), None)
    assert new.open
    assert new.seconds == pytest.approx(estimate_seconds(work(5000)) / 2)
    assert (new.strategy.engine, new.strategy.rows) == ("vectorised", 50)
    timed = chosen(work(5000), Clock())
    again = chosen(work(5000), None)
    assert not again.open
    assert (again.strategy, again.seconds) == (timed.strategy, timed.seconds)
    other = chosen(work(5000), None, rows=25)  # priced by what fifty rows took
    assert other.open
    assert other.seconds == pytest.approx(timed.seconds - 2.0)


def test_little_work_is_not_compiled_and_less_is_not_timed(work):
    clock = Clock()
    assert not chosen(work(100), clock).strategy.compiled
    assert "compiled" not in {kind for kind, _ in clock.asked}
    assert is_short([work(10)], ExecutionSettings())
    assert is_short([work(10)], ExecutionSettings(engine="vectorised"))
    assert not is_short([work(10)], ExecutionSettings(engine="vectorised", compile=True))
    assert not is_short([work(10)], ExecutionSettings(processes=2))
    assert not is_short([work(5000)], ExecutionSettings())


def test_what_is_set_is_kept(work):
    assert chosen(work(5000), Clock(), engine="sequential").strategy.engine == "sequential"
    assert chosen(work(5000, "train.batch_size=50"), Clock(1e-9), engine="vectorised").strategy.engine == "vectorised"
    assert chosen(work(5000), Clock(), rows=7).strategy.rows == 7
    assert not chosen(work(5000), Clock(), compile=False).strategy.compiled
    assert chosen(
        work(50, "train.batch_size=20"), Clock(eager=1e-9), compile=True, engine="vectorised"
    ).strategy.compiled
    assert chosen(work(5000), Clock(), matmul="default").strategy.matmul == "default"
    assert chosen(work(5000), Clock(), rows=100).strategy.rows == 100


def test_short_work_obeys_what_is_set_and_says_why_it_is_sequential(work):
    found = default_strategy(work(10), ExecutionSettings(), CPU)
    assert (found.engine, found.rows) == ("sequential", 1)
    assert found.reason.startswith("the work is little")
    found = default_strategy(work(10), ExecutionSettings(engine="vectorised"), CPU)
    assert (found.engine, found.rows, found.reason) == ("vectorised", 100, None)
    assert default_strategy(work(10), ExecutionSettings(engine="vectorised", rows=7), CPU).rows == 7
    refused = replace(work(10), refusal="because")
    assert default_strategy(refused, ExecutionSettings(engine="vectorised"), CPU).reason == "because"
    assert default_strategy(refused, ExecutionSettings(engine="sequential"), CPU).reason is None


def test_where_programs_fail_the_reason_is_their_error(work):
    found = chosen(work(5000), Clock(fails=("eager", "compiled"))).strategy
    assert (found.engine, found.reason) == ("sequential", "as one program: boom")


def test_a_compiler_that_is_wanted_and_fails_is_on_record(work):
    found = chosen(work(5000), Clock(fails=("compiled",)), compile=True)
    assert (found.strategy.compiled, found.strategy.engine) == (False, "sequential")
    assert "boom" in found.strategy.reason


def test_a_cache_that_cannot_be_written_ends_nothing(work, tmp_path):
    (tmp_path / "timings").write_text("a file where a folder should be")
    assert chosen(work(5000), Clock()).strategy.compiled


def test_onednn_is_taken_only_where_it_computes_in_fp32(work, monkeypatch):
    for precision in ("fp64", "bf16"):
        assert chosen(work(5000, f"train.precision={precision}"), Clock()).strategy.matmul == "default"
    monkeypatch.setattr(timings, "onednn_rounds_to_bf16", lambda: True)
    clock = Clock()
    assert chosen(work(5000), clock).strategy.matmul == "default"
    assert "onednn" not in {matmul for _, matmul in clock.asked}


def test_timings_are_kept_but_no_failures(work):
    first, second = Clock(fails=("compiled",)), Clock()
    assert not chosen(work(5000), first).strategy.compiled
    assert "boom" in chosen(work(5000), first).note
    assert chosen(work(5000), second).strategy.compiled
    assert {kind for kind, _ in second.asked} == {"compiled"}


def test_a_model_that_refuses_is_trained_alone_and_says_why(work):
    found = chosen(replace(work(5000), refusal="because"), Clock())
    assert (found.strategy.engine, found.strategy.reason) == ("sequential", "because")


def test_memory_bounds_the_rows(work):
    asked = work(5000)
    found = chosen(asked, Clock(), memory=asked.profile.row_bytes * 20)
    assert 5 < found.strategy.rows <= 10


def test_no_compiler_is_said_once(work, monkeypatch):
    monkeypatch.setattr(timings, "why_not_compile", lambda _: "no C++ compiler found")
    found = chosen(work(5000), Clock())
    assert not found.strategy.compiled
    assert found.note == "no C++ compiler found; programs run without torch.compile, at about half the speed"


class Accelerator(Clock):
    """A step of a run takes less in larger programs, down to what the chip can do; graphs save what a launch costs."""

    least = 1e-7

    def timing(self, s):
        self.asked.append((s.rows, s.compiled, s.graphs))
        launch = 1e-3 if not s.graphs else 1e-4
        return Timing(launch / s.rows + self.least, 1e-6, 4.0)


@pytest.fixture
def cuda(monkeypatch):
    monkeypatch.setattr(timing_cache, "processor_name", lambda _: "a chip")
    return torch.device("cuda")


def test_an_accelerator_is_given_twice_as_many_rows_while_that_pays(work, cuda):
    clock = Accelerator()
    found = chosen(work(500_000), clock, 80e9, cuda).strategy
    asked = sorted({rows for rows, _, _ in clock.asked if rows > 1})
    assert asked == [25, 50, 100]  # 100 runs in 4, 2 and 1 pieces
    assert (found.rows, found.graphs) == (100, True)
    clock.least = 1e-4
    clock.asked.clear()
    found = chosen(work(500_000, "train.batch_size=50"), clock, 80e9, cuda).strategy
    assert found.rows < 100  # a program twice as large is no quicker


def test_an_accelerators_memory_bounds_the_rows(work, cuda):
    asked = work(500_000)
    assert chosen(asked, Accelerator(), asked.profile.row_bytes * 60, cuda).strategy.rows == 50


def test_what_a_busy_machine_took_is_not_kept_and_old_timings_expire(work, monkeypatch):
    class Busy(Clock):
        def timing(self, s):
            return replace(super().timing(s), share=0.5)

    assert chosen(work(5000), Busy()).strategy.compiled
    clock = Clock()
    chosen(work(5000), clock)
    assert clock.asked  # nothing was known
    again = Clock()
    chosen(work(5000), again)
    assert not again.asked
    now = timing_cache.time.time()
    monkeypatch.setattr(timing_cache.time, "time", lambda: now + 31 * 86400)
    chosen(work(5000), again)
    assert again.asked == clock.asked


def test_timings_belong_to_a_layout_and_to_the_sizes_of_all_parts(work):
    first = work(5000)
    chosen(first, Clock())
    runs = first.run_group.runs
    spread = tuple(replace(run, seed=i % 4) for i, run in enumerate(runs))  # pieces of as many rows, of two seeds
    larger = replace(first.run_group.task, facts=replace(first.run_group.task.facts, validation_examples=1000))
    for other in (replace(first.run_group, runs=spread), replace(first.run_group, task=larger)):
        clock = Clock()
        chosen(replace(first, run_group=other), clock)
        assert ("eager", "default") in clock.asked


@pytest.mark.parametrize(
    ("version", "lacks"), [("2.9.1+cu128", True), ("2.11.0", True), ("2.12.0", False), ("2.15.0", False)]
)
def test_a_torch_that_misplaces_updates_does_not_compile_on_the_cpu(monkeypatch, version, lacks):
    monkeypatch.undo()  # of the fixture
    monkeypatch.setattr(torch, "__version__", version)
    monkeypatch.setattr(hardware.shutil, "which", lambda _: "/usr/bin/g++")
    hardware.why_not_compile.cache_clear()
    found = hardware.why_not_compile(CPU)
    assert bool(found) == lacks
    assert hardware.why_not_compile(torch.device("cuda")) is None
    hardware.why_not_compile.cache_clear()


def test_cohorts_that_differ_in_their_rule_go_by_the_timings_of_one(planned):
    runs, datasets = planned("train.steps=5000", "optimizer=adamw,lion,nadam", "optimizer.lr=geomspace(1e-4,1,60)")
    some = [run for run in runs if run.optimizer.name != "nadam" or run.optimizer.lr < 1e-2]
    works = [
        ProfiledGroup(each, profile_group(each, datasets[each.task.facts.fingerprint], CPU))
        for each in group_runs(some)
    ]
    asked = []

    def measure(asks):
        asked.extend(ask.run_group.kernel for ask in asks)
        return Clock()(asks)

    found = select_strategies(works, ExecutionSettings(), CPU, 2, 4e9, measure)
    assert set(asked) == {"adam"}
    ways = {(each.strategy.engine, each.strategy.compiled, each.strategy.matmul) for each in found}
    assert len(ways) == 1
    sizes = {work.run_group.kernel: len(work.run_group.runs) for work in works}
    for work, each in zip(works, found, strict=True):
        assert each.strategy.rows <= -(-len(work.run_group.runs) // 2)
        assert each.seconds == pytest.approx(found[0].seconds * sizes[work.run_group.kernel] / sizes["adam"])
