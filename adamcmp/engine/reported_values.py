"""Values that a program reports, as lines, files or TensorBoard events; and which of them are its metrics.

A *record* is the values of one line or one step: a mapping of names to numbers.
"""

from __future__ import annotations

import ast
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
from adamcmp.engine.run_result import Evaluation, ExampleErrors
from adamcmp.errors import InputError, one_line
from adamcmp.metrics.names import ORDER, PREFIXES, is_higher_better, metric_of, split_of, unit_and_factor
from adamcmp.plan.programs import ReportedMetrics

Record = dict[str, float]
Records = Sequence[Mapping[str, float]]
NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)"
PAIR = re.compile(rf"([A-Za-z][\w./-]*(?: [A-Za-z][\w./-]*)?)\s*[:=]\s*({NUMBER})\s*(%?)(?![\w.])", re.IGNORECASE)
"""``val_acc: 0.91``, ``Test error = 12 %``."""
SPLIT_WORDS = "validation|valid|val|dev|eval|test|train|training"
METRIC_WORDS = "loss|accuracy|acc|error|err|rmse|mae|mse|f1|auc|perplexity|ppl|r2|score"
SPOKEN = re.compile(rf"\b((?:{SPLIT_WORDS})[ _/.-](?:{METRIC_WORDS}))\s+({NUMBER})\s*(%?)", re.IGNORECASE)
"""``val acc 0.91``."""
ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""Colors and movements of a terminal."""
NOT_FINITE = re.compile(r"(?<![\w'\".])(-?(?:nan|inf))(?![\w'\".(])", re.IGNORECASE)
"""A number that is not finite, in a Python dictionary."""
COUNTER = re.compile(r"\b(epoch|step|iteration|iter)[ :=#]*(\d+)", re.IGNORECASE)
"""``Epoch 3``."""
STEP_NAMES = ("step", "global_step", "iteration", "iter", "steps", "epoch")
MAX_STEP = 2.0**53
MAX_RECORDS = 20_000
"""Records of a run that are kept while it prints."""
MAX_EXAMPLE_BLOCKS = 4096
"""Blocks of examples whose errors are stored as numbers."""
MAX_LISTED = 12
TENSORBOARD_EVENTS = "events.out.tfevents*"


class LineParser:
    """Collects records from the lines that a program prints."""

    def __init__(self, pattern: str | None = None) -> None:
        """Parse lines; with ``pattern`` only those that it matches, by its named groups."""
        self._pattern = re.compile(pattern) if pattern else None
        self._is_open = False
        self.records: list[Record] = []

    def feed(self, line: str) -> Record | None:
        """Take a line; return the record that it adds or completes, if any."""
        line = ANSI.sub("", line) if "\x1b" in line else line
        if self._pattern is not None:
            match = self._pattern.search(line)
            values = {k: n for k, v in match.groupdict().items() if (n := to_number(v)) is not None} if match else {}
            return self._add(values, merges=True) if values else None
        if not any(mark in line for mark in "{:=") and not SPOKEN.search(line):
            return None
        if (parsed := parse_object(line)) is not None:
            self._is_open = False
            return self._add(parsed, merges=False) if parsed else None
        pairs = [*PAIR.findall(line), *SPOKEN.findall(line)]
        values = {}
        for name, text, percent in pairs:
            number = to_number(text)
            if number is not None:
                values[clean_name(name)] = number / 100 if percent else number
        if values and (counter := COUNTER.search(line)):
            values.setdefault(counter[1].lower(), float(counter[2]))
        return self._add(values, merges=True) if values else None

    def _add(self, values: Record, *, merges: bool) -> Record:
        """Add values; those of separate lines belong together until a name is repeated."""
        if merges and self._is_open and not values.keys() & self.records[-1].keys():
            self.records[-1].update(values)
        else:
            self.records.append(values)
            self._is_open = merges
            if len(self.records) > MAX_RECORDS:
                self._drop_half()
        return self.records[-1]

    def _drop_half(self) -> None:
        """Forget older records without a validation or test metric; of many others every second one."""
        half = len(self.records) // 2
        kept = [r for r in self.records[:half] if any(split_of(name) in ("validation", "test") for name in r)]
        self.records[:half] = kept if len(kept) < half // 2 else kept[::2]


def parse_object(line: str) -> Record | None:
    """Return the numbers of a JSON object or a Python dictionary in a line; None if it has none.

    >>> parse_object("12:30 {'eval_loss': 0.5, 'epoch': 1.0}")
    {'eval_loss': 0.5, 'epoch': 1.0}
    """
    start, end = line.find("{"), line.rfind("}")
    if start < 0 or end < start:
        return None
    text = line[start : end + 1]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(NOT_FINITE.sub(r"'\1'", text))  # Python has no literal of them
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return None
    return flatten(value) if isinstance(value, dict) else None


def flatten(value: Mapping[Any, Any], prefix: str = "") -> Record:
    """Return the numbers of nested mappings; names are joined by a point."""
    record: Record = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            record |= flatten(item, f"{name}.")
        elif (number := to_number(item)) is not None:
            record[name] = number
    return record


def to_number(value: Any) -> float | None:
    """Return a value as a number, None if it is not one."""
    if isinstance(value, bool) or value is None:
        return None
    if hasattr(value, "item") and getattr(value, "numel", lambda: getattr(value, "size", 1))() == 1:
        value = value.item()
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:  # a whole number of hundreds of digits
            return math.inf if value > 0 else -math.inf
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def clean_name(name: str) -> str:
    """Return a name in small letters with underscores: ``Test Acc`` is ``test_acc``."""
    return re.sub(r"[\s-]+", "_", name.strip()).lower()


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
    return [flatten(item) for item in items if isinstance(item, dict)]


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
    for path in sorted(folder.glob("*")):
        if path.suffix in (".json", ".jsonl", ".csv", ".tsv") and path.is_file():
            try:
                records = read_metric_file(path)
            except InputError:
                continue
            if any(split_of(name) == "validation" for record in records for name in record):
                return records
    return read_tensorboard(folder) if any(folder.rglob(TENSORBOARD_EVENTS)) else []


def find_metrics(every: Sequence[Records], settings: MetricSettings) -> ReportedMetrics:
    """Return which of the values that runs have reported are their metrics.

    Args:
        every: the records of each run.
        settings: names that are given; ``auto`` finds them.

    Raises:
        InputError: there is no validation metric, or its direction is not known.
    """
    names = list(dict.fromkeys(name for records in every for record in records for name in record))
    validation = _validation_name(names, settings)
    metric = metric_of(validation)
    by_role = {role: _name_of(names, role, metric, getattr(settings, role)) for role in ("test", "train")}
    losses = {
        split: next((n for n in names if split_of(n) == split and metric_of(n) == "loss"), None) for split in PREFIXES
    }
    train_loss = settings.train_loss
    if train_loss == "auto":
        train_loss = losses["train"] or ("loss" if "loss" in names else None)
    elif train_loss is not None and train_loss not in names:
        raise InputError(f"metrics.train_loss={train_loss}: is not reported; {_found(names)}")
    higher = _is_higher_better(metric, settings, validation)
    values = [
        abs(record[name])
        for records in every
        for record in records
        for name in (validation, by_role["test"])
        if name is not None and math.isfinite(record.get(name, math.nan))
    ]
    unit, factor = unit_and_factor(metric, settings.unit, max(values, default=0.0))
    return ReportedMetrics(
        validation, by_role["test"], by_role["train"], train_loss, losses["validation"], losses["test"],
        higher, unit, factor,
    )  # fmt: skip


def _validation_name(names: Sequence[str], settings: MetricSettings) -> str:
    if settings.validation != "auto":
        if settings.validation not in names:
            raise InputError(f"metrics.validation={settings.validation}: is not reported; {_found(names)}")
        return settings.validation
    candidates = [name for name in names if split_of(name) == "validation" and name not in STEP_NAMES]
    if not candidates:
        raise InputError(
            f'no validation metric is reported; {_found(names)} Print one, such as {{"val_acc": 0.91}}, or name it: '
            "metrics.validation=NAME"
        )
    order = {word: i for i, word in enumerate(ORDER)}
    known = [name for name in candidates if metric_of(name) in order]
    if known:
        return min(known, key=lambda name: order[metric_of(name)])
    measured = [name for name in candidates if not re.search(r"time|second|runtime|samples|steps|epoch", name)]
    if len(measured) == 1:
        return measured[0]
    raise InputError(f"several validation metrics are reported: {_listed(candidates)}; give metrics.validation=NAME")


def _name_of(names: Sequence[str], split: str, metric: str, given: str | None) -> str | None:
    """Return the name of the same metric on another split."""
    if given == "auto":
        return next((n for n in names if split_of(n) == split and metric_of(n) == metric), None)
    if given is not None and given not in names:
        raise InputError(f"metrics.{split}={given}: is not reported; {_found(names)}")
    return given


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
    return f"found: {_listed(names)}." if names else "nothing was found in its output."


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
    steps = _steps(rows, step_name)
    if len(rows) > 1 and steps[-1] == steps[-2] and rows[-1][reported.validation] == rows[-2][reported.validation]:
        rows[-2:] = [{**rows[-2], **rows[-1]}]  # a summary of the last evaluation
        del steps[-1]
    evaluations = []
    for step, row in zip(steps, rows, strict=True):

        def value(name: str | None, row: Record = row, factor: float = 1.0) -> float:
            return math.nan if name is None else factor * row.get(name, math.nan)

        evaluations.append(
            Evaluation(
                step=step,
                train_loss=value(reported.train_loss),
                train_error=value(reported.train, factor=reported.factor),
                validation_loss=value(reported.validation_loss),
                validation_error=value(reported.validation, factor=reported.factor),
                test_loss=value(reported.test_loss),
                test_error=value(reported.test, factor=reported.factor),
                weight_norm=math.nan,
            )
        )
    return evaluations


def _steps(rows: Sequence[Record], name: str) -> list[int]:
    """Return the step of each evaluation: as reported, else counted from 1."""
    names = [name] if name != "auto" else [key for key in STEP_NAMES if any(key in row for row in rows)]
    for key in names:
        values = [row.get(key, math.nan) for row in rows]
        known = [value for value in values if math.isfinite(value)]
        whole = all(0 <= value < MAX_STEP and value == int(value) for value in known)
        if not known or not whole or any(b <= a for a, b in pairwise(known)):
            continue
        steps, last = [], 0
        for value in values:  # a summary after the last step has none
            last = int(value) if math.isfinite(value) else last
            steps.append(last)
        return steps if len(set(steps)) == len(steps) or steps[-1] == steps[-2] else list(range(1, len(rows) + 1))
    return list(range(1, len(rows) + 1))


def read_examples(folder: Path, setting: str | None, test_error: float) -> ExampleErrors | None:
    """Return the per-example test errors that a program wrote; None if it wrote none.

    Args:
        folder: the private folder of the run.
        setting: path of the file; ``auto`` looks for ``test_errors`` with a known ending.
        test_error: the test metric of the run, which is their mean.

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
    return pack_examples(values, test_error, path.name)


def pack_examples(values: Any, test_error: float, name: str) -> ExampleErrors:
    """Return per-example errors as they are stored.

    Raises:
        InputError: there are none, or their mean is not the test metric.
    """
    values = np.asarray(values, np.float64).reshape(-1)
    mean = float(values.mean()) if len(values) else math.nan
    if not math.isclose(mean, test_error, rel_tol=1e-3, abs_tol=1e-6):
        raise InputError(
            f"{name}: the mean of {len(values):,} values is {mean:.6g}, but the test metric is {test_error:.6g}; give "
            "one error per test example, in the unit of the metric"
        )
    if np.isin(values, (0.0, 1.0)).all():
        return ExampleErrors("bits", len(values), np.packbits(values.astype(np.uint8)).tobytes())
    if len(values) > MAX_EXAMPLE_BLOCKS:
        values = np.array([block.mean() for block in np.array_split(values, MAX_EXAMPLE_BLOCKS)])
    return ExampleErrors("floats", len(values), values.astype("<f4").tobytes())
