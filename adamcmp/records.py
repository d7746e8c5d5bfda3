"""What runs leave on disk: the columns of a record and of a curve; append, read, merge.

A study's folder holds ``records/*.parquet`` (one row a run) and ``curves/*.parquet`` (one row an evaluation). Parts
are immutable: written to a temporary name, synced to disk, renamed. A run counts once its record is readable, and
its curve is written first; so a kill at any instant leaves no half run. docs/file-formats.md shows these tables.
"""

from __future__ import annotations

import math
import re
import shlex
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa
from filelock import Timeout

from adamcmp.errors import InputError, one_line, shown
from adamcmp.lazy import LazyModule
from adamcmp.plain import plain, visible
from adamcmp.store import is_local, lock, readable, replacing, write_file
from adamcmp.untrusted import load_object

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from numpy.typing import NDArray
else:
    np, pd = LazyModule("numpy"), LazyModule("pandas")
    pc, pq = LazyModule("pyarrow.compute"), LazyModule("pyarrow.parquet")

SCHEMA_VERSION = 2
"""Enters every run id: records of another version are never taken for ours."""

Status = Literal["completed", "diverged", "failed", "pruned"]
Stage = Literal["tune", "confirm", "settle"]


@dataclass(frozen=True)
class Column:
    """One column of a stored table."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    younger: bool = False
    """Added within this schema version: a part from before lacks it, and is read with nulls."""
    former: str | None = None
    """What it was called before, within this schema version."""
    form: str | None = None
    """Regular expression of the whole of a text; without one, any text on one line."""


TEXT, REAL, INTEGER, FLAG, TIME = pa.string(), pa.float64(), pa.int64(), pa.bool_(), pa.timestamp("us", tz="UTC")

HASH = r"[0-9a-f]{1,64}"
NAME = r"\w[\w .+=-]{0,99}"
"""Name of a folder."""
VERSION = r"[0-9A-Za-z.+!_~-]{1,64}"
PATH = r"[\w.:-]{1,200}"
"""Word, or dotted name of a class."""
ON_ONE_LINE = r"[^\x00-\x1f\x7f\x85\u2028\u2029]*"
LINES = r"[^\x00-\x08\x0b-\x1f\x7f]*"

PARTS = ("train", "validation", "test")

METRICS: tuple[tuple[str, str, str], ...] = tuple(
    (f"{part}_{metric}", unit, f"{text} on the {part} examples")
    for part in PARTS
    for metric, unit, text in (
        ("loss", "loss", "mean loss (column loss)"),
        ("error", "error", "the error (columns error_metric, error_unit)"),
    )
)
"""(name, unit, meaning) of what every evaluation measures; units are those of the task's loss and error."""


def _at(prefix: str, when: str) -> list[Column]:
    metrics = [Column(f"{prefix}_{name}", REAL, unit, f"{text}, {when}") for name, unit, text in METRICS]
    text = "generalization gap: test error minus train error, positive if the test error is worse"
    gap = Column(f"{prefix}_gap", REAL, "error", f"{text}, {when}")
    text = "cross-entropy in bits for each byte of text"
    bits = [Column(f"{prefix}_{part}_bits_per_byte", REAL, "bit", f"{text}, {part}, {when}", True) for part in PARTS]
    return [*metrics, gap, *bits]


RECORD: tuple[Column, ...] = (
    Column("run_id", TEXT, "", "hash of all that determines the run's numbers", form=HASH),
    Column("study", TEXT, "", "name of the study that trained it first", form=NAME),
    Column("task", TEXT, "", "hash of the task that compared runs share: data, model, budget, precision", form=HASH),
    Column("task_label", TEXT, "", "human-readable label of the task"),
    Column("arm", TEXT, "", "label of the optimizer; reports add the settings that distinguish variants"),
    Column("variant", TEXT, "", "hash of all settings of optimizer and schedule but lr and λ", form=HASH),
    Column(
        "stage",
        TEXT,
        "",
        "tune: tuning run, confirm: held-out run, settle: held-out run of adamcmp settle",
        True,
        form="tune|confirm|settle",
    ),
    Column("search", TEXT, "", "what drew its settings, such as tpe over lr, betas; null: a grid", True),
    Column(
        "status",
        TEXT,
        "",
        "completed, diverged, failed, or pruned by a search",
        form="completed|diverged|failed|pruned",
    ),
    Column("error", TEXT, "", "why it failed", form=LINES),
    Column("diverged_step", INTEGER, "step", "step of the first loss that was not finite"),
    Column("seed", INTEGER, "", "seed of initial weights, batch order and dropout"),
    Column("data", TEXT, "", "data configuration"),
    Column("data_fingerprint", TEXT, "", "hash of the examples of all parts", form=HASH),
    Column("train_examples", INTEGER, "example", "N, size of the training part"),
    Column("model", TEXT, "", "model configuration"),
    Column("parameters", INTEGER, "", "P, trained parameters"),
    Column("optimizer", TEXT, "", "optimizer configuration"),
    Column("rule", TEXT, "", "its file in adamcmp/optim/rules, or the path of a custom class", form=PATH),
    Column("schedule", TEXT, "", "schedule configuration"),
    Column("lr", REAL, "", "peak learning rate α"),
    Column("weight_decay", REAL, "", "λ in the convention of the column decay"),
    Column("decay", TEXT, "", "decay convention: see docs/protocol.md", form=PATH),
    Column("decayed", TEXT, "", "which parameters are decayed: all or no_bias_norm", form=PATH),
    Column(
        "decay_per_step",
        REAL,
        "1/step",
        "share of a weight removed at η = 1 (in the first period); null except in the next three",
    ),
    Column(
        "weight_decay_lr_scaled", REAL, "", "λ as torch.optim.AdamW takes it; null where decay is none of the three"
    ),
    Column("weight_decay_schedule_only", REAL, "", "λ as in the paper's Algorithms 1 and 2; the same"),
    Column("weight_decay_normalized", REAL, "", "λ_norm of the paper's Appendix B.1 (for the first period); the same"),
    Column("beta1", REAL, "", "decay rate of the first moment"),
    Column("beta2", REAL, "", "decay rate of the second moment"),
    Column("momentum", REAL, "", "momentum of SGD and Muon"),
    Column("eps", REAL, "", "ε"),
    Column("eps_placement", TEXT, "", "ε after or before the bias correction", form=PATH),
    Column("bias_correction", FLAG, "", "moments are bias-corrected"),
    Column("batch_size", INTEGER, "example", "B"),
    Column("steps", INTEGER, "step", "T, the budget"),
    Column("epochs", REAL, "epoch", "the budget in passes of ⌊N/B⌋ steps"),
    Column("precision", TEXT, "", "fp32, bf16 or fp64", form=PATH),
    Column("settings", TEXT, "", "all settings as JSON"),
    *_at("final", "after the last step"),
    *_at("best", "at the evaluation with the best validation error (then loss, then step)"),
    Column(
        "baseline_validation_error",
        REAL,
        "error",
        "error of the best constant prediction of training, such as always its most common class",
        True,
        "majority_validation_error",
    ),
    Column("baseline_test_error", REAL, "error", "the same on the test examples", True, "majority_test_error"),
    Column(
        "loss",
        TEXT,
        "",
        "the loss: cross_entropy, mse, huber, bce or the path of a custom function",
        True,
        form=PATH,
    ),
    Column("error_metric", TEXT, "", "what runs are compared by: error_rate, rmse, mae, r2, …", True, form=PATH),
    Column("error_unit", TEXT, "", "its unit: 1 for shares, that of the data for quantities", True),
    Column("error_better", TEXT, "", "which way is better: lower or higher", True, form="lower|higher"),
    Column(
        "comparison",
        TEXT,
        "",
        "hash of the comparison; tasks that share it are in one table",
        True,
        form=HASH,
    ),
    Column("best_step", INTEGER, "step", "the step of that evaluation"),
    Column("best_epoch", REAL, "epoch", "the same in epochs"),
    Column("metrics", TEXT, "", "what train.metrics asked for, measured after the last step; JSON", True),
    Column("final_weight_norm", REAL, "", "Euclidean norm of all parameters after the last step"),
    Column("engine", TEXT, "", "engine: sequential, or vectorised with other runs in one program", form=PATH),
    Column(
        "engine_settings",
        TEXT,
        "",
        "how: rows of the program, compiled, matrix library, processes, threads, CUDA graphs; JSON",
    ),
    Column("engine_reason", TEXT, "", "why it was not vectorised, or not compiled although compilation was requested"),
    Column("device", TEXT, "", "where", form=PATH),
    Column("hardware", TEXT, "", "what that is: the chip; cores and memory of the machine", True),
    Column("seconds", REAL, "s", "wall time of the training with evaluations; of runs trained together an equal share"),
    Column("finished_at", TIME, "UTC", "when its training ended"),
    Column("adamcmp_version", TEXT, "", "version that trained it", form=VERSION),
    Column("torch_version", TEXT, "", "version of torch", form=VERSION),
    Column("python_version", TEXT, "", "version of Python", form=VERSION),
    Column(
        "git_commit",
        TEXT,
        "",
        "commit of the folder it was started in, -dirty with changes; null outside git",
        form=r"[0-9a-f]{4,64}(-dirty)?",
    ),
    Column("command", TEXT, "", "the command line"),
    Column(
        "data_summary", TEXT, "", "how data and model were understood, a heading and a text per line", True, form=LINES
    ),
)

CURVE: tuple[Column, ...] = (
    Column("run_id", TEXT, "", "the run", form=HASH),
    Column("step", INTEGER, "step", "steps trained before this evaluation"),
    Column("epoch", REAL, "epoch", "the same in epochs"),
    *(Column(name, REAL, unit, text) for name, unit, text in METRICS),
    Column("weight_norm", REAL, "", "Euclidean norm of all parameters"),
    Column("metrics", TEXT, "", "what train.metrics asked for; JSON", True),
)


OUTCOMES: tuple[Column, ...] = (
    Column("run_id", TEXT, "", "the run, of stage confirm or settle", form=HASH),
    Column(
        "kind",
        TEXT,
        "",
        "bits: one per test example, packed, 1 if wrong; floats: 4 bytes each",
        form="bits|floats",
    ),
    Column("length", INTEGER, "example", "how many there are; of floats at most 4,096 blocks, evenly cut"),
    Column("values", pa.binary(), "error", "per-example errors; their mean (of RMSE its root) is the error of the run"),
)


class Results(NamedTuple):
    """What is stored of one study."""

    records: pd.DataFrame
    """One row a run, columns ``RECORD``."""
    curves: pd.DataFrame
    """One row an evaluation, columns ``CURVE``."""


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Parquet schema of a table; its version travels in the file's metadata."""
    fields = [pa.field(c.name, c.type, metadata={"unit": c.unit, "meaning": c.meaning}) for c in columns]
    return pa.schema(fields, metadata={"adamcmp_schema": str(SCHEMA_VERSION)})


def weights_of(folder: Path, run_id: str, kept: str) -> Path:
    """Where a run's ``best`` or ``last`` weights lie."""
    return folder / f"{run_id}-{kept}.safetensors"


def append(
    study_dir: Path,
    records: Sequence[Mapping[str, Any]],
    curves: Sequence[Mapping[str, Any]],
    outcomes: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Store finished runs as one immutable part of each table; the records last, since they make runs count.

    Raises:
        InputError: the folder cannot be written, or the disk is full; what was stored before is whole.
    """
    name = _new_name()
    tables = [("curves", CURVE, curves), ("records", RECORD, records)]
    if outcomes:
        tables.insert(0, ("outcomes", OUTCOMES, outcomes))
    for table, columns, rows in tables:
        texts = [column for column in columns if column.type == TEXT and column.form in (None, LINES)]
        safe = [{**row, **{column.name: _safe(row.get(column.name), column) for column in texts}} for row in rows]
        _write(study_dir / table / name, pa.Table.from_pylist(safe, arrow_schema(columns)))


def _safe(text: Any, column: Column) -> Any:
    """Return a text without control characters: messages and names of custom code may hold any."""
    if text is None or text.isprintable():
        return text
    return visible(text) if column.form == LINES else plain(text)


def _new_name() -> str:
    return f"{pd.Timestamp.now('UTC'):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}.parquet"


def _write(path: Path, table: pa.Table) -> None:
    with replacing(path, sync=True) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def read(study_dir: Path) -> Results:
    """All stored runs of a study; of a run stored twice (a failed one, trained again) the last counts.

    Raises:
        InputError: there is no such study, or a part is damaged or not ours.
    """
    records = read_records(study_dir)
    curves = _read_parts(study_dir / "curves", CURVE)
    curves = curves[curves["run_id"].isin(records["run_id"])]
    curves = curves.drop_duplicates(["run_id", "step"], keep="last").sort_values(["run_id", "step"], kind="stable")
    return Results(records, curves.reset_index(drop=True))


def read_records(study_dir: Path) -> pd.DataFrame:
    """The records alone; empty where nothing is stored yet.

    Raises:
        InputError: a part is damaged or not ours.
    """
    return counted(_read_parts(study_dir / "records", RECORD))


RANKS: Mapping[str, int] = {"failed": 0, "pruned": 1, "diverged": 2, "completed": 3}
"""Ranks of ends: of several records of one run the highest counts, whatever the clocks of their machines said."""


def counted(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run, ordered by the time of its end; of several the one with the highest of ``RANKS``.

    Among equal ranks the last counts.
    """
    ordered = records.sort_values("finished_at", kind="stable")
    repeated = ordered["run_id"].duplicated(keep=False)
    if repeated.any():
        by_rank = ordered[repeated].assign(rank=ordered["status"].map(RANKS)).sort_values("rank", kind="stable")
        dropped = by_rank.index[by_rank["run_id"].duplicated(keep="last")]
        ordered = ordered.drop(index=dropped)
    return ordered.reset_index(drop=True)


def disagreeing(study_dirs: Sequence[Path]) -> pd.DataFrame:
    """Return the completed records of runs that stand several times with other numbers, ordered by run and time.

    Two trainings of one run may differ by rounding (docs/file-formats.md); which of them counts then depends on clocks.

    Raises:
        InputError: a part is damaged or not ours.
    """
    every = pd.concat([_read_parts(folder / "records", RECORD) for folder in study_dirs], ignore_index=True)
    done = every[every["status"] == "completed"].sort_values(["run_id", "finished_at"], kind="stable")
    done = done[done["run_id"].duplicated(keep=False)]
    measured = [column.name for column in RECORD if column.name.startswith(("final_", "best_"))]
    values = done[measured].astype(float).fillna(math.inf)  # of both, what is missing is the same
    differs = (values.groupby(done["run_id"]).transform("nunique") > 1).any(axis=1)
    return done[differs].reset_index(drop=True)


def read_outcomes(study_dirs: Sequence[Path]) -> dict[str, NDArray[np.float64]]:
    """What each test example, or block of them, says of the confirming runs: by run id, (N,).

    Raises:
        InputError: a part is damaged or not ours.
    """
    found: dict[str, NDArray[np.float64]] = {}
    for study_dir in study_dirs:
        for row in _read_parts(study_dir / "outcomes", OUTCOMES).to_dict("records"):
            raw = np.frombuffer(row["values"], np.uint8 if row["kind"] == "bits" else "<f4")
            values = np.unpackbits(raw, count=row["length"]) if row["kind"] == "bits" else raw
            found[row["run_id"]] = values.astype(np.float64)
    return found


class Incomplete(NamedTuple):
    """Runs that count but lack something, since a part of its table was lost."""

    curves: set[str]
    """Ids of runs without their curve."""
    outcomes: set[str]
    """Ids of confirming runs without what each test example says, where others of the study have it."""


def incomplete(study_dir: Path) -> Incomplete:
    """Return the runs that lack their curve, or their outcomes; `adamcmp remove --incomplete` removes them.

    Raises:
        InputError: a part is damaged or not ours.
    """
    records = read_records(study_dir)
    curves, outcomes = (
        set(_read_table(study_dir / table, columns)["run_id"].to_pylist())
        for table, columns in (("curves", CURVE), ("outcomes", OUTCOMES))
    )
    ended = records[(records["status"] == "completed") | _has_evaluation(records)]
    judging = records[records["stage"].isin(["confirm", "settle"]) & (records["status"] == "completed")]
    lacking = set(judging["run_id"]) - outcomes if outcomes else set[str]()
    return Incomplete(set(ended["run_id"]) - curves, lacking)


def _has_evaluation(records: pd.DataFrame) -> pd.Series:
    """Return which runs diverged after their first evaluation: those before it have no curve."""
    diverged = records["status"] == "diverged"
    first = [load_object(text).get("eval_steps", [0])[0] for text in records.loc[diverged, "settings"]]
    later = pd.Series(data=False, index=records.index)
    later[diverged] = records.loc[diverged, "diverged_step"].to_numpy(float) > np.array(first, float)
    return later


def finished(study_dir: Path) -> set[str]:
    """Ids of the runs that need no training: completed or diverged, as both are final.

    Raises:
        InputError: as ``read_records``.
    """
    records = read_records(study_dir)
    return set(records.loc[records["status"] != "failed", "run_id"])


def _read_parts(folder: Path, columns: Sequence[Column]) -> pd.DataFrame:
    frame = _read_table(folder, columns).to_pandas()
    assert isinstance(frame, pd.DataFrame)
    return frame


def _read_table(folder: Path, columns: Sequence[Column]) -> pa.Table:
    """Return all rows of a table, while other processes may merge its parts."""
    parts: dict[Path, pa.Table] = {}
    while paths := [path for path in _parts(folder) if path not in parts]:
        for path in paths:
            try:
                parts[path] = _read_part(path, columns)
            except InputError:
                if path in _parts(folder):
                    raise
                parts.clear()  # a sweep has just merged it into a part that was not there yet
                break
    return pa.concat_tables([arrow_schema(columns).empty_table(), *parts.values()])


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def parts(study_dir: Path) -> frozenset[tuple[str, int]]:
    """Names and sizes of the parts of records: another name or size is news."""
    found = set()
    for path in _parts(study_dir / "records"):
        with suppress(FileNotFoundError):  # merged into a later one
            found.add((path.name, path.stat().st_size))
    return frozenset(found)


def stored_since(study_dir: Path, known: Collection[tuple[str, int]]) -> tuple[set[str], frozenset[tuple[str, int]]]:
    """Ids of the runs in parts that are not ``known``, and what is known then.

    Raises:
        InputError: a part is damaged.
    """
    seen, found = frozenset(known), set[str]()
    while news := (now := parts(study_dir)) - seen:
        for name, _ in sorted(news):
            path = study_dir / "records" / name
            try:
                table = _parquet(path, ["run_id"])
                found.update(table["run_id"].to_pylist())
            except Exception as error:
                if path.exists():
                    raise _unreadable(path, error) from error
                continue  # merged into a part that the next look shows
        seen = now
    return found, now


def _read_part(path: Path, columns: Sequence[Column]) -> pa.Table:
    try:
        if is_local(path) and path.is_symlink() and not path.exists():
            raise InputError(
                f"{path}: is a link to a file that is not here; fetch it (git annex get, dvc pull), or move the link "
                "out of the folder"
            )
        table = _parquet(path)
        table.validate(full=True)
        version = (table.schema.metadata or {}).get(b"adamcmp_schema", b"").decode()
        former = {column.former: column.name for column in columns if column.former}
        table = table.rename_columns([former.get(name, name) for name in table.schema.names])
        for column in columns:
            if column.younger and column.name not in table.schema.names:
                table = table.append_column(column.name, pa.nulls(len(table), column.type))
        schema = arrow_schema(columns)
        names = set(schema.names) == set(table.schema.names)
        is_ours = version == str(SCHEMA_VERSION) and names and table.select(schema.names).schema.equals(schema)
    except InputError:
        raise
    except Exception as error:  # damaged bytes make the library raise anything
        raise _unreadable(path, error) from error
    if not is_ours:
        kind = f"written with record schema {version}, this adamcmp reads {SCHEMA_VERSION}" if version else "not ours"
        raise InputError(f"{path}: a foreign Parquet file ({kind}); move it out of the folder")
    table = table.select(schema.names).replace_schema_metadata(schema.metadata)
    stamp = _stamp(path)
    if stamp is None or stamp not in _sound_parts:
        _check_texts(path, table, columns)
        _sound_parts.add(stamp)
    return table


_sound_parts: set[tuple[str, int, int] | None] = set()
"""Parts that this process has checked: they are read several times, and never change."""


def _stamp(path: Path) -> tuple[str, int, int] | None:
    """Return path, size and time of a file, which change if another one takes its place; None in an object store."""
    if not is_local(path):
        return None
    found = path.stat()
    return str(path.absolute()), found.st_size, found.st_mtime_ns


def _parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a file with this thread alone: Arrow's pools of threads wait for ever where no thread can be started."""
    with pq.ParquetFile(readable(path), pre_buffer=False, page_checksum_verification=True) as file:
        return file.read(None if columns is None else list(columns), use_threads=False)


def _unreadable(path: Path, error: Exception) -> InputError:
    """Return the error of a damaged part, with the consequence of moving it away."""
    then = {
        "records": "its runs will be trained again",
        "curves": "its runs still count, without their curves",
        "outcomes": "its runs still count, with intervals over seeds alone",
    }.get(path.parent.name, "")
    again = "" if path.parent.name == "records" else ", until `adamcmp remove --incomplete` has them trained again"
    return InputError(
        f"{path}: not a readable Parquet file ({one_line(error)}); restore it from a copy, or move it out of the "
        f"folder: {then}{again}"
    )


def _check_texts(path: Path, table: pa.Table, columns: Sequence[Column]) -> None:
    """Refuse texts that no adamcmp has written: a results folder may come from anybody, and they become code and paths.

    Raises:
        InputError: for the first one.
    """
    for column in columns:
        if column.type != TEXT:
            continue
        values = pc.unique(table[column.name]).drop_null().to_pylist()
        form = re.compile(column.form or ON_ONE_LINE)
        wrong = [text for text in values if not form.fullmatch(text)]
        is_sound = SOUND.get(column.name)
        if is_sound is not None and not wrong:
            wrong = [text for text in values if not is_sound(text)]
        if wrong:
            raise InputError(
                f"{path}: {column.name} is {shown(wrong[0])}, which adamcmp never writes; the file was changed or "
                "comes from another program; move it out of the folder"
            )


SECTIONS = ("optimizer", "schedule", "model", "data_settings", "loss")


def _is_object(text: str) -> bool:
    """Whether a text is a JSON object, whose sections, if it has some, are objects too."""
    try:
        found = load_object(text)
    except ValueError:
        return False
    return all(isinstance(found.get(name, {}), dict) for name in SECTIONS)


def _are_numbers(text: str) -> bool:
    """Whether a text is a JSON object of numbers."""
    try:
        return all(value is None or isinstance(value, int | float) for value in load_object(text).values())
    except ValueError:
        return False


def _is_command(text: str) -> bool:
    """Whether a text is one command of adamcmp, quoted for a shell as ``shlex.join`` does."""
    try:
        words = shlex.split(text)
    except ValueError:
        return False
    return words[:1] == ["adamcmp"] and shlex.join(words) == text


SOUND: Mapping[str, Callable[[str], bool]] = {
    "command": _is_command, "settings": _is_object, "engine_settings": _is_object, "metrics": _are_numbers,
}  # fmt: skip
"""Checks of the texts of some columns, next to their form."""


HALF_WRITTEN = re.compile(r"\..+\.(\d+|[0-9a-f]{12})\.tmp")
"""Names of files that are being written, as ``store.replacing`` and ``engine.watch`` give them."""


def remove_leftovers(study_dir: Path) -> None:
    """Remove what a killed writer left half written; only the holder of the study's lock may."""
    for folder in (
        study_dir,
        *(study_dir / name for name in ("outcomes", "curves", "records", "checkpoints", "weights")),
    ):
        for path in folder.glob(".*.tmp"):
            if HALF_WRITTEN.fullmatch(path.name):
                path.unlink(missing_ok=True)


def merge_parts(study_dir: Path, more_than: int = 64) -> None:
    """Rewrite the newest of many parts as one, so that reading stays quick, unless another process is at it.

    It takes in older parts for as long as one is no larger than all newer ones together. So n parts of equal size,
    merged as they come, leave about log₂(n / 64) besides the newest, and each row is rewritten about as often.

    The merged part is a new file, whose name takes the newest's place in the order; the others go once it is there.
    ``read`` drops what stands twice, so that a kill in between loses nothing.
    """
    many = [(table, columns) for table, columns in TABLES if len(_parts(study_dir / table)) > more_than]
    with suppress(Timeout):
        for table, columns in many:
            with lock(study_dir / f".merging_{table}", 0.0):
                _merge(_parts(study_dir / table), columns, more_than // 2)


def _merge(parts: Sequence[Path], columns: Sequence[Column], fewest: int) -> None:
    total, count = 0, 0
    for path in reversed(parts):
        size = path.stat().st_size
        if count > fewest and size > total:
            break
        total, count = total + size, count + 1
    newest = parts[-count:]
    whole = pa.concat_tables([_read_part(path, columns) for path in newest])
    name = f"{newest[-1].stem.partition('_')[0]}_{uuid.uuid4().hex[:8]}.parquet"  # right behind the newest
    _write(newest[-1].with_name(name), whole.combine_chunks())
    for path in newest:
        path.unlink(missing_ok=True)


def _rewrite(folder: Path, parts: Sequence[Path], whole: pa.Table) -> None:
    """Put one part in the place of others."""
    _write(folder / _new_name(), whole.combine_chunks())
    for path in parts:
        path.unlink()


TABLES = (("outcomes", OUTCOMES), ("curves", CURVE), ("records", RECORD))
"""In the order in which they are written: the records make runs count."""


def join(source: Path, target: Path) -> None:
    """Put a study's runs and weights beside those of another; only the holder of the target's lock may.

    Records that the target has already are left out, and with them their curves, so that joining again adds only what
    is new, however the source has been merged since.

    Raises:
        InputError: a part is damaged or not ours, or the target cannot be written.
    """
    there = {_key(row) for row in _read_table(target / "records", RECORD).select(KEY).to_pylist()}
    records = _read_table(source / "records", RECORD)
    is_new = [_key(row) not in there for row in records.select(KEY).to_pylist()]
    records = records.filter(pa.array(is_new, pa.bool_()))
    name, ids = _new_name(), pc.unique(records["run_id"])
    for table, columns in TABLES:
        rows = records
        if table != "records":
            whole = _read_table(source / table, columns)
            rows = whole.filter(pc.is_in(whole["run_id"], value_set=ids))
        if len(rows):
            _write(target / table / name, rows.combine_chunks())
    for path in sorted((source / "weights").glob("*")):
        if path.suffix in (".safetensors", ".json") and not (target / "weights" / path.name).exists():
            write_file(target / "weights" / path.name, path.read_bytes())


KEY = ["run_id", "status", "finished_at"]
"""Columns that tell one training of a run from another."""


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


class Wanted(NamedTuple):
    """What a run is here, wherever it was trained: nothing of this enters its id."""

    stage: Stage
    arm: str
    """The optimizer's label."""
    optimizer: str
    """Its configuration."""
    search: str | None
    comparison: str


def adopt(
    study_dir: Path, others: Sequence[Path], wanted: Mapping[str, Wanted], say: Callable[[str], object] = print
) -> int:
    """Take completed and diverged runs from other studies as one part; how many those are.

    Args:
        study_dir: where they are lacking; its lock is held.
        others: studies that may have them; one that cannot be read is left out, with a line.
        wanted: ids of the runs, and what each is here.
        say: gets a line for each study that is left out.
    """
    found: dict[str, list[pa.Table]] = {table: [] for table, _ in TABLES}
    taken: set[str] = set()
    for other in others:
        try:
            if wanted.keys().isdisjoint(_ids(other)):
                continue
            records = _read_table(other / "records", RECORD)
            more = {table: _read_table(other / table, columns) for table, columns in TABLES[:-1]}
        except InputError as error:
            say(f"{other}: not searched for runs that are wanted here, since it is damaged: {error}")
            continue
        ids = records.column("run_id").to_pylist()
        done = [
            i not in taken and i in wanted and status in ("completed", "diverged")
            for i, status in zip(ids, records.column("status").to_pylist(), strict=True)
        ]
        if not any(done):
            continue
        fresh = pa.array({i for i, is_done in zip(ids, done, strict=True) if is_done}, TEXT)
        rows = records.filter(pa.array(done))
        here = [wanted[i] for i in rows.column("run_id").to_pylist()]
        for name in Wanted._fields:
            values = pa.array([getattr(each, name) for each in here], TEXT)
            rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
        found["records"].append(rows)
        for table, own in more.items():
            found[table].append(own.filter(pc.is_in(own.column("run_id"), value_set=fresh)))
        taken |= set(fresh.to_pylist())
    name = _new_name()
    for table, _ in TABLES:
        if sum(map(len, found[table])):
            _write(study_dir / table / name, pa.concat_tables(found[table]))
    return len(taken)


def _ids(study_dir: Path) -> set[str]:
    """Return the IDs of all stored runs of a study, from one column of its records."""
    return stored_since(study_dir, ())[0]


def read_all(study_dirs: Sequence[Path]) -> Results:
    """What several folders hold together; of a run that stands in more than one the last counts.

    Raises:
        InputError: as ``read``.
    """
    found = [read(folder) for folder in study_dirs]
    records, curves = (pd.concat(frames, ignore_index=True) for frames in zip(*found, strict=True))
    return Results(
        counted(records),
        curves.drop_duplicates(["run_id", "step"], keep="last").reset_index(drop=True),
    )


def remove(study_dir: Path, run_ids: Collection[str]) -> None:
    """Remove runs with their curves and weights; only the holder of the study's lock may.

    The records go first, since a run counts by its record: a kill in between leaves curves that nobody reads.
    """
    for table, columns in (("records", RECORD), ("curves", CURVE), ("outcomes", OUTCOMES)):
        parts = _parts(study_dir / table)
        if parts:
            whole = pa.concat_tables([_read_part(path, columns) for path in parts])
            removed = pc.is_in(whole.column("run_id"), value_set=pa.array(run_ids, TEXT))
            _rewrite(study_dir / table, parts, whole.filter(pc.invert(removed)))
    for run_id in run_ids:
        for path in (study_dir / "weights").glob(f"{run_id}-*"):
            path.unlink()


def studies(path: Path) -> list[Path]:
    """The study folders at a path: itself, or those right below it.

    Raises:
        InputError: there is none.
    """
    if not path.is_dir():
        stored = Path("results") / str(path)
        if stored.is_dir():
            raise InputError(f"{path}: no such folder; did you mean {stored}?")
        raise InputError(f"{path}: no such folder; give results/<study>, or the folder that holds studies")
    found = [folder for folder in (path, *sorted(path.iterdir())) if (folder / "records").is_dir()]
    if not found:
        raise InputError(f"{path}: no stored runs here; `adamcmp sweep` and `adamcmp run` make some")
    return found
