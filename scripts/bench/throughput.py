"""Run-steps per second (runs × optimizer steps / second) of adamcmp and of programs that a user would write otherwise.

    .venv/bin/python scripts/bench/throughput.py [--quick] [--works digits gpt] [--markdown table.md]
    .venv/bin/python scripts/bench/throughput.py --adam-against-adamw
    .venv/bin/python scripts/bench/throughput.py --end-to-end

Ways, each in processes of its own, one way after the other in every repeat:

- a plain PyTorch loop (fused AdamW, all threads, one run), and one such loop in a single-threaded process per core;
- many runs as one JAX program by hand (vmap, scan, optax.adamw), fp32, of the number of runs that suits it best;
- `adamcmp sweep` with fp32 and with bf16, Adam + L2 and AdamW mixed, timed from outside (`tasks/sweeps.py`).

Everything is measured in this one call: medians, and the smallest and largest of the repeats. Needs
`pip install "adamcmp[bench]"` for the JAX program, and an otherwise idle machine: all of it takes 40 minutes on two
cores; --quick is a smoke test of two minutes whose figures mean nothing.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from tabulate import tabulate
from tasks import end_to_end, machine
from tasks.sweeps import RefusedError, Sweep, environment
from tasks.works import WORKS, Goals, Work, build, flops

PLAIN, PER_CORE, JAX = "plain loop, all threads", "plain loop, one process per core", "JAX vmap + scan"
PRECISIONS = ("fp32", "bf16")
LEAST_STEPS = 20
"""T of a sweep, at least."""
METHOD = (
    "adamcmp's rate is runs · T / (wall(2T) − wall(T)) of `adamcmp sweep` with T and 2·T steps and one evaluation, so "
    "that start-up, compiling, evaluating and storing cancel. Everything else is timed after warming up. GFLOP/s "
    "count matrix products, convolutions and attention; `of matmul` is their share of a 2048² matrix product's rate "
    "on all threads, fp32 by torch's default or bf16, measured in the same repeats. Ratios are those of the medians; "
    "JAX computes in fp32 in all of them."
)

Rates = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    repeats: int
    seconds: float
    """Seconds of each timing of a loop or program."""
    sweep_seconds: float
    """Minimum additional seconds of 2·T steps of a sweep over T."""
    side: int
    """Size of the sweeps' grids; 0 leaves each work its own."""
    quick: bool
    """Whether all of this is a smoke test: sweeps are not warmed up, JAX gets no choice."""


FULL, QUICK = Effort(3, 2.0, 8.0, 0, False), Effort(1, 0.2, 1.0, 2, True)


def child(module: str, *arguments: str, **changes: str) -> subprocess.Popen[str]:
    """Start a module of ``tasks``; ``changes`` are environment variables."""
    call = [sys.executable, "-m", f"tasks.{module}", *arguments]
    return subprocess.Popen(
        call, env=environment(**changes), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip


def last_line(process: subprocess.Popen[str]) -> list[float]:
    """The numbers that a child ends with."""
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args} ended with {process.returncode}")
    return [float(word) for word in said.split()]


def plain_rate(work: Work, seconds: float, processes: int = 1) -> float:
    """Steps per second of a plain loop, or the sum over single-threaded processes that start at one instant."""
    threads = {"OMP_NUM_THREADS": "1"} if processes > 1 else {}
    loops = [child("plain_loop", work.config, str(seconds), **threads) for _ in range(processes)]
    for loop in loops:
        loop.stdout.readline()
    for loop in loops:
        loop.stdin.write("go\n")
        loop.stdin.flush()
    return sum(last_line(loop)[0] for loop in loops)


def jax_rate(work: Work, seconds: float, rows: int) -> float:
    """Return the run-steps per second of the JAX program with this many runs."""
    return last_line(child("jax_program", work.config, str(rows), str(seconds), JAX_PLATFORMS="cpu"))[0]


def matmul_rates(seconds: float) -> dict[str, float]:
    """GFLOP/s of the machine's matrix product by kind."""
    return dict(zip(("fp32", "fp32 medium", "bf16"), last_line(child("matmul", str(seconds / 4))), strict=True))


def ways(work: Work, effort: Effort, notes: list[str]) -> dict[str, Callable[[], float]]:
    """Return the timed programs of a workload, by name; ``notes`` receives remarks for the reader."""
    found: dict[str, Callable[[], float]] = {
        PLAIN: lambda: plain_rate(work, effort.seconds),
        PER_CORE: lambda: plain_rate(work, effort.seconds, machine.count_cores()),
    }
    if work.jax_rows and find_spec("jax") and find_spec("optax"):
        candidates = work.jax_rows[:1] if effort.quick else work.jax_rows
        tried = {rows: jax_rate(work, effort.seconds / 2, rows) for rows in candidates}
        best = max(tried, key=tried.__getitem__)
        notes.append(f"JAX trains {best} runs, the quickest of {', '.join(map(str, tried))}.")
        found[JAX] = lambda: jax_rate(work, effort.seconds, best)
    elif work.jax_rows:
        notes.append('JAX is left out: it is not installed (pip install "adamcmp[bench]").')
    plain = plain_rate(work, effort.seconds)
    for precision in PRECISIONS:
        sweep = Sweep.of(work, precision, side=effort.side)
        try:
            timing, note = sweep_timing(sweep, effort, plain * work.goals.plain.get(precision, 1))
        except RefusedError as refused:
            notes.append(f"adamcmp {precision} is left out: {refused}")
            continue
        notes.append(f"adamcmp {precision}: {note}")
        found[f"adamcmp {precision}"] = timing
    return found


def sweep_timing(sweep: Sweep, effort: Effort, expected: float) -> tuple[Callable[[], float], str]:
    """The timing of a sweep that is expected to make so many run-steps per second, and a note on it.

    Raises:
        RefusedError: this adamcmp does not take the sweep's precision.
    """
    steps, engine = max(LEAST_STEPS, math.ceil(effort.sweep_seconds * expected / sweep.runs)), "not looked at"
    if not effort.quick:
        steps, engine = sweep.sized(steps, effort.sweep_seconds)
    elif not sweep.is_taken():
        raise RefusedError(f"train.precision={sweep.precision} is not taken by this adamcmp")
    return lambda: sweep.rate(steps), f"{sweep.runs} runs, T = {steps:,}, trained by: {engine}."


def repeated(timings: Mapping[str, Callable[[], float]], repeats: int) -> Rates:
    """Every timing once, then every timing once more, and so on."""
    rates = defaultdict(list)
    for repeat in range(repeats):
        for name, timing in timings.items():
            rates[name].append(timing())
            progress(f"  {repeat + 1}/{repeats} {name}: {rates[name][-1]:,.0f}/s")
    return rates


def progress(line: str) -> None:
    """Print progress, apart from the results."""
    print(line, file=sys.stderr, flush=True)


def compare(work: Work, effort: Effort) -> str:
    """Measure a work in every way; its section in Markdown."""
    progress(work.title)
    notes: list[str] = []
    timings = ways(work, effort, notes)
    matmuls: list[dict[str, float]] = []

    def plain_after_matmul(plain: Callable[[], float] = timings[PLAIN]) -> float:
        matmuls.append(matmul_rates(effort.seconds))
        return plain()

    rates = repeated({**timings, PLAIN: plain_after_matmul}, effort.repeats)
    matmul = {kind: statistics.median(each[kind] for each in matmuls) for kind in matmuls[0]}
    step = flops(build(work))
    kinds = ", ".join(f"{kind} {rate:,.0f}" for kind, rate in matmul.items())
    notes.insert(0, f"A run-step is {step / 1e6:,.1f} MFLOP; matrix product, GFLOP/s: {kinds}.")
    return "\n".join([f"## {work.title}", "", table(work, rates, matmul, step), "", *(f"- {n}" for n in notes), ""])


def table(work: Work, rates: Rates, matmul: Mapping[str, float], step: int) -> str:
    """One line a way: rate and spread, ratios beside their goals, and the share of the machine's arithmetic."""
    medians = {way: statistics.median(values) for way, values in rates.items()}
    lines = []
    for way in [PLAIN, PER_CORE, JAX, *(f"adamcmp {precision}" for precision in PRECISIONS)]:
        if way not in medians:
            lines.append([way, *["–"] * 6])
            continue
        precision = way.removeprefix("adamcmp ")
        gflops = medians[way] * step / 1e9
        lines.append(
            [
                way,
                number(medians[way]),
                spread(rates[way]),
                ratio(medians[way], medians[PLAIN], work.goals.plain.get(precision)),
                ratio(medians[way], medians.get(JAX), work.goals.jax.get(precision)),
                number(gflops),
                f"{gflops / matmul.get(precision, matmul['fp32']):.0%}" if math.isfinite(gflops) else "–",
            ]
        )
    headers = ["way", "run-steps/s", "min–max", "× plain loop", "× JAX", "GFLOP/s", "of matmul"]
    return tabulate(lines, headers, tablefmt="pipe", disable_numparse=True, colalign=("left", *["right"] * 6))


def number(value: float) -> str:
    """Whole from 100 on, else of three digits; a dash for NaN."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """Smallest and largest; a dash where one is NaN."""
    return f"{number(min(values))}–{number(max(values))}" if all(map(math.isfinite, values)) else "–"


def ratio(rate: float, other: float | None, goal: float | None) -> str:
    """A ratio, and where there is a goal, whether it is met."""
    if other is None or not math.isfinite(rate / other):
        return "–"
    met = "" if goal is None else f" (goal ≥ {goal:g}: {'met' if rate / other >= goal else 'not met'})"
    return f"{rate / other:.2f}{met}"


def adam_against_adamw(effort: Effort) -> str:
    """The time of an all-Adam + L2 sweep over that of an all-AdamW sweep, in Markdown."""
    work = chosen("digits", effort)
    plain = plain_rate(work, effort.seconds)
    timings, notes = {}, []
    for name in ("adam", "adamw"):
        sweep = Sweep.of(work, "fp32", optimizers=(name,), side=effort.side)
        timings[name], note = sweep_timing(sweep, effort, plain * work.goals.plain.get("fp32", 1))
        notes.append(f"- {name}: {note}")
    rates = repeated(timings, effort.repeats)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    lines = [[name, number(medians[name]), spread(v)] for name, v in rates.items()]
    time = medians["adamw"] / medians["adam"]
    verdict = "met" if 0.9 <= time <= 1.1 else "not met" if math.isfinite(time) else "not known"
    return "\n".join(
        [
            f"## Adam + L2 against AdamW: {work.title}", "",
            tabulate(lines, ["all runs", "run-steps/s", "min–max"], tablefmt="pipe", disable_numparse=True), "",
            f"Adam + L2 takes {number(time)} times AdamW's time (goal 0.9 to 1.1: {verdict}).", "", *notes, "",
        ]
    )  # fmt: skip


def whole_study(effort: Effort) -> str:
    """A study from its plan to its report, in Markdown."""
    measured = list(end_to_end.stages(effort.quick))
    lines = [[s.name, f"{s.seconds:.1f}", f"{s.peak_bytes / 1e9:.2f}"] for s in measured]
    headers = ["caches", "wall (s)", "peak memory (GB)"]
    runs = "16 short runs" if effort.quick else f"{end_to_end.RUNS:,} runs of 500 steps"
    return "\n".join(
        [
            f"## End to end: {runs} on digits, n = 1", "", tabulate(lines, headers, tablefmt="pipe"), "",
            *end_to_end.goals_met(measured), "",
        ]
    )  # fmt: skip


def main() -> None:
    """Measure the requested sections; print them, and write them on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, help="of every timing; 3, or 1 with --quick")
    parser.add_argument("--quick", action="store_true", help="a smoke test of everything")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS), help="compare only these")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the output here")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--adam-against-adamw", action="store_true", help="time the two alone against each other")
    modes.add_argument("--end-to-end", action="store_true", help="time a study of 2,420 runs and its report")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    effort = replace(effort, repeats=options.repeats or effort.repeats)
    document = [*heading(effort)]
    print(*document, sep="\n", flush=True)
    for section in sections(options, effort):
        print(section, flush=True)
        document.append(section)
    if options.markdown:
        options.markdown.write_text("\n".join(document), encoding="utf-8")


def heading(effort: Effort) -> list[str]:
    """Return the lines above every section."""
    quick = ["**A smoke test: these figures mean nothing.**", ""] if effort.quick else []
    return ["# Throughput", "", *quick, *(f"- {line}" for line in machine.describe()), f"- n = {effort.repeats}", ""]


def chosen(name: str, effort: Effort) -> Work:
    """The work of that name; a smoke test has no goals."""
    return replace(WORKS[name], goals=Goals({}, {})) if effort.quick else WORKS[name]


def sections(options: argparse.Namespace, effort: Effort) -> Iterator[str]:
    """Yield the requested sections as they are measured."""
    if options.adam_against_adamw:
        yield adam_against_adamw(effort)
    elif options.end_to_end:
        yield whole_study(effort)
    else:
        yield f"{METHOD}\n"
        yield from (compare(chosen(name, effort), effort) for name in options.works)


if __name__ == "__main__":
    main()
