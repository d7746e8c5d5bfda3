"""Values that a program reports in files or TensorBoard events; and which of all values are its metrics."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from adamcmp.config.program import MetricSettings
from adamcmp.engine.line_parser import Record, Records, clean_name, expand, to_number
from adamcmp.engine.run_result import Evaluation, ExampleErrors
from adamcmp.errors import InputError, one_line
from adamcmp.metrics.names import (
    ORDER,
    PREFIXES,
    base_metric,
    is_higher_better,
    metric_of,
    split_of,
)
from adamcmp.plan.metric_units import unit_and_factors
from adamcmp.plan.programs import ReportedMetrics

STEP_NAMES = ("step", "global_step", "iteration", "iter", "steps", "epoch")
MAX_STEP = 2.0**53
MAX_EXAMPLE_BLOCKS = 4096
"""Blocks of examples whose errors are stored as numbers."""
MAX_LISTED = 12
METRIC_SUFFIXES = (".json", ".jsonl", ".csv", ".tsv")
TENSORBOARD_EVENTS = "events.out.tfevents*"


def read_metric_file(path: Path) -> list[Record]:
    """Return the records of a JSON, JSON lines or CSV file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix in (".csv", ".tsv"):
            rows = csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix == ".tsv" else ",")
            return [{k: n for k, v in row.items() if (n := to_number(v)) is not None} for row in rows]
        try:
            content = json.loads(text)
        except ValueError:
            content = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise InputError(f"{path.name}: cannot be read as JSON or CSV ({one_line(error)})") from error
    items = content if isinstance(content, list) else [content]
    return [record for item in items if isinstance(item, dict) for record in expand(item)]


def read_tensorboard(folder: Path) -> list[Record]:
    """Return one record per step from the scalars of TensorBoard event files below a folder.

    Raises:
        InputError: tensorboard is not installed.
    """
    by_step: dict[int, Record] = {}
    for events in sorted({path.parent for path in folder.rglob(TENSORBOARD_EVENTS)}):
        for tag, step, value in scalars(load_events(events, "metrics.tensorboard")):
            by_step.setdefault(step, {"step": float(step)})[tag] = value
    return [by_step[step] for step in sorted(by_step)]


def load_events(folder: Path, needed_by: str) -> Any:
    """Return TensorBoard's accumulator of the event files in a folder.

    Args:
        folder: the folder.
        needed_by: the setting or source that needs TensorBoard, for the error without it.

    Raises:
        InputError: tensorboard is not installed.
    """
    from adamcmp.extras import require_extra

    with require_extra(needed_by, "tensorboard"):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def scalars(accumulator: Any) -> Iterator[tuple[str, int, float]]:
    """Yield tag, step and value of each scalar, in the order of steps for each tag."""
    for tag in accumulator.Tags()["scalars"]:
        for event in accumulator.Scalars(tag):
            yield tag, event.step, event.value
    for tag in accumulator.Tags()["tensors"]:  # scalars as TensorFlow 2 writes them
        for event in accumulator.Tensors(tag):
            if len(event.tensor_proto.float_val) == 1:
                yield tag, event.step, event.tensor_proto.float_val[0]


def read_reported_files(folder: Path, settings: MetricSettings, file: str | None, events: str | None) -> list[Record]:
    """Return the records of files that a program wrote.

    Args:
        folder: its private folder.
        settings: which source is requested; ``auto`` reads files of the folder that hold a validation metric.
        file: path of a file with metrics, if it is given.
        events: path of TensorBoard event files, if it is given.
    """
    if file is not None:
        path = folder / file
        if not path.is_file():
            raise InputError(f"metrics.file={file}: the script did not write it")
        return read_metric_file(path)
    if events is not None or settings.source == "tensorboard":
        records = read_tensorboard(folder / (events or "."))
        if not records:
            raise InputError(f"metrics.tensorboard: no event files below {events or 'the folder of the run'}")
        return records
    metrics: list[Record] = []
    for path in sorted(folder.rglob("*"), key=lambda path: (len(path.parts), path)):
        if path.suffix in METRIC_SUFFIXES and path.is_file():
            try:
                records = read_metric_file(path)
            except InputError:
                continue
            splits = {split_of(name) for record in records for name in record}
            if "validation" in splits and not _has(metrics, "validation"):
                metrics = [*records, *metrics]
            elif "test" in splits and "validation" not in splits and not _has(metrics, "test"):
                metrics = [*metrics, *records]
    if _has(metrics, "validation"):
        return metrics
    return (read_tensorboard(folder) if any(folder.rglob(TENSORBOARD_EVENTS)) else []) or metrics


def _has(records: Records, split: str) -> bool:
    return any(split_of(name) == split for record in records for name in record)


def find_metrics(every: Sequence[Records], settings: MetricSettings) -> ReportedMetrics:
    """Return which of the values that runs have reported are their metrics.

    Args:
        every: the records of each run.
        settings: names that are given; ``auto`` finds them.

    Raises:
        InputError: there is no validation metric, or its direction or unit is not known.
    """
    names = list(dict.fromkeys(name for records in every for record in records for name in record))
    validation = _validation_name(names, settings)
    metric = metric_of(validation)
    by_role = {role: _name_of(names, role, validation, getattr(settings, role)) for role in ("test", "train")}
    losses = {split: _same_metric(names, split, "loss") for split in PREFIXES}
    train_loss = settings.train_loss
    if train_loss == "auto":
        train_loss = losses["train"] or ("loss" if "loss" in names else None)
    elif train_loss is not None:
        train_loss = _given_name(train_loss, "train_loss", names)
    higher = _is_higher_better(metric, settings, validation)
    test, train = by_role["test"], by_role["train"]
    by_split = {"validation": validation, **{split: name for split, name in by_role.items() if name is not None}}
    series = {split: [_finite(records, name) for records in every] for split, name in by_split.items()}
    unit, factors = unit_and_factors(
        by_split,
        {split: [value for values in runs for value in values] for split, runs in series.items()},
        {split: [values[-1] for values in runs if values] for split, runs in series.items()},
        settings.unit,
        "metrics.unit",
        higher=higher,
    )
    return ReportedMetrics(
        validation, test, train, train_loss, losses["validation"], losses["test"], higher, unit,
        factors["validation"], factors.get("test"), factors.get("train"),
    )  # fmt: skip


def _finite(records: Records, name: str) -> list[float]:
    """Return the finite values of a name in the order of reports."""
    return [value for record in records if math.isfinite(value := record.get(name, math.nan))]


def _validation_name(names: Sequence[str], settings: MetricSettings) -> str:
    if settings.validation != "auto":
        return _given_name(settings.validation, "validation", names)
    candidates = [name for name in names if split_of(name) == "validation" and name not in STEP_NAMES]
    if not candidates:
        if tests := _by_preference([name for name in names if split_of(name) == "test"]):
            raise InputError(
                f"no validation metric is reported; {_found(names)} Print one, or give metrics.validation={tests[0]}: "
                "test data then select trials and compare them, so that results are optimistic"
            )
        raise InputError(
            f'no validation metric is reported; {_found(names)} Print or report one, such as {{"val_acc": 0.91}}, or '
            "name it: metrics.validation=NAME"
        )
    if preferred := _by_preference(candidates):
        return preferred[0]
    measured = [name for name in candidates if not re.search(r"time|second|runtime|samples|steps|epoch", name)]
    if len(measured) == 1:
        return measured[0]
    if not measured:
        return _validation_name([name for name in names if name not in candidates], settings)
    raise InputError(f"several validation metrics are reported: {_listed(measured)}; give metrics.validation=NAME")


def _by_preference(names: Sequence[str]) -> list[str]:
    """Return the names of well-known metrics, the one that is taken for the primary one first."""
    order = {word: i for i, word in enumerate(ORDER)}
    primary = [name for name in names if base_metric(name) in order]
    return sorted(primary, key=lambda name: (order[base_metric(name)], metric_of(name) not in order))


def _name_of(names: Sequence[str], split: str, validation: str, given: str | None) -> str | None:
    """Return the name of the validation metric on another split; None if there is none."""
    if given == "auto":
        others = [name for name in names if name != validation]
        return _same_metric(others, split, metric_of(validation))
    return None if given is None else _given_name(given, split, names)


def _given_name(given: str, role: str, names: Sequence[str]) -> str:
    """Return the name of a metric that a user has given, as it is reported or as it is printed.

    Raises:
        InputError: it is not reported.
    """
    name = given if given in names else clean_name(given)
    if name not in names:
        raise InputError(f"metrics.{role}={given}: is not reported; {_found(names)}")
    return name


def _same_metric(names: Sequence[str], split: str, metric: str) -> str | None:
    """Return the name of a metric on a split; without words such as ``best`` if there is none by its whole name."""
    alike = [name for name in names if split_of(name) == split and base_metric(name) == base_metric(metric)]
    return min(alike, key=lambda name: metric_of(name) != metric, default=None)


def _is_higher_better(metric: str, settings: MetricSettings, name: str) -> bool:
    if settings.better != "auto":
        return settings.better == "higher"
    higher = is_higher_better(metric)
    if higher is None:
        raise InputError(f"metrics.better: is a higher or a lower {name} better? Give metrics.better=higher or lower")
    return higher


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def _found(names: Sequence[str]) -> str:
    return f"found: {_listed(names)}." if names else "nothing was found."


def to_evaluations(
    records: Iterable[Mapping[str, float]], reported: ReportedMetrics, step_name: str = "auto"
) -> list[Evaluation]:
    """Return the evaluations among the records of a run, in order; values that are not reported are NaN.

    A test metric that is reported after the last evaluation belongs to it.
    """
    rows: list[Record] = []
    carried: Record = {}
    for record in records:
        if reported.validation in record:
            rows.append({**carried, **record})
            carried = {}
        elif rows and reported.test is not None and reported.test in record and reported.test not in rows[-1]:
            rows[-1] = {**record, **rows[-1]}
        else:
            carried |= record  # such as a training loss that is logged before the evaluation
    rows, steps = _numbered(rows, step_name, reported)
    evaluations = []
    for step, row in zip(steps, rows, strict=True):

        def value(name: str | None, row: Record = row, factor: float = 1.0) -> float:
            return math.nan if name is None else factor * row.get(name, math.nan)

        evaluations.append(
            Evaluation(
                step=step,
                train_loss=value(reported.train_loss),
                train_error=value(reported.train, factor=reported.factor_of("train")),
                validation_loss=value(reported.validation_loss),
                validation_error=value(reported.validation, factor=reported.factor),
                test_loss=value(reported.test_loss),
                test_error=value(reported.test, factor=reported.factor_of("test")),
                weight_norm=math.nan,
            )
        )
    return evaluations


def _numbered(rows: list[Record], name: str, reported: ReportedMetrics) -> tuple[list[Record], list[int]]:
    """Return evaluations with their steps: as reported, else counted from 1. Those of one step are one evaluation.

    A line after the last step, without a step or with an earlier one, is a summary, such as of the best evaluation. It
    adds values to the last evaluation; it replaces them only where it also has the test metric.
    """
    key = step_key(rows, name)
    if key is None:
        if len(rows) > 1 and rows[-1][reported.validation] == rows[-2][reported.validation]:
            rows = [*rows[:-2], {**rows[-2], **rows[-1]}]
        return rows, list(range(1, len(rows) + 1))
    merged: dict[int, Record] = {}
    last = 0
    for row in rows:
        is_summary = not row.get(key, math.nan) >= last
        last = last if is_summary else int(row[key])
        before = merged.get(last, {})
        replaces = not is_summary or reported.test is None or reported.test in row
        merged[last] = {**before, **row} if replaces else {**row, **before}
    return list(merged.values()), list(merged)


def step_key(rows: Sequence[Mapping[str, float]], name: str = "auto") -> str | None:
    """Return the name of the values that are the steps of evaluations; None: they are counted.

    Steps are whole numbers that do not fall, except in a last line that names an earlier evaluation, the best one.
    """
    names = [name] if name != "auto" else [key for key in STEP_NAMES if any(key in row for row in rows)]
    usable = []
    for key in names:
        values = _finite(rows, key)
        if len(values) > 2 and values[-1] < values[-2] and values[-1] in values[:-1]:
            del values[-1]
        whole = all(0 <= value < MAX_STEP and value == int(value) for value in values)
        is_rising = all(b >= a for a, b in pairwise(values)) and (len(set(values)) > 1 or len(values) == 1)
        if whole and is_rising:
            usable.append((key, len(set(values))))
    most = max((count for _, count in usable), default=0)  # "epoch" may be finer than a "step" of another loop
    return next((key for key, count in usable if count == most), None)


def time_of(records: Records, reported: ReportedMetrics, name: str = "auto") -> str:
    """Return the unit of the steps of a run's evaluations: ``epoch`` or ``step``."""
    rows = [record for record in records if reported.validation in record]
    return "epoch" if (step_key(rows, name) or "").startswith("epoch") else "step"


def falling_steps(records: Records, reported: ReportedMetrics, name: str = "auto") -> str | None:
    """Return the name of steps that fall from one evaluation to the next; None if steps are used or not reported."""
    rows = [record for record in records if reported.validation in record]
    if step_key(rows, name) is not None:
        return None
    for key in STEP_NAMES if name == "auto" else (name,):
        if any(b < a for a, b in pairwise(_finite(rows, key))):
            return key
    return None


def read_examples(
    folder: Path, setting: str | None, test_error: float, *, is_accuracy: bool = False
) -> ExampleErrors | None:
    """Return the per-example test errors that a program wrote; None if it wrote none.

    Args:
        folder: the private folder of the run.
        setting: path of the file; ``auto`` looks for ``test_errors`` with a known ending.
        test_error: the test metric of the run, which is their mean.
        is_accuracy: the metric is a share of correct examples: errors are accepted, too.

    Raises:
        InputError: the file is missing or damaged, or its mean is not the test metric.
    """
    if setting is None or math.isnan(test_error):
        return None
    if setting == "auto":
        paths = [
            path for ending in ("npy", "csv", "txt", "json") if (path := folder / f"test_errors.{ending}").is_file()
        ]
        if not paths:
            return None
        path = paths[0]
    else:
        path = folder / setting
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix == ".json":
            values = np.asarray(json.loads(path.read_text(encoding="utf-8")))
        else:
            values = np.loadtxt(path, delimiter=",", ndmin=1)
        values = np.asarray(values, np.float64).reshape(-1)
    except (OSError, ValueError, TypeError, EOFError, RecursionError) as error:
        raise InputError(f"{path.name}: no errors per test example can be read from it ({one_line(error)})") from error
    return pack_examples(values, test_error, path.name, is_accuracy=is_accuracy)


def pack_examples(values: Any, test_error: float, name: str, *, is_accuracy: bool = False) -> ExampleErrors:
    """Return per-example errors as they are stored: in the unit of the metric.

    Raises:
        InputError: there are none, or their mean is not the test metric.
    """
    values = np.asarray(values, np.float64).reshape(-1)
    mean = float(values.mean()) if len(values) else math.nan
    if is_accuracy and not _agree(mean, test_error) and _agree(1.0 - mean, test_error):
        values, mean = 1.0 - values, 1.0 - mean
    if not _agree(mean, test_error):
        raise InputError(
            f"{name}: the mean of {len(values):,} values is {mean:.6g}, but the test metric is {test_error:.6g}; give "
            "one error per test example, in the unit of the metric"
        )
    if np.isin(values, (0.0, 1.0)).all():
        return ExampleErrors("bits", len(values), np.packbits(values.astype(np.uint8)).tobytes())
    if len(values) > MAX_EXAMPLE_BLOCKS:
        values = np.array([block.mean() for block in np.array_split(values, MAX_EXAMPLE_BLOCKS)])
    return ExampleErrors("floats", len(values), values.astype("<f4").tobytes())


def _agree(mean: float, metric: float) -> bool:
    return math.isclose(mean, metric, rel_tol=1e-3, abs_tol=1e-6)
