"""The check of a script or function before its sweep: metrics, noise floor, sensitivity, time, memory and cores.

Every optimizer is run once at a middle learning rate. The first one is run again with the same seed, with two other
seeds, and with another learning rate. Where the program takes a number of steps, these runs are a tenth as long;
otherwise they are planned runs, which are stored, and the repeated one.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from adamcmp import signals
from adamcmp.config.schema import ExecutionSettings
from adamcmp.engine.program_training import OUTPUT_FOLDER, ProgramLimits, unread_line
from adamcmp.engine.reported_values import falling_steps, find_metrics, time_of, to_evaluations
from adamcmp.engine.run_result import RunResult
from adamcmp.engine.script_process import MAX_PARSED_BYTES
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.errors import InputError
from adamcmp.execute.protocol import Executor, ShardEnded, TrainRequest, WorkerDied
from adamcmp.metrics.names import is_metric
from adamcmp.plan.programs import ProgramTask, ReportedMetrics, with_metrics
from adamcmp.plan.run_ids import short_hash
from adamcmp.plan.runs import Run, update_kernel_name
from adamcmp.storage.backend import is_local, write_file
from adamcmp.storage.schema import CHECK_FILE
from adamcmp.untrusted import load_json

CHECK_VERSION = 1
SHORTENED = 10
"""Factor by which check runs are shorter where the program takes the number of steps."""
MAX_CHECKED_OPTIMIZERS = 8
OTHER_SEEDS = 2
CHECK_LIMIT_SECONDS = 3600.0
"""Time limit of a check run without ``execute.minutes_per_run``."""
AUTO_LIMIT_FACTOR, MIN_AUTO_LIMIT_SECONDS = 20.0, 600.0
"""Time limit of a run without ``execute.minutes_per_run``: factor of the longest check run, and its minimum."""
LARGE_LOG_BYTES = 100e6
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class CheckRun:
    """One run of a check."""

    purpose: str
    """``optimizer``, ``same seed``, ``other seed`` or ``other learning rate``."""
    optimizer: str
    lr: float
    seed: int
    value: float | None
    """Validation metric as it is stored; None: the run failed or diverged."""
    seconds: float
    error: str = ""
    digest: str = ""
    """Hash of all values that the run has reported, but for times."""


@dataclass(frozen=True)
class ProgramCheck:
    """Findings of a check."""

    fingerprint: str
    """Hash of the checked program and its number of steps."""
    reported: ReportedMetrics
    runs: tuple[CheckRun, ...] = ()
    seconds: float = 0.0
    """Median time of a whole run."""
    cores: float = 1.0
    """Cores that a run used on average."""
    bytes: float = 0.0
    """Peak memory of a run."""
    shortened: int = 1
    """Factor by which check runs were shorter."""
    time: str = "step"
    """Unit of the steps of evaluations: ``step`` or ``epoch``."""
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def load(cls, study_dir: Path, fingerprint: str) -> Self | None:
        """Return the stored check of this program in a study; None if there is none."""
        try:
            loaded: Mapping[str, Any] = load_json((study_dir / CHECK_FILE).read_bytes())
            if loaded["version"] != CHECK_VERSION or loaded["fingerprint"] != fingerprint:
                return None
            values = {key: value for key, value in loaded.items() if key not in ("version", "noise")}
            values["reported"] = ReportedMetrics(**values["reported"])
            values["runs"] = tuple(CheckRun(**run) for run in values["runs"])
            return cls(**{**values, "notes": tuple(values["notes"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def save(self, study_dir: Path) -> None:
        """Write the check to the folder of a study, with its noise for reports."""
        content = {"version": CHECK_VERSION, **asdict(self), "noise": self.noise}
        text = json.dumps(content, indent=1, allow_nan=False)
        write_file(study_dir / CHECK_FILE, text.encode())

    @property
    def noise(self) -> list[tuple[str, float, int]]:
        """Spread of the validation metric as (source, value, number of runs), in stored units."""
        rows = []
        same = [run.value for run in self.runs if run.purpose == "same seed"]
        first = self.runs[0].value if self.runs else None
        if first is not None and same and same[0] is not None:
            rows.append(("within a seed", abs(first - same[0]), 2))
        seeds = [run.value for run in self.runs if run.purpose == "other seed" and run.value is not None]
        if first is not None and len(seeds) >= 1:
            rows.append(("between seeds", statistics.stdev([first, *seeds]), 1 + len(seeds)))
        other = [run.value for run in self.runs if run.purpose == "other learning rate"]
        if first is not None and other and other[0] is not None:
            rows.append(("between learning rates", abs(first - other[0]), 2))
        return rows


def output_folder(study_dir: Path) -> Path:
    """Return the folder of the private folders of a study's runs, on this machine."""
    if is_local(study_dir):
        return study_dir.absolute() / OUTPUT_FOLDER
    from adamcmp.execute.temp_dirs import unsent_folder

    return unsent_folder(study_dir) / OUTPUT_FOLDER


def fingerprint_of(task: ProgramTask) -> str:
    """Return a hash of the program and its number of steps, on which a check depends."""
    return short_hash(f"{task.comparison}|{task.steps}")


def plan_check(runs: Sequence[Run]) -> tuple[list[tuple[str, Run]], int]:
    """Return the runs of a check with their purposes, and the factor by which they are shorter.

    Args:
        runs: planned and missing, at least one.
    """
    by_optimizer: dict[str, list[Run]] = {}
    for run in runs:
        by_optimizer.setdefault(run.optimizer.name, []).append(run)
    firsts = [_middle(members) for members in list(by_optimizer.values())[:MAX_CHECKED_OPTIMIZERS]]
    base = firsts[0]
    members = by_optimizer[base.optimizer.name]
    alike = [run for run in members if run.optimizer == base.optimizer and run.task is base.task]
    others = [run for run in alike if run.seed != base.seed][:OTHER_SEEDS]
    extra = (seed for seed in range(base.seed + 1, base.seed + 10) if seed not in {run.seed for run in others})
    others += [_with_seed(base, seed) for seed, _ in zip(extra, range(OTHER_SEEDS - len(others)), strict=False)]
    lrs = [run for run in members if run.seed == base.seed and run.optimizer.lr != base.optimizer.lr]
    lrs = [run for run in lrs if run.task is base.task] or lrs
    purposes = [("optimizer", base), ("same seed", base), *(("other seed", run) for run in others)]
    if lrs:
        purposes.append(
            ("other learning rate", max(lrs, key=lambda run: abs(math.log(run.optimizer.lr / base.optimizer.lr))))
        )
    purposes += [("optimizer", run) for run in firsts[1:]]
    task = base.task
    assert isinstance(task, ProgramTask)
    takes_steps = task.has_steps and (task.program.kind == "function" or "steps" in task.program.placeholders)
    return purposes, SHORTENED if takes_steps and task.steps >= SHORTENED else 1


def _middle(members: Sequence[Run]) -> Run:
    """Return the run with the middle learning rate and the first seed and decay."""
    lrs = sorted({run.optimizer.lr for run in members})
    lr = lrs[len(lrs) // 2]
    return next(run for run in members if run.optimizer.lr == lr)


def _with_seed(run: Run, seed: int) -> Run:
    return replace(run, seed=seed, id=short_hash(f"{run.id}|{seed}"))


def _check_run(run: Run, i: int, shortened: int) -> Run:
    """Return a run for a check: with an ID of its own, without known metrics, and perhaps shorter."""
    task = run.task
    assert isinstance(task, ProgramTask)
    steps = max(1, task.steps // shortened)
    return replace(run, id=short_hash(f"check|{i}|{run.id}"), task=replace(task, steps=steps, reported=None))


def check_program(
    executor: Executor,
    runs: Sequence[Run],
    settings: ExecutionSettings,
    study_dir: Path,
    say: Callable[[str], None],
) -> tuple[ProgramCheck, list[RunResult]]:
    """Check a program; return the findings, and results of planned runs to store.

    Raises:
        InputError: no run reports a validation metric.
        KeyboardInterrupt: a stop was requested.
    """
    planned, shortened = plan_check(runs)
    task = planned[0][1].task
    assert isinstance(task, ProgramTask)
    checks = [_check_run(run, i, shortened) for i, (_, run) in enumerate(planned)]
    seconds = CHECK_LIMIT_SECONDS if settings.minutes_per_run == "auto" else 60.0 * settings.minutes_per_run
    limits = ProgramLimits(seconds, settings.retries, 1, output_folder(study_dir), is_check=True)
    name = task.program.name
    started = time.monotonic()

    def progress(done: int) -> None:
        say(_progress_text(name, done, len(checks), started))

    results = dict(_run_all(executor, checks[:1], limits, progress))  # alone, so that its cores are counted
    later = _run_all(executor, checks[1:], limits, lambda done: progress(1 + done))
    results |= {i + 1: result for i, result in later}
    try:
        try:
            reported = _find_reported([results[i] for i in sorted(results)], task)
        except InputError as error:
            raise InputError(f"{error}{unread_line(output_folder(study_dir) / checks[0].id)}") from error
        values = [_value(results[i], reported, task) for i in range(len(checks))]
        stored = _planned_results(planned, results, reported) if shortened == 1 else []
    finally:
        for run in checks:
            shutil.rmtree(output_folder(study_dir) / run.id, ignore_errors=True)
    rows = [
        CheckRun(
            purpose, run.optimizer.name, run.optimizer.lr, run.seed, value,
            result.resources.get("seconds", result.seconds), result.error or _missing_metric(result, reported),
            _digest(result),
        )
        for (purpose, run), value, result in zip(planned, values, (results[i] for i in range(len(checks))), strict=True)
    ]  # fmt: skip
    good = [result for result in results.values() if result.resources]
    alone = results[0].resources or {"cpu_seconds": 1.0, "seconds": 1.0}
    cpu = alone["cpu_seconds"] / max(alone["seconds"], 1e-3)
    check = ProgramCheck(
        fingerprint_of(task), reported, tuple(rows), shortened * statistics.median(row.seconds for row in rows),
        max(cpu, 0.1), max((result.resources["bytes"] for result in good), default=0.0), shortened,
    )  # fmt: skip
    output = max((result.resources.get("output_bytes", 0.0) for result in good), default=0.0)
    notes = _notes(check, task, output)
    step_name = task.program.metrics.step
    if falling := next((key for result in good if (key := falling_steps(result.records, reported, step_name))), None):
        notes.append(f"values of {falling} fall between evaluations, so that evaluations are numbered")
    times = {time_of(result.records, reported, step_name) for result in good}
    check = replace(check, notes=tuple(notes), time=times.pop() if len(times) == 1 else "step")
    check.save(study_dir)
    return check, stored


def _progress_text(name: str, done: int, total: int, started: float) -> str:
    return f"checking {name}: {done} of {total} runs, {time.monotonic() - started:.0f} s"


def _run_all(
    executor: Executor, runs: Sequence[Run], limits: ProgramLimits, progress: Callable[[int], None]
) -> Iterator[tuple[int, RunResult]]:
    """Yield the index and result of each run when it ends."""
    waiting, left = list(range(len(runs))), len(runs)
    began: dict[int, float] = {}
    while left:
        for slot in executor.slots:
            if slot.busy is None and waiting:
                i = waiting.pop(0)
                run = runs[i]
                shard = Shard(run.task, update_kernel_name(run.optimizer), (run,), Strategy(engine=_engine(run)))
                began[i] = time.monotonic()
                executor.submit(slot, TrainRequest(shard, None, None, math.inf, limits=limits), i)
        progress(len(runs) - left)
        if signals.stop_requested():
            for slot in executor.slots:
                executor.cancel(slot)
            raise KeyboardInterrupt
        for slot in executor.slots:
            if slot.busy is not None and time.monotonic() - began[slot.busy] > limits.kill_seconds:
                i = slot.busy
                executor.cancel(slot)
                left -= 1
                yield i, _failed(runs[i], limits.overdue_text)
        for slot, answer in executor.answers(POLL_SECONDS):
            i = slot.busy
            if i is None:
                continue
            if isinstance(answer, tuple):
                left -= 1
                yield i, answer[0]
            elif isinstance(answer, ShardEnded):
                slot.busy = None
                if answer.how == "error":
                    left -= 1
                    yield i, _failed(runs[i], answer.error)
            elif isinstance(answer, WorkerDied):
                slot.busy = None
                left -= 1
                yield i, _failed(runs[i], f"its process died (exit code {answer.exit_code})")
    while any(slot.busy is not None for slot in executor.slots):  # the ends of the last shards
        for slot, answer in executor.answers(POLL_SECONDS):
            if isinstance(answer, ShardEnded | WorkerDied):
                slot.busy = None


def _engine(run: Run) -> Any:
    assert isinstance(run.task, ProgramTask)
    return run.task.program.kind


def _failed(run: Run, error: str) -> RunResult:
    return RunResult.failed(run, error, Strategy(engine=_engine(run)), "cpu")


def _find_reported(results: Sequence[RunResult], task: ProgramTask) -> ReportedMetrics:
    """Return the metrics of a program.

    Raises:
        InputError: every run failed, or none reports a validation metric.
    """
    with_records = [result.records for result in results if result.records and result.status != "failed"]
    if not with_records:
        errors = list(dict.fromkeys(result.error for result in results if result.error))
        if not errors:
            find_metrics([[]], task.program.metrics)
        by_hand = (
            "run the command by hand"
            if task.program.kind == "script"
            else "call it with adamcmp.Trial.for_test(steps=10)"
        )
        raise InputError(f"{task.program.name}: {errors[0]}; {by_hand} to see more")
    return find_metrics(with_records, task.program.metrics)


def _value(result: RunResult, reported: ReportedMetrics, task: ProgramTask) -> float | None:
    if result.status == "failed":
        return None
    evaluations = to_evaluations(result.records, reported, task.program.metrics.step)
    value = evaluations[-1].validation_error if evaluations else math.nan
    return value if math.isfinite(value) else None


def _missing_metric(result: RunResult, reported: ReportedMetrics) -> str:
    """Return that a run has reported no validation metric; empty if it has."""
    has_metric = any(reported.validation in record for record in result.records)
    return "" if has_metric else f"{reported.validation} is not reported"


def _planned_results(
    planned: Sequence[tuple[str, Run]], results: Mapping[int, RunResult], reported: ReportedMetrics
) -> list[RunResult]:
    """Return the results of whole runs that are planned, as the engine makes them with known metrics."""
    from adamcmp.engine.program_training import resolve_result

    stored: dict[str, RunResult] = {}
    for i, (purpose, run) in enumerate(planned):
        is_planned = purpose != "same seed" and run.id == _planned_id(run) and not run.stores_examples
        if is_planned and results[i].status != "failed":
            (resolved,) = with_metrics([run], reported)
            result = resolve_result(resolved, results[i])
            if result.status in ("completed", "diverged"):
                stored[run.id] = result
    return list(stored.values())


def _planned_id(run: Run) -> str:
    from adamcmp.plan.run_ids import rule_identity, run_id

    return run_id(run.task, rule_identity(run.optimizer), rule_identity(run.schedule), run.seed)


TIMES = re.compile(r"time|second|duration|speed|per_sec|samples|elapsed", re.IGNORECASE)
"""Names of values that differ between equal trainings."""


def _digest(result: RunResult) -> str:
    """Return a hash of the metrics that a run has reported: the metric of few examples agrees by chance."""
    every = [[(n, v) for n, v in record.items() if not TIMES.search(n)] for record in result.records]
    metrics = [[(n, v) for n, v in record if is_metric(n)] for record in every]
    return short_hash(repr(metrics if any(metrics) else every))


def _notes(check: ProgramCheck, task: ProgramTask, log_bytes: float) -> list[str]:
    """Return warnings for the user."""
    name, notes = task.program.name, []
    text = check.reported.spec.text
    base = check.runs[0]
    notes += [
        f"{run.optimizer}: its check run failed ({run.error}); its other runs are likely to fail too"
        for run in check.runs
        if run.error and run.purpose == "optimizer"
    ]
    seeds = [run for run in check.runs if run is base or run.purpose == "other seed"]
    seeds = [run for run in seeds if run.value is not None]
    if len(seeds) >= 2 and len({run.digest for run in seeds}) == 1:
        notes.append(
            f"{name} ignores its seed: {len(seeds)} seeds gave {text(seeds[0].value or 0.0)}. Without noise no seed is "
            "needed; else pass the seed to every random generator"
        )
    same = next((run for run in check.runs if run.purpose == "same seed"), None)
    if base.value is not None and same is not None and same.value is not None and same.digest != base.digest:
        both = (
            f"{text(base.value)} and {text(same.value)}"
            if base.value != same.value
            else f"{text(base.value)} twice, but other metrics differ"
        )
        reason = "; a cause may be state that runs of a process share, such as a global variable"
        notes.append(
            f"{name} is not deterministic: the same seed gave {both}. Verdicts count this as noise of the seed"
            f"{reason if task.program.kind == 'function' else ''}"
        )
    other = next((run for run in check.runs if run.purpose == "other learning rate"), None)
    if other is not None and other.value is not None and other.digest == base.digest:
        notes.append(f"{name} ignores its learning rate: {base.lr:g} and {other.lr:g} gave {text(other.value)}")
    if check.reported.test is None:
        split = (
            "every seed has a data split of its own ({split_seed})"
            if task.program.varies_split
            else "selection and comparison share these data, so that differences are too optimistic"
        )
        notes.append(f"no test metric is reported: verdicts are on {check.reported.validation}; {split}")
    if task.program.kind == "script" and "weight_decay" not in task.program.placeholders:
        notes.append(f"the command has no {{weight_decay}}: λ is shown as 0, whatever {name} uses")
    if log_bytes >= LARGE_LOG_BYTES:
        parsed = f"; beyond {MAX_PARSED_BYTES >> 20} MB only its end is read for metrics"
        notes.append(
            f"{name} writes {log_bytes / 1e6:,.0f} MB of output per run{parsed if log_bytes > MAX_PARSED_BYTES else ''}"
        )
    return notes


def run_limits(check: ProgramCheck | None, settings: ExecutionSettings, study_dir: Path, threads: int) -> ProgramLimits:
    """Return the limits of the runs of a sweep."""
    if settings.minutes_per_run != "auto":
        seconds = 60.0 * settings.minutes_per_run
    elif check is None:
        seconds = math.inf
    else:
        seconds = max(AUTO_LIMIT_FACTOR * check.seconds, MIN_AUTO_LIMIT_SECONDS)
    return ProgramLimits(seconds, settings.retries, threads, output_folder(study_dir))


def count_processes(
    check: ProgramCheck | None, settings: ExecutionSettings, cores: int, gpus: int, memory: float
) -> int:
    """Return how many runs train at a time, by cores, GPUs and memory."""
    if settings.processes != "auto":
        return settings.processes
    measured = max(1.0, float(round(check.cores))) if check is not None else 1.0
    per_run = measured if settings.cores_per_run == "auto" else settings.cores_per_run
    counts = [max(1, int(cores / per_run))]
    if gpus:
        needed = 1.0 if settings.gpus_per_run == "auto" else settings.gpus_per_run
        counts += [max(1, int(gpus / needed))] if needed else []
    if check is not None and check.bytes:
        counts.append(max(1, int(memory / check.bytes)))
    return min(counts)


def visible_gpus(count: int, gpus: int, settings: ExecutionSettings) -> list[str]:
    """Return the GPUs that each of several processes sees, as ``CUDA_VISIBLE_DEVICES`` has them."""
    needed = 1.0 if settings.gpus_per_run == "auto" else settings.gpus_per_run
    if not gpus or not needed:
        return ["" for _ in range(count)]
    if needed >= 1:
        size = int(needed)
        return [",".join(str((i * size + j) % gpus) for j in range(size)) for i in range(count)]
    return [str(int(i * needed) % gpus) for i in range(count)]
