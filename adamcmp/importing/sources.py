"""Read results of other programs: one row per run, with its settings and final metrics as columns.

Tables (CSV, TSV, Parquet, JSON lines), folders of JSON files, Weights & Biases (exported CSV, offline run folders),
MLflow stores, TensorBoard folders and Optuna storages; each tracker is read by its own library.
"""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from adamcmp.errors import InputError, one_line
from adamcmp.extras import require_extra
from adamcmp.untrusted import load_json

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".jsonl", ".ndjson", ".json")
EVENTS = "events.out.tfevents*"
MAX_FILES = 200_000


class ImportedRuns(NamedTuple):
    """Runs of another program."""

    frame: pd.DataFrame
    """One row per run; or per evaluation, where a column is the step."""
    kind: str
    """Name of the source, such as ``CSV`` or ``MLflow``."""
    files: int


def read_runs(paths: Sequence[Path], pattern: str | None = None) -> ImportedRuns:
    """Return the runs at some paths.

    Args:
        paths: files, folders or storages of one kind.
        pattern: pattern of paths of files below a folder, such as ``{optimizer}/seed{seed}.json``; what stands at a
            name becomes a column.

    Raises:
        InputError: there is nothing, or it cannot be read.
    """
    parts = [_read_path(path, pattern) for path in paths]
    frames = [part.frame for part in parts if len(part.frame)]
    if not frames:
        raise InputError(f"{paths[0]}: holds no runs; give a CSV file, a folder of JSON files, or a tracker's folder")
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0].reset_index(drop=True)
    frame = with_numbers(frame)
    return ImportedRuns(frame, parts[0].kind, sum(part.files for part in parts))


PERCENTAGE = r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*%\s*"


def with_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with numbers in columns that hold only numbers, missing values, and texts such as ``91.2 %``."""
    changes = {}
    for name in frame.columns if frame.columns.is_unique else ():
        values = frame[name].dropna()
        if not len(values) or pd.api.types.is_numeric_dtype(frame[name]):
            continue
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):  # next to a null
            changes[name] = pd.to_numeric(frame[name], errors="coerce")
        elif values.astype(str).str.fullmatch(PERCENTAGE).all():
            changes[name] = pd.to_numeric(frame[name].astype(str).str.replace("%", ""), errors="coerce")
    return frame.assign(**changes) if changes else frame


def _read_path(path: Path, pattern: str | None) -> ImportedRuns:
    text = str(path)
    if "://" in text or re.match(r"\w+:/", text):
        return _read_database(re.sub(r"^(\w+):/+", lambda m: f"{m[1]}:///" if m[1] == "sqlite" else f"{m[1]}://", text))
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        return _read_folder(path, pattern)
    if path.suffix in (".db", ".sqlite", ".sqlite3"):
        return _read_database(f"sqlite:///{path}")
    if path.suffix == ".wandb":
        return ImportedRuns(pd.DataFrame([_wandb_run(path)]), "Weights & Biases", 1)
    if path.suffix == ".log":
        return ImportedRuns(_optuna_runs(_journal_storage(path), text), "Optuna", 1)
    return ImportedRuns(read_table_file(path), "table", 1)


def read_table_file(path: Path) -> pd.DataFrame:
    """Return the rows of a table.

    Raises:
        InputError: it is empty, damaged, or of no known form.
    """
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty")
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    try:
        match suffix:
            case ".parquet":
                frame = pd.read_parquet(path)
            case ".jsonl" | ".ndjson":
                frame = _frame_of_objects([json.loads(line) for line in _lines(path)])
            case ".json":
                content = load_json(path.read_bytes())
                objects = content if isinstance(content, list) else [content]
                frame = _frame_of_objects(objects)
            case ".csv" | ".tsv" | ".txt":
                separator = "\t" if suffix == ".tsv" else None
                frame = pd.read_csv(path, sep=separator, engine="python", encoding="utf-8-sig", skipinitialspace=True)
            case _:
                raise InputError(f"{path}: unknown kind of file; known: {', '.join(TABLE_SUFFIXES)}")
    except InputError:
        raise
    except UnicodeError as error:
        raise InputError(f"{path}: is not text in UTF-8 ({one_line(error)}); save it in this encoding") from error
    except Exception as error:  # damaged files make libraries raise anything
        raise InputError(f"{path}: cannot be read as {suffix[1:]} ({one_line(error)})") from error
    if frame.empty:
        raise InputError(f"{path}: holds no rows")
    return frame.rename(columns=str)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _frame_of_objects(objects: Sequence[Any]) -> pd.DataFrame:
    if any(not isinstance(item, dict) for item in objects):
        raise ValueError("an object per run is needed")
    return pd.DataFrame([_flat(item) for item in objects])


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one; lists are left out, but for their last number, as of a history."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            flat |= _flat(item, f"{name}.")
        elif isinstance(item, list):
            if item and isinstance(item[-1], int | float) and not isinstance(item[-1], bool):
                flat[name] = item[-1]
        else:
            flat[name] = item
    return flat


def _read_folder(folder: Path, pattern: str | None) -> ImportedRuns:
    if pattern is None:
        if (folder / "mlruns").is_dir():
            return _read_mlflow(str(folder / "mlruns"))
        if any(folder.glob("*/meta.yaml")):
            return _read_mlflow(str(folder))
        if wandb_files := sorted(folder.rglob("*.wandb")):
            runs = [_wandb_run(path) for path in wandb_files]
            return ImportedRuns(pd.DataFrame(runs), "Weights & Biases", len(runs))
        if any(folder.rglob(EVENTS)):
            folders = sorted({path.parent for path in folder.rglob(EVENTS)})
            return ImportedRuns(_tensorboard_runs(folder, folders), "TensorBoard", len(folders))
    return _read_files(folder, pattern)


def _read_files(folder: Path, pattern: str | None) -> ImportedRuns:
    """Return the rows of all tables below a folder, with columns from their paths."""
    expression = path_expression(pattern) if pattern is not None else None
    frames: list[pd.DataFrame] = []
    for i, path in enumerate(sorted(folder.rglob("*"))):
        if i > MAX_FILES:
            raise InputError(f"{folder}: holds more than {MAX_FILES:,} files; give a folder of results alone")
        if path.suffix not in TABLE_SUFFIXES or not path.is_file():
            continue
        relative = path.relative_to(folder).as_posix()
        match = expression.fullmatch(relative) if expression is not None else None
        if expression is not None and match is None:
            continue
        frame = read_table_file(path)
        for name, text in (match.groupdict() if match else {}).items():
            frame[name] = text
        frames.append(frame.assign(file=relative))
    if not frames:
        what = f"no file that fits --pattern {pattern}" if pattern else "no table and no tracker's folder"
        raise InputError(f"{folder}: holds {what}; known files: {', '.join(TABLE_SUFFIXES)}")
    return ImportedRuns(pd.concat(frames, ignore_index=True), "folder of files", len(frames))


def path_expression(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a path pattern.

    >>> path_expression("{optimizer}/seed{seed}.json").fullmatch("adam/seed3.json").groupdict()
    {'optimizer': 'adam', 'seed': '3'}
    """
    if re.search(r"[{}]", re.sub(r"\{\w+\}", "", pattern)):
        raise InputError(f"--pattern {pattern}: a brace is not closed, or holds more than a word such as {{seed}}")
    parts, seen = [], set[str]()
    for literal, name in re.findall(r"([^{}]*)(?:\{(\w+)\})?", pattern):
        parts.append(".*".join(re.escape(text) for text in literal.split("*")))
        if name:
            parts.append(f"(?P<{name}>[^/]+?)" if name not in seen else f"(?P={name})")
            seen.add(name)
    if not seen:
        raise InputError(f"--pattern {pattern}: has no names in braces, such as {{optimizer}}/seed{{seed}}.json")
    try:
        return re.compile("".join(parts))
    except re.error as error:
        raise InputError(f"--pattern {pattern}: a name in braces is a word such as {{seed}} ({error})") from error


def _wandb_run(path: Path) -> dict[str, Any]:
    """Return configuration and final values of an offline run of Weights & Biases.

    Its messages are decoded by the library; the library no longer reads the log that frames them.
    """
    with require_extra("a folder of Weights & Biases", "wandb"):
        from google.protobuf.message import DecodeError
        from wandb.proto import wandb_internal_pb2
    run, state = dict[str, Any](), "crashed"  # until its last message says otherwise
    try:
        for data in log_messages(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run["name"] = record.run.display_name or record.run.run_id
                run |= _wandb_items(record.run.config.update)
            elif kind == "config":
                run |= _wandb_items(record.config.update)
            elif kind == "history":
                run |= {key: value for key, value in _wandb_items(record.history.item).items() if value is not None}
            elif kind == "summary":
                run |= _wandb_items(record.summary.update)
            elif kind == "exit":
                state = "failed" if record.exit.exit_code else "finished"
    except (DecodeError, OSError, ValueError) as error:
        if not run:
            raise InputError(f"{path}: is not a run of Weights & Biases ({one_line(error)})") from error
    if not run:
        raise InputError(f"{path}: holds no run of Weights & Biases")
    return {key: value for key, value in _flat(run).items() if not key.startswith("_wandb")} | {"state": state}


LOG_HEADER, LOG_BLOCK, FRAME_HEADER = 7, 32768, 7
"""Bytes of the header of a log, of its blocks, and of the header of a frame: checksum (4), length (2), type (1)."""


def log_messages(content: bytes) -> Iterator[bytes]:
    """Yield the messages of a log in LevelDB's format, up to the first frame that is incomplete.

    A message is one frame of type 1 (whole), or frames of type 2 (first), 3 (middle) and 4 (last).
    """
    position, message = LOG_HEADER, bytearray()
    while position + FRAME_HEADER <= len(content):
        left = LOG_BLOCK - position % LOG_BLOCK
        if left < FRAME_HEADER:
            position += left
            continue
        length = int.from_bytes(content[position + 4 : position + 6], "little")
        kind = content[position + 6]
        data = content[position + FRAME_HEADER : position + FRAME_HEADER + length]
        if kind not in (1, 2, 3, 4) or len(data) < length:
            return
        position += FRAME_HEADER + length
        message = bytearray(data) if kind in (1, 2) else message + data
        if kind in (1, 4):
            yield bytes(message)


def _wandb_items(items: Any) -> dict[str, Any]:
    values = {}
    for item in items:
        value = json.loads(item.value_json)
        name = item.key or ".".join(item.nested_key)
        values[name] = value["value"] if isinstance(value, dict) and "value" in value else value
    return values


def _read_mlflow(uri: str) -> ImportedRuns:
    """Return parameters, tags and last metrics of all runs of an MLflow store."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # it is only read
    with require_extra("an MLflow store", "mlflow"):
        import mlflow
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiments = list(client.search_experiments())
        runs = []
        for experiment in experiments:
            for run in client.search_runs([experiment.experiment_id], max_results=50_000):
                seconds = ((run.info.end_time or 0) - (run.info.start_time or 0)) / 1000
                runs.append({
                    "experiment": experiment.name, **run.data.params, **run.data.metrics,
                    "run_name": run.info.run_name, "status": run.info.status,
                    "seconds": seconds if seconds > 0 else None,
                })  # fmt: skip
    except Exception as error:  # its stores raise anything
        raise InputError(f"{uri}: is no MLflow store ({one_line(error)})") from error
    return ImportedRuns(pd.DataFrame(runs), "MLflow", len(runs))


def _tensorboard_runs(root: Path, folders: Sequence[Path]) -> pd.DataFrame:
    """Return hyperparameters and last scalars of TensorBoard folders; one run per folder with hyperparameters."""
    from adamcmp.engine.reported_values import load_events, scalars

    with require_extra("a TensorBoard folder", "tensorboard"):
        from tensorboard.plugins.hparams import plugin_data_pb2
    runs: dict[Path, dict[str, Any]] = {}
    for folder in folders:
        accumulator = load_events(folder, "a TensorBoard folder")
        run: dict[str, Any] = {"run": folder.relative_to(root).as_posix()}
        try:
            tags = accumulator.summary_metadata
        except AttributeError:  # an older version
            tags = {}
        for tag, metadata in tags.items():
            if metadata.plugin_data.plugin_name == "hparams" and tag.endswith("session_start_info"):
                data = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
                for name, value in data.session_start_info.hparams.items():
                    run[name] = getattr(value, value.WhichOneof("kind"))
        run |= {tag: value for tag, _, value in scalars(accumulator)}  # the last one of each tag counts
        runs[folder] = run
    # torch's add_hparams writes a folder below that of the curves
    for folder in [folder for folder in runs if folder.parent in runs]:
        runs[folder] = {**runs.pop(folder.parent), **runs[folder]} if folder.parent in runs else runs[folder]
    return pd.DataFrame(list(runs.values()))


def _read_database(url: str) -> ImportedRuns:
    """Return the runs of a database of Optuna or MLflow."""
    if url.startswith("sqlite:///"):
        file = Path(url.removeprefix("sqlite:///"))
        if not file.is_file():
            raise InputError(f"{url}: no such file")
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            try:
                tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")}
            except sqlite3.DatabaseError as error:
                raise InputError(f"{file}: is not a SQLite database ({one_line(error)})") from error
        if "experiments" in tables:
            return _read_mlflow(url)
        if "trials" not in tables:
            raise InputError(f"{file}: is neither of Optuna nor of MLflow")
    return ImportedRuns(_optuna_runs(url, url), "Optuna", 1)


def _journal_storage(path: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except Exception as error:  # a damaged journal makes Optuna raise anything
        raise InputError(f"{path}: is no journal of Optuna ({one_line(error)})") from error


def _optuna_runs(storage: Any, name: str) -> pd.DataFrame:
    """Return parameters, user attributes and values of all finished trials of an Optuna storage."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    runs = []
    try:
        for study_name in optuna.get_all_study_names(storage):
            study = optuna.load_study(study_name=study_name, storage=storage)
            for trial in study.trials:
                if trial.state != optuna.trial.TrialState.COMPLETE:
                    continue
                names = study.metric_names or ["validation_value", *(f"value_{i}" for i in range(1, 9))]
                values = dict(zip(names, trial.values or (), strict=False))
                duration = trial.duration.total_seconds() if trial.duration else math.nan
                runs.append({
                    "study": study_name, **trial.params, **trial.user_attrs, **values, "seconds": duration,
                    "direction": study.direction.name.lower() if len(study.directions) == 1 else None,
                })  # fmt: skip
    except Exception as error:  # databases raise anything
        raise InputError(f"{name}: is no storage of Optuna ({one_line(error)})") from error
    return pd.DataFrame([_flat(run) for run in runs])
