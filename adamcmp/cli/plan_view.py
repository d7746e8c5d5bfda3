"""Plans, costs, failures and conventions as text and tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import filesize
from rich.box import SIMPLE_HEAD
from rich.table import Table

from adamcmp.cli.progress import format_duration
from adamcmp.text_safety import escape_rich as escape
from adamcmp.text_safety import to_one_line

if TYPE_CHECKING:
    import pandas as pd

    from adamcmp.conformance.find_convention import ConventionFit
    from adamcmp.execute.execution_plan import ExecutionPlan
    from adamcmp.execute.program_check import ProgramCheck
    from adamcmp.metrics.spec import MetricSpec
    from adamcmp.optim.framework_conventions import DecayConversion, FrameworkConvention
    from adamcmp.plan.runs import Run


def format_sweep_shape(runs: Sequence[Run]) -> str:
    """Return optimizers × trials × seeds of some runs; the number of trials where optimizers have different ones.

    Args:
        runs: of one stage.
    """
    from adamcmp.plan.runs import optimizer_key

    arms: dict[tuple[str, ...], set[tuple[float, float]]] = {}
    for run in runs:
        arms.setdefault(optimizer_key(run), set()).add((run.optimizer.lr, run.optimizer.weight_decay))
    trials, seeds = {len(cells) for cells in arms.values()}, len({run.seed for run in runs})
    per_optimizer = trials.pop() if len(trials) == 1 else None
    optimizers = _count(len(arms), "optimizer")
    held_out = "held-out " if runs[0].stage == "confirm" else "new " if runs[0].stage == "settle" else ""
    seeds_text = _count(seeds, f"{held_out}seed")
    if per_optimizer is None:
        return f"{optimizers}, {_count(sum(map(len, arms.values())), 'trial')} × {seeds_text}"
    return f"{optimizers} × {_count(per_optimizer, 'trial')} × {seeds_text}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_stage(label: str, runs: Sequence[Run], rest: str) -> str:
    """Return the line of one stage of a sweep: ``Tuning     300 runs  2 optimizers × 30 trials × 5 seeds   …``."""
    return f"  {label:<9} {_count(len(runs), 'run'):>10}   {format_sweep_shape(runs):<44}  {rest}".rstrip()


MAX_UNRELIABLE_TUNING_SEEDS = 2
"""Tuning seeds from which the selection error is estimated poorly or not at all."""


def tuning_warning(arms: int, tuned: int) -> str:
    """Return a warning if too few seeds tune to estimate the selection error; else nothing."""
    if arms < 2 or tuned > MAX_UNRELIABLE_TUNING_SEEDS:
        return ""
    if tuned == 1:
        return "1 tuning seed: the selection error cannot be estimated, so no pair will be decided; use study.seeds=5"
    return "2 tuning seeds: the selection error is estimated poorly; use study.seeds=5"


ROUGH_ESTIMATE_NOTE = "rough upper estimate; adamcmp benchmarks strategies when training starts"


def format_strategies(plan: ExecutionPlan) -> list[str]:
    """Return one line per run group: how it will be trained, and notes on that."""
    lines = []
    for run_group, choice in plan.pairs:
        s, form = choice.strategy, run_group.kernel.partition(" (")[0]
        if choice.open:
            lines.append(f"  {len(run_group.runs):,} {form}: {ROUGH_ESTIMATE_NOTE}")
            continue
        batched = f"{s.rows:,} runs per program, {'compiled' if s.compiled else 'eager'}"
        how = batched if s.engine == "vectorised" else ""
        how += ", CUDA graphs" if s.graphs else ""
        where = f"{s.processes} processes" if s.processes > 1 else "1 process"
        parts = [how, where, f"{s.threads} thread{'s' if s.threads > 1 else ''} per process", f"{s.matmul} matmul"]
        why = f"; not vectorised: {s.reason}" if s.reason else ""
        lines.append(f"  {len(run_group.runs):,} {form}: {s.engine}, {', '.join(filter(None, parts))}{why}")
    return lines


def format_cost(tuning: ExecutionPlan, held_out: ExecutionPlan, gflops: float) -> list[str]:
    """Return estimated time, memory and compute of a plan.

    Args:
        tuning: plan of the tuning runs.
        held_out: plan of the held-out runs.
        gflops: rate of this machine's fp32 matrix product by torch's default library.
    """
    costs, more = tuning.estimate, held_out.estimate
    if tuning.limits is not None and tuning.check is None and tuning.runs:
        return ["Estimated time   not known: the sweep measures a run of your program first"]
    stages = [("tuning", costs.seconds), ("held-out", more.seconds)]
    parts = [f"{name} {format_duration(seconds)}" for name, seconds in stages if seconds > 0]
    is_open = any(choice.open for _, choice in (*tuning.pairs, *held_out.pairs))
    note = f" ({ROUGH_ESTIMATE_NOTE})" if is_open and parts else ""
    lines = [f"Estimated time   {' + '.join(parts) or 'nothing to train'}{note}"]
    if not parts:
        return lines
    datasets = {**tuning.datasets, **held_out.datasets}.values()
    held, disk = (sum(getattr(dataset, name) for dataset in datasets) for name in ("memory_bytes", "disk_bytes"))
    on_disk = f", {filesize.decimal(disk)} more on disk" if disk else ""
    peak = max(costs.peak_bytes, more.peak_bytes)
    lines.append(
        f"Memory           training up to {filesize.decimal(peak)} of {filesize.decimal(int(costs.memory))}; "
        f"data {filesize.decimal(held)}{on_disk}; {filesize.decimal(max(costs.run_bytes, more.run_bytes))} per run"
    )
    flops = costs.flops + more.flops
    if not math.isfinite(flops):
        return [*lines, "Compute          cannot be counted for this model"]
    here, there = format_duration(flops / (1e9 * gflops)), format_duration(flops / 1e15)
    speed = f"{here} at the {gflops:,.0f} GFLOP/s of this machine, {there} at 1 PFLOP/s"
    return [*lines, f"Compute          {flops:.2g} FLOPs: {speed}"]


def format_plan(runs: Sequence[Run], todo: Sequence[Run]) -> list[str]:
    """Return a table of a plan: per optimizer its grid, seeds, planned and missing runs."""
    tasks = {run.task.label: None for run in runs}
    missing = {run.id for run in todo}
    arms: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        arms.setdefault((run.arm, run.task.label), []).append(run)
    rows = [("optimizer", "lr", "λ", "seeds", "runs", "missing")]
    for (arm, task), members in arms.items():
        rows.append((
            to_one_line(arm if len(tasks) == 1 else f"{arm} on {task}"),
            _format_axis(run.optimizer.lr for run in members),
            _format_axis(run.optimizer.weight_decay for run in members),
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


def _format_axis(values: Iterable[float]) -> str:
    distinct = sorted(set(values))
    if len(distinct) == 1:
        return f"{distinct[0]:.4g}"
    return f"{distinct[0]:.3g} … {distinct[-1]:.3g} ({len(distinct)} values)"


def time_to_target_table(rows: pd.DataFrame, title: str, target: float, error: MetricSpec) -> Table:
    """Return a table of times to a validation error, from ``analysis.time_to_target_table``."""
    headers = ("optimizer", f"runs at {target:.3g}", "median steps", "median time")
    caption = f"to the first evaluation with that validation {error.label} or a better one"
    table = Table(*headers, title=escape(title), caption=escape(caption))
    for row in rows.to_dict("records"):
        steps, seconds = row["steps"], row["seconds"]
        times = (f"{steps:,.0f}", format_duration(seconds)) if math.isfinite(steps) else ("never", "never")
        table.add_row(escape(row["arm"]), f"{row['reached']} of {row['n']}", *times)
    return table


def format_failures(failed: pd.DataFrame) -> list[str]:
    """Return each error once, with the number of runs that failed with it."""
    counts = failed.groupby("error", dropna=False)["run_id"].agg(["count", "first"])
    return [f"{row['count']} failed (run {row['first']}, …): {error}" for error, row in counts.iterrows()]


def format_check(check: ProgramCheck, *, is_new: bool) -> list[str]:
    """Return the findings of the check of a program; warnings are not indented.

    Args:
        check: findings.
        is_new: also show noise and resources.
    """
    spec, reported = check.reported.spec, check.reported
    better = "higher" if spec.higher_is_better else "lower"
    metrics = [f"selection by {reported.validation} ({better} is better)"]
    metrics += [f"verdicts by {reported.test}"] if reported.test else []
    if reported.is_share:
        metrics.append("as percentages" if reported.factor != 1.0 else "as shares of 1")
    lines = [f"  Metrics    {', '.join(metrics)}"]
    if is_new:
        noise = [f"{source} {_spread_text(spec, value)} ({runs} runs)" for source, value, runs in check.noise]
        lines += [f"  Noise      {'; '.join(noise)}"] if noise else []
        size = f"{filesize.decimal(int(check.bytes))}, " if check.bytes else ""
        short = check.shortened > 1
        time = f"{'at most ' if short else ''}{format_duration(check.seconds)}"
        why = f", estimated from runs of 1/{check.shortened} of the steps" if short else ""
        lines.append(f"  Resources  {time}, {size}{check.cores:.1f} cores per run{why}")
    return [*lines, *check.notes]


def _spread_text(spec: MetricSpec, value: float) -> str:
    from adamcmp.metrics.spec import format_significant

    return f"{format_significant(spec.factor * value)} {spec.gap_unit}".rstrip()


def conformance_table(fits: Sequence[ConventionFit]) -> Table:
    """Return which convention other libraries follow, for a terminal."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for name in ("optimizer", "follows", "in adamcmp", "difference", "verdict"):
        table.add_column(name, overflow="fold")
    colours = {"same": "green", "same but for rounding": "green", "differs": "yellow", "failed": "red"}
    for fit in fits:
        difference = "–" if math.isnan(fit.difference) else f"{fit.difference:.1e}"
        cells = (fit.optimizer or fit.library, fit.convention, fit.setting, difference, fit.error or fit.verdict)
        table.add_row(*map(escape, cells), style=colours.get(fit.verdict, "dim"))
    return table


def conversion_table(
    frameworks: Mapping[str, FrameworkConvention], target: str | None, decay: DecayConversion
) -> Table:
    """Return λ in the conventions of frameworks, the one that is wanted in bold."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for name in ("framework", "λ", "removed per step", "ε is added"):
        table.add_column(name, overflow="fold")
    per_step = {"lr_scaled": "η_t α λ θ", "schedule_only": "η_t λ θ", "normalized": "η_t λ θ / √steps"}
    for name, framework in frameworks.items():
        converted = decay.lambdas.get(framework.decay)
        value = "needs steps" if converted is None else f"{converted:.4g}"
        place = f"{framework.eps_placement} the bias correction"
        cells = (name, value, per_step[framework.decay], place)
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
