"""Train runs of the user's own scripts and functions: the engine of ``ProgramTask``.

A script is a process; a function is called in the worker. Both report records, of which the metrics that the check has
found become evaluations. A metric that is not finite is a divergence, as in every training.
"""

from __future__ import annotations

import json
import math
import os
import re
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import torch

from adamcmp.config.instantiate import find_target
from adamcmp.config.program import MetricSettings, Program, check_unchanged, fill_placeholders
from adamcmp.engine.checkpoint import TrainingControl, TrainingStopped
from adamcmp.engine.line_parser import LineParser, Record, Records, may_name_split
from adamcmp.engine.reported_values import (
    STEP_NAMES,
    find_metrics,
    pack_examples,
    read_examples,
    read_reported_files,
    to_evaluations,
)
from adamcmp.engine.run_result import Evaluation, ExampleErrors, RunResult
from adamcmp.engine.script_process import (
    End,
    adopt_orphans,
    kill_descendants,
    kill_left_process,
    run_script,
    unblocked_signals,
)
from adamcmp.engine.strategy.types import Shard
from adamcmp.engine.trial import CHECKPOINT_FILE, StopTraining, Trial, call_function, output_to, process_state, seeded
from adamcmp.errors import InputError, describe_exception
from adamcmp.plan.programs import ProgramTask, ReportedMetrics, placeholder_values, with_metrics
from adamcmp.plan.run_ids import short_hash
from adamcmp.plan.runs import Run
from adamcmp.storage.backend import atomic_write
from adamcmp.text_safety import to_one_line

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PRUNE_FILE = ".prune"
"""File in the folder of a run by which the driver ends it early."""
OVERDUE_SECONDS = 8.0
"""Seconds beyond its time limit after which a run is killed with its worker."""
UNREAD_BYTES = 2**16
"""Bytes at the end of an output in which a line is looked for that was not understood."""
MAX_QUOTED = 100
OUTPUT_LOG = "output.log"
"""File of a run with the output of its function."""
OUTPUT_FOLDER = "output"
"""Folder of a study with a private folder per run of a program."""


@dataclass(frozen=True)
class ProgramLimits:
    """Resources of one run of a program."""

    seconds: float = math.inf
    """Time limit."""
    retries: int = 0
    threads: int = 1
    folder: Path = Path(OUTPUT_FOLDER)
    """Folder of the private folders of all runs."""
    is_check: bool = False
    """Metrics are yet to be found: results have records, and no evaluations."""

    @property
    def kill_seconds(self) -> float:
        """Seconds after which the driver kills a run with its worker, which should have ended it before."""
        return self.seconds * (1 + self.retries) + OVERDUE_SECONDS

    @property
    def overdue_text(self) -> str:
        """Reason of a run that takes longer."""
        return f"ran longer than {self.seconds / 60:.3g} min; give execute.minutes_per_run a larger value"


@dataclass
class _Outcome:
    """How one attempt at a run has ended."""

    records: Records = ()
    how: End = "exited"
    error: str | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    examples: Any = None


def train_program_shard(shard: Shard, device: torch.device, control: TrainingControl) -> Iterator[RunResult]:
    """Yield the result of each run of a shard when it ends.

    Raises:
        TrainingStopped: a stop was requested; the run's own checkpoint remains.
    """
    for run in shard.runs:
        yield _train_run(run, shard, device, control)


def _train_run(run: Run, shard: Shard, device: torch.device, control: TrainingControl) -> RunResult:
    task, limits = run.task, control.limits
    assert isinstance(task, ProgramTask)
    folder = limits.folder.absolute() / run.id
    folder.mkdir(parents=True, exist_ok=True)
    progress = _Progress(task, control)
    started = time.perf_counter()
    for attempt in range(limits.retries + 1):
        attempted = _run_script if task.program.kind == "script" else _call_function
        outcome = attempted(run, task, device, folder, control, progress)
        if outcome.how == "stopped":
            raise TrainingStopped
        if outcome.error is None or outcome.how == "pruned" or attempt == limits.retries:
            break
    seconds = time.perf_counter() - started
    if limits.is_check:
        outcome.error = outcome.error or _examples_error(run, task, outcome, folder)
        failed = {"status": "failed", "error": outcome.error} if outcome.error else {"status": "completed"}
        result: dict[str, Any] = {**failed, "evaluations": ()}
    else:
        run, result = _result(run, task, outcome, folder)
    progress.finish()
    if result["status"] != "failed":
        (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    (folder / PRUNE_FILE).unlink(missing_ok=True)
    return RunResult(
        run=run, parameters=None, strategy=shard.strategy, device=str(device), seconds=seconds,
        finished_at=datetime.now(UTC), records=tuple(outcome.records), resources=outcome.resources, **result,
    )  # fmt: skip


class _Progress:
    """Passes the steps and evaluations of a run on."""

    def __init__(self, task: ProgramTask, control: TrainingControl) -> None:
        self._task, self._control, self._done = task, control, 0
        self._count, self._newest = 0, Record()

    def take(self, records: Sequence[Record]) -> None:
        """Receive all records so far; only the newest is read, since programs may print thousands."""
        record, reported, step_name = records[-1], self._task.reported, self._task.program.metrics.step
        if reported is None or reported.validation not in record or record is self._newest:
            return
        self._count, self._newest = self._count + 1, record
        (evaluation,) = to_evaluations([record], reported, step_name)
        if not record.keys() & {step_name, *STEP_NAMES}:
            evaluation = evaluation._replace(step=self._count)
        self._advance(evaluation.step if self._task.has_steps else 0, evaluation)

    def _advance(self, step: int, evaluation: Evaluation | None) -> None:
        step = min(step, self._task.steps)
        self._control.on_steps(max(step - self._done, 0), evaluation)
        self._done = max(step, self._done)

    def finish(self) -> None:
        """Count all steps."""
        self._advance(self._task.steps, None)


def _ending(folder: Path, control: TrainingControl, until: float) -> End | None:
    """Return why a run is to end now; ``until`` is its last moment by the monotonic clock."""
    if control.stop_requested():
        return "stopped"
    if time.monotonic() > until:
        return "time limit"
    return "pruned" if (folder / PRUNE_FILE).exists() else None


def _run_script(
    run: Run, task: ProgramTask, device: torch.device, folder: Path, control: TrainingControl, progress: _Progress
) -> _Outcome:
    program, limits = task.program, control.limits
    values = placeholder_values(run, str(folder))
    words = [fill_placeholders(word, values, quote=program.shell) for word in program.command]
    parser, error_parser = LineParser(program.metrics.pattern), LineParser(program.metrics.pattern)
    until = time.monotonic() + limits.seconds
    try:
        check_unchanged(program)
    except InputError as error:
        return _Outcome(error=str(error))
    adopt_orphans()
    kill_left_process(folder)

    def on_line(line: str) -> None:
        if parser.feed(line) is not None:
            progress.take(parser.records)

    reads_errors = _tries_all(program.metrics)

    def on_error_line(line: str) -> None:
        if reads_errors and error_parser.feed(line) is not None and not parser.records:
            progress.take(error_parser.records)

    try:
        end = run_script(
            words, folder=folder, working_folder=Path(program.folder), shell=program.shell, on_line=on_line,
            on_error_line=on_error_line,
            environment=_environment(device, limits.threads), ending=lambda: _ending(folder, control, until),
        )  # fmt: skip
    except OSError as error:
        return _Outcome(error=f"{words[0]}: cannot be started: {error.strerror or error}")
    resources = {"seconds": end.seconds, "cpu_seconds": end.cpu_seconds, "bytes": float(end.peak_bytes)}
    resources["output_bytes"] = float(end.output_bytes)
    outcome = _Outcome(parser.records, end.how, None, resources)
    if end.how == "time limit":
        outcome.error = limits.overdue_text
    elif end.how == "exited" and end.exit_code != 0:
        code = f"signal {-end.exit_code}" if end.exit_code < 0 else f"exit code {end.exit_code}"
        outcome.error = f"{code}: {end.last_error_line}".rstrip(": ")
    elif end.how == "exited":
        try:
            outcome.records = _all_records(program, parser.records, error_parser.records, folder, values)
        except InputError as error:
            outcome.error = str(error)
    return outcome


def _all_records(
    program: Program, printed: Sequence[Record], errors: Sequence[Record], folder: Path, values: Mapping[str, Any]
) -> Sequence[Record]:
    """Return the records of the source that a script reports to.

    ``auto`` takes the first that has metrics: standard output, files, standard error, to which Python's logging writes.
    """
    metrics = program.metrics
    if metrics.source == "stdout":
        return printed
    is_open = _tries_all(metrics)
    if is_open and _has_metrics(printed, metrics):
        return printed
    paths = {
        name: fill_placeholders(path, values) if (path := getattr(metrics, name)) else None
        for name in ("file", "tensorboard")
    }
    records = read_reported_files(folder, metrics, paths["file"], paths["tensorboard"])
    if is_open and not _has_metrics(records, metrics) and _has_metrics([*errors, *printed], metrics):
        return [*errors, *printed]
    return records or printed


def _tries_all(metrics: MetricSettings) -> bool:
    """Return whether no source of metrics is given, so that each is tried."""
    return metrics.source == "auto" and metrics.file is None and metrics.tensorboard is None


def _has_metrics(records: Sequence[Record], metrics: MetricSettings) -> bool:
    try:
        find_metrics([records], metrics)
    except InputError:
        return False
    return True


def _environment(device: torch.device, threads: int) -> dict[str, str]:
    """Return the environment of a script: unbuffered output, and threads and GPUs for it alone."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    for name in THREAD_VARIABLES:
        environment.setdefault(name, str(threads))
    if gpus := environment.pop("ADAMCMP_GPUS", "") or str(device).partition("cuda:")[2]:
        environment["CUDA_VISIBLE_DEVICES"] = gpus
    return environment


def _call_function(
    run: Run, task: ProgramTask, device: torch.device, folder: Path, control: TrainingControl, progress: _Progress
) -> _Outcome:
    limits, until = control.limits, time.monotonic() + control.limits.seconds
    seen: list[Record] = []

    def reported(record: Record) -> None:
        seen.append(record)
        progress.take(seen)

    trial = Trial(run, device, folder, ending=lambda: _ending(folder, control, until), reported=reported)
    outcome = _Outcome()
    threads = torch.get_num_threads()
    before = time.perf_counter(), time.process_time()
    try:
        is_new = task.program.target.rpartition(".")[0] not in sys.modules
        function = find_target(task.program.target, "target")
        if is_new:  # a module that was imported before is that of the plan
            check_unchanged(task.program)
        torch.set_num_threads(limits.threads)
        module = sys.modules.get(getattr(function, "__module__", ""))
        log = (folder / OUTPUT_LOG).open("a", encoding="utf-8", buffering=1)
        adopt_orphans()
        state = process_state(getattr(module, "__file__", None) or task.program.target)
        with log, output_to(log), seeded(run.seed, device), state, unblocked_signals():
            call_function(function, trial)
    except StopTraining:
        outcome.how = _ending(folder, control, until) or "stopped"
    except KeyboardInterrupt:
        outcome.error = "the function has raised KeyboardInterrupt"
    except SystemExit as error:
        line = next((line for line in _last_lines(folder / OUTPUT_LOG) if line.strip()), "")
        quoted = to_one_line(line.strip())[:MAX_QUOTED]
        outcome.error = f"the function has called sys.exit({error.code!r}): {quoted}".rstrip(": ")
    except InputError as error:
        outcome.error = str(error)
    except Exception as error:  # a user's function may fail in any way
        outcome.error = describe_exception(error)
    finally:
        torch.set_num_threads(threads)
        kill_descendants()
    outcome.records, outcome.examples = trial.records, trial.example_errors
    memory = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    with suppress(psutil.Error):
        memory = float(psutil.Process().memory_info().rss)
    seconds = time.perf_counter() - before[0]
    outcome.resources = {"seconds": seconds, "cpu_seconds": time.process_time() - before[1], "bytes": memory}
    if outcome.how == "exited" and outcome.error is None:
        ended = _ending(folder, control, until)
        outcome.how = ended if ended in ("stopped", "pruned") else "exited"
    if outcome.how == "time limit":
        outcome.error = limits.overdue_text
    return outcome


def _result(run: Run, task: ProgramTask, outcome: _Outcome, folder: Path) -> tuple[Run, dict[str, Any]]:
    """Return the run with its metrics, and its status, evaluations, error and per-example errors."""
    reported = task.reported
    try:
        if outcome.error is not None:
            return run, {"status": "failed", "evaluations": (), "error": outcome.error}
        if reported is None:  # a sweep without a check
            reported = _metrics_of_first_run(outcome.records, task, folder.parent)
            (run,) = with_metrics([run], reported)
        return run, _measured(run, task, outcome, reported, folder)
    except InputError as error:
        return run, {"status": "failed", "evaluations": (), "error": f"{error}{unread_line(folder)}"}


def _last_lines(path: Path) -> list[str]:
    """Return the lines at the end of an output, the last one first; none if there is no such file."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - UNREAD_BYTES))
        return file.read().decode("utf-8", "replace").splitlines()[::-1]
    return []


def unread_line(folder: Path) -> str:
    """Return the end of an error message: the last printed line that names a split and was not understood, if any."""
    for line in [*_last_lines(folder / "stdout.log"), *_last_lines(folder / "stderr.log")]:
        if may_name_split(line) and re.search(r"\d", line) and LineParser().feed(line) is None:
            return f" This line was not understood: {to_one_line(line.strip())[:MAX_QUOTED]!r}; see metrics.pattern."
    return ""


def _metrics_of_first_run(records: Records, task: ProgramTask, output: Path) -> ReportedMetrics:
    """Return the metrics of the first run of a program that has ended, by which all are compared.

    Args:
        records: of a run.
        task: of the program.
        output: folder of the private folders of all runs.

    Raises:
        InputError: no run has ended, and this one has no metrics.
    """
    path = output / f"metrics-{short_hash(f'{task.comparison}|{task.steps}')}.json"
    with suppress(OSError, ValueError, TypeError):
        return ReportedMetrics(**json.loads(path.read_text(encoding="utf-8")))
    metrics = find_metrics([records], task.program.metrics)
    with suppress(OSError), atomic_write(path) as file:
        file.write(json.dumps(asdict(metrics)).encode())
    return metrics


def _measured(
    run: Run, task: ProgramTask, outcome: _Outcome, reported: ReportedMetrics, folder: Path
) -> dict[str, Any]:
    """Return status, evaluations and per-example errors of a run that has ended without an error.

    Raises:
        InputError: it lacks a metric, or its per-example errors are wrong.
    """
    metrics = task.program.metrics
    evaluations = to_evaluations(outcome.records, reported, metrics.step)
    if outcome.how == "pruned":
        step = evaluations[-1].step if evaluations else 0
        return {"status": "pruned", "evaluations": tuple(evaluations), "diverged_step": step}
    if not evaluations:
        find_metrics([outcome.records], metrics)
        raise InputError(f"{reported.validation}: is not reported by this run, though others report it")
    last = evaluations[-1]
    if reported.test is not None and math.isnan(last.test_error):
        _check_test_metric(outcome.records, reported.test, last.step)
    lost, name = next(
        ((e, lost_name) for e in evaluations if (lost_name := _infinite_metric(e, reported))), (None, None)
    )
    if lost is None and reported.test is not None and math.isnan(last.test_error):
        lost, name = last, reported.test
    if lost is not None:
        kept = tuple(e for e in evaluations if e.step < lost.step)
        return {
            "status": "diverged", "evaluations": kept, "diverged_step": lost.step,
            "error": f"{name} is not a finite number at step {lost.step}",
        }  # fmt: skip
    examples = _examples(run, task, outcome, reported, last, folder)
    return {"status": "completed", "evaluations": tuple(evaluations), "outcomes": examples}


def _examples_error(run: Run, task: ProgramTask, outcome: _Outcome, folder: Path) -> str | None:
    """Return the error in the per-example errors of a check run, None without one; only compared runs need them."""
    try:
        reported = find_metrics([outcome.records], task.program.metrics)
    except InputError:  # the check says it
        return None
    evaluations = to_evaluations(outcome.records, reported, task.program.metrics.step)
    try:
        if evaluations:
            _examples(replace(run, stage="confirm"), task, outcome, reported, evaluations[-1], folder)
    except InputError as error:
        return str(error)
    return None


def _examples(
    run: Run, task: ProgramTask, outcome: _Outcome, reported: ReportedMetrics, last: Evaluation, folder: Path
) -> ExampleErrors | None:
    """Return the per-example test errors of a run that is compared, if it reports them."""
    if not run.stores_examples or math.isnan(last.test_error):
        return None
    is_accuracy = reported.is_share and reported.higher_is_better
    if outcome.examples is not None:
        return pack_examples(outcome.examples, last.test_error, "test_errors", is_accuracy=is_accuracy)
    if task.program.kind == "function":
        return None
    setting = task.program.metrics.examples
    if setting not in (None, "auto"):
        setting = fill_placeholders(setting, placeholder_values(run, str(folder)))
    return read_examples(folder, setting, last.test_error, is_accuracy=is_accuracy)


def _infinite_metric(evaluation: Evaluation, reported: ReportedMetrics) -> str | None:
    """Return the name of a metric that is not finite, None if all are; test metrics may be missing."""
    if not math.isfinite(evaluation.validation_error):
        return reported.validation
    if math.isinf(evaluation.test_error):
        return reported.test
    return reported.train_loss if math.isinf(evaluation.train_loss) else None


def _check_test_metric(records: Records, test: str, step: int) -> None:
    """Refuse a run whose last evaluation lacks the test metric; a value that is not a number is a divergence.

    Raises:
        InputError: it was not reported.
    """
    values = [record[test] for record in records if test in record]
    if not values:
        raise InputError(f"{test}: is not reported by this run, though others report it")
    if math.isfinite(values[-1]):
        raise InputError(f"{test}: is not reported with or after the last evaluation (step {step})")


def resolve_result(run: Run, result: RunResult) -> RunResult:
    """Return the result of a run whose metrics were not known when it was trained.

    Args:
        run: with the metrics of its task.
        result: of the same program and settings, with its records.
    """
    task = run.task
    assert isinstance(task, ProgramTask)
    run, fields = _result(run, task, _Outcome(result.records, "exited", result.error, result.resources), Path())
    return replace(result, run=run, **{"error": None, **fields})
