"""What the terminal shows while and before runs are trained: progress, plans, settings, a single run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich import filesize
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from adamcmp.plain import markup as escape
from adamcmp.plain import plain, visible

if TYPE_CHECKING:
    import pandas as pd

    from adamcmp.conformance.fit import Fitted
    from adamcmp.criteria import ErrorMetric
    from adamcmp.engine.outcome import Evaluation, Outcome
    from adamcmp.execute.crew import Crew
    from adamcmp.optim.frameworks import Decay, Framework
    from adamcmp.plan.runs import Run


class SweepProgress:
    """A progress bar over all steps: runs done, time left, and the best validation error so far; gone at the end."""

    def __init__(self, runs: Sequence[Run], *, label: str = "", compiles: bool = False) -> None:
        self._single = len(runs) == 1
        console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn(f"  {label}"),
            TextColumn("{task.fields[done]}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            expand=True,
            transient=True,
            console=console,
            disable=not console.is_terminal,
        )
        self._total = len(runs)
        self._ended = self._diverged = self._failed = 0
        self._best = float("inf")
        self._error = runs[0].task.criteria.error
        self._comparable = len({run.task.comparison for run in runs}) == 1
        self._note = ""
        self._began = time.monotonic()
        total = sum(run.task.steps for run in runs)
        self._task = self._bar.add_task("", total=total, done=self._done(), note="compiling" if compiles else "")

    def done_text(self, stored: int) -> str:
        """Return how long it took, and how many runs diverged or failed; ``stored`` runs were there before."""
        counts = [(self._diverged, "diverged"), (self._failed, "failed")]
        lost = "".join(f", {count:,} {name}" for count, name in counts if count)
        stopped = "" if self._ended >= self._total else f", {self._total - self._ended:,} still missing"
        trained = f"{stored:,} stored, {self._ended:,} trained" if stored else "done"
        return f"{trained} in {duration(time.monotonic() - self._began)}{lost}{stopped}"

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def stepped(self, steps: int, evaluation: Evaluation | None) -> None:
        """The runs in training have taken so many more steps, all together."""
        if self._single and evaluation:
            found = self._error.text(evaluation.validation_error)
            self._note = f"train loss {evaluation.train_loss:.4f}, validation {self._error.label} {found}"
        self._bar.update(self._task, advance=steps, done=self._done(), note=self._note)

    def say(self, text: str) -> None:
        """Something that the user should know."""
        self._bar.console.print(visible(text), markup=False, soft_wrap=True)

    def elsewhere(self, runs: Sequence[Run]) -> None:
        """Other drivers have stored these runs."""
        self._ended += len(runs)
        self._bar.update(self._task, advance=sum(run.task.steps for run in runs), done=self._done())

    def ended(self, outcome: Outcome) -> None:
        """A run has ended."""
        self._ended += 1
        self._diverged += outcome.status == "diverged"
        self._failed += outcome.status == "failed"
        completed = self._comparable and outcome.status == "completed"
        if completed and self._error.sign * (found := outcome.evaluations[-1].validation_error) < self._best:
            self._best = self._error.sign * found
            optimizer = outcome.run.optimizer
            where = escape(f"{outcome.run.arm}, lr {optimizer.lr:.3g}, λ {optimizer.weight_decay:.3g}")
            best = f"best {self._error.text(found)} ({where})"
            self._note = self._note if self._single else best
        self._bar.update(self._task, done=self._done(), note=self._note)

    def _done(self) -> str:
        counts = f"{self._ended:,}/{self._total:,} runs"
        diverged = f", {self._diverged:,} diverged" if self._diverged else ""
        failed = f", [red]{self._failed:,} failed[/red]" if self._failed else ""
        return counts + diverged + failed


def duration(seconds: float) -> str:
    """Seconds for people: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``5 h 02 min``, ``12 days``, ``190 years``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    days = seconds / 86400
    if days >= 3:
        return f"{days:,.0f} days" if days < 730 else f"{days / 365.25:,.0f} years"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02} min"


def shape_text(runs: Sequence[Run]) -> str:
    """Return optimizers × trials × seeds of some runs; the number of trials where optimizers have different ones.

    Args:
        runs: of one stage.
    """
    from adamcmp.plan.runs import arm_of

    arms: dict[tuple[str, ...], set[tuple[float, float]]] = {}
    for run in runs:
        arms.setdefault(arm_of(run), set()).add((run.optimizer.lr, run.optimizer.weight_decay))
    trials, seeds = {len(cells) for cells in arms.values()}, len({run.seed for run in runs})
    each = trials.pop() if len(trials) == 1 else None
    optimizers = _count(len(arms), "optimizer")
    held_out = "held-out " if runs[0].stage == "confirm" else "new " if runs[0].stage == "settle" else ""
    seeds_text = _count(seeds, f"{held_out}seed")
    if each is None:
        return f"{optimizers}, {_count(sum(map(len, arms.values())), 'trial')} × {seeds_text}"
    return f"{optimizers} × {_count(each, 'trial')} × {seeds_text}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def stage_line(label: str, runs: Sequence[Run], rest: str) -> str:
    """Return the line of one stage of a sweep: ``Tuning     300 runs  2 optimizers × 30 trials × 5 seeds   …``."""
    return f"  {label:<9} {_count(len(runs), 'run'):>10}   {shape_text(runs):<44}  {rest}".rstrip()


FEW_TUNED = 2
"""Tuning seeds from which the selection error is estimated poorly or not at all."""


def tuning_warning(arms: int, tuned: int) -> str:
    """Return a warning if too few seeds tune to estimate the selection error; else nothing."""
    if arms < 2 or tuned > FEW_TUNED:
        return ""
    if tuned == 1:
        return "1 tuning seed: the selection error cannot be estimated, so no pair will be decided; use study.seeds=5"
    return "2 tuning seeds: the selection error is estimated poorly; use study.seeds=5"


OPEN = "rough upper estimate; adamcmp benchmarks strategies when training starts"


def choice_lines(crew: Crew) -> list[str]:
    """How each cohort will be trained, one line a cohort, and what to know about it."""
    lines = []
    for cohort, choice in crew.pairs:
        s, form = choice.strategy, cohort.kernel.partition(" (")[0]
        if choice.open:
            lines.append(f"  {len(cohort.runs):,} {form}: {OPEN}")
            continue
        batched = f"{s.rows:,} runs per program, {'compiled' if s.compiled else 'eager'}"
        how = batched if s.engine == "vectorised" else ""
        how += ", CUDA graphs" if s.graphs else ""
        where = f"{s.processes} processes" if s.processes > 1 else "1 process"
        parts = [how, where, f"{s.threads} thread{'s' if s.threads > 1 else ''} per process", f"{s.matmul} matmul"]
        why = f"; not vectorised: {s.reason}" if s.reason else ""
        lines.append(f"  {len(cohort.runs):,} {form}: {s.engine}, {', '.join(filter(None, parts))}{why}")
    return lines


def cost_lines(tuning: Crew, held_out: Crew, gflops: float) -> list[str]:
    """Return estimated time, memory and compute of a plan.

    Args:
        tuning: plan of the tuning runs.
        held_out: plan of the held-out runs.
        gflops: rate of this machine's fp32 matrix product by torch's default library.
    """
    costs, more = tuning.estimate, held_out.estimate
    stages = [("tuning", costs.seconds), ("held-out", more.seconds)]
    parts = [f"{name} {duration(seconds)}" for name, seconds in stages if seconds > 0]
    is_open = any(choice.open for _, choice in (*tuning.pairs, *held_out.pairs))
    lines = [f"Estimated time   {' + '.join(parts) or 'nothing to train'}{f' ({OPEN})' if is_open and parts else ''}"]
    if not parts:
        return lines
    datasets = {**tuning.datasets, **held_out.datasets}.values()
    held, disk = (sum(getattr(each, name) for each in datasets) for name in ("memory_bytes", "disk_bytes"))
    on_disk = f", {filesize.decimal(disk)} more on disk" if disk else ""
    peak = max(costs.peak_bytes, more.peak_bytes)
    lines.append(
        f"Memory           training up to {filesize.decimal(peak)} of {filesize.decimal(int(costs.memory))}; "
        f"data {filesize.decimal(held)}{on_disk}; {filesize.decimal(max(costs.run_bytes, more.run_bytes))} per run"
    )
    flops = costs.flops + more.flops
    if not math.isfinite(flops):
        return [*lines, "Compute          cannot be counted for this model"]
    here, there = duration(flops / (1e9 * gflops)), duration(flops / 1e15)
    speed = f"{here} at the {gflops:,.0f} GFLOP/s of this machine, {there} at 1 PFLOP/s"
    return [*lines, f"Compute          {flops:.2g} FLOPs: {speed}"]


def plan_lines(runs: Sequence[Run], todo: Sequence[Run]) -> list[str]:
    """Return a table of a plan: per optimizer its grid, seeds, planned and missing runs."""
    tasks = {run.task.label: None for run in runs}
    missing = {run.id for run in todo}
    arms: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        arms.setdefault((run.arm, run.task.label), []).append(run)
    rows = [("optimizer", "lr", "λ", "seeds", "runs", "missing")]
    for (arm, task), members in arms.items():
        rows.append((
            plain(arm if len(tasks) == 1 else f"{arm} on {task}"),
            _axis(run.optimizer.lr for run in members),
            _axis(run.optimizer.weight_decay for run in members),
            str(len({run.seed for run in members})),
            f"{len(members):,}",
            f"{sum(run.id in missing for run in members):,}",
        ))  # fmt: skip
    sizes = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    sides = ("<", "<", "<", ">", ">", ">")
    return [
        "  " + "   ".join(f"{text:{side}{size}}" for text, side, size in zip(row, sides, sizes, strict=True))
        for row in rows
    ]


def _axis(values: Iterable[float]) -> str:
    distinct = sorted(set(values))
    if len(distinct) == 1:
        return f"{distinct[0]:.4g}"
    return f"{distinct[0]:.3g} … {distinct[-1]:.3g} ({len(distinct)} values)"


def time_table(found: pd.DataFrame, title: str, target: float, error: ErrorMetric) -> Table:
    """How soon each arm's best cell reaches a validation error, as ``analysis.time_to_error`` gives it."""
    headers = ("optimizer", f"runs at {target:.3g}", "median steps", "median time")
    caption = f"to the first evaluation with that validation {error.label} or a better one"
    table = Table(*headers, title=escape(title), caption=escape(caption))
    for row in found.to_dict("records"):
        steps, seconds = row["steps"], row["seconds"]
        times = (f"{steps:,.0f}", duration(seconds)) if math.isfinite(steps) else ("never", "never")
        table.add_row(escape(row["arm"]), f"{row['reached']} of {row['n']}", *times)
    return table


def failure_lines(failed: pd.DataFrame) -> list[str]:
    """What went wrong, each error once, with how many runs it struck."""
    counts = failed.groupby("error", dropna=False)["run_id"].agg(["count", "first"])
    return [f"{row['count']} failed (run {row['first']}, …): {error}" for error, row in counts.iterrows()]


def listed(words: Sequence[str], most: int = 6) -> str:
    """Some words, the middle left out where there are many.

    >>> listed(["1", "2", "3"], most=2)
    '1 … 3'
    """
    return ", ".join(words) if len(words) <= most else f"{words[0]} … {words[-1]}"


@contextmanager
def counting(total: int, unit: str) -> Iterator[Callable[[str], None]]:
    """A bar over things of which each is named when it begins; gone at the end."""
    columns = (
        TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit), BarColumn(),
        TextColumn("{task.description}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as bar:
        task = bar.add_task("", total=total)
        begun = 0

        def begin(name: str) -> None:
            nonlocal begun
            bar.update(task, completed=begun, description=escape(name))
            begun += 1

        yield begin


def conformance_table(found: Sequence[Fitted]) -> Table:
    """Which convention other libraries follow, for a terminal."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for name in ("optimizer", "follows", "in adamcmp", "difference", "verdict"):
        table.add_column(name, overflow="fold")
    colours = {"same": "green", "same but for rounding": "green", "differs": "yellow", "failed": "red"}
    for each in found:
        difference = "–" if math.isnan(each.difference) else f"{each.difference:.1e}"
        cells = (each.optimizer or each.library, each.convention, each.setting, difference, each.error or each.verdict)
        table.add_row(*map(escape, cells), style=colours.get(each.verdict, "dim"))
    return table


def conversion_table(frameworks: Mapping[str, Framework], target: str | None, decay: Decay) -> Table:
    """λ in the conventions of frameworks, the one that is wanted in bold."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for name in ("framework", "λ", "removed per step", "ε is added"):
        table.add_column(name, overflow="fold")
    per_step = {"lr_scaled": "η_t α λ θ", "schedule_only": "η_t λ θ", "normalized": "η_t λ θ / √steps"}
    for name, each in frameworks.items():
        own = decay.lambdas.get(each.decay)
        told = "needs steps" if own is None else f"{own:.4g}"
        place = f"{each.eps_placement} the bias correction"
        cells = (name, told, per_step[each.decay], place)
        table.add_row(*map(escape, cells), style="bold" if name == target else None)
    return table


def summary_lines(lines: Sequence[tuple[str, str]]) -> list[str]:
    """Format a data and model summary: headings in one column, not repeated."""
    width = max((len(heading) for heading, _ in lines), default=0)
    shown: list[str] = []
    before = ""
    for heading, text in lines:
        shown.append(f"{heading if heading != before or heading == 'data' else '':<{width}}  {text}")
        before = heading
    return shown
