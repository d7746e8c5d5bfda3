"""Columns of the stored tables: records, curves and per-example test errors.

docs/reference/records.md shows these tables. ``SCHEMA_VERSION`` is part of every run ID.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

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
    """Former name of the column within this schema version."""
    form: str | None = None
    """Regular expression of the whole of a text; without one, any text on one line."""


TEXT, REAL, INTEGER, BOOLEAN, TIME = pa.string(), pa.float64(), pa.int64(), pa.bool_(), pa.timestamp("us", tz="UTC")
HASH = r"[0-9a-f]{1,64}"
NAME = r"\w[\w .+=-]{0,99}"
"""Name of a folder."""
VERSION = r"[0-9A-Za-z.+!_~-]{1,64}"
DOTTED = r"[\w.:-]{1,200}"
"""Word, or dotted name of a class."""
ON_ONE_LINE = r"[^\x00-\x1f\x7f\x85\u2028\u2029]*"
LINES = r"[^\x00-\x08\x0b-\x1f\x7f]*"
SPLITS = ("train", "validation", "test")
METRICS: tuple[tuple[str, str, str], ...] = tuple(
    (f"{part}_{metric}", unit, f"{text} on the {part} examples")
    for part in SPLITS
    for metric, unit, text in (
        ("loss", "loss", "mean loss (column loss)"),
        ("error", "error", "the error (columns error_metric, error_unit)"),
    )
)
"""(name, unit, meaning) of the metrics of every evaluation; units are those of the task's loss and metric."""


def _columns_at(prefix: str, when: str) -> list[Column]:
    metrics = [Column(f"{prefix}_{name}", REAL, unit, f"{text}, {when}") for name, unit, text in METRICS]
    text = "generalization gap: test error minus train error, positive if the test error is worse"
    gap = Column(f"{prefix}_gap", REAL, "error", f"{text}, {when}")
    text = "cross-entropy in bits for each byte of text"
    bits = [Column(f"{prefix}_{part}_bits_per_byte", REAL, "bit", f"{text}, {part}, {when}", True) for part in SPLITS]
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
    Column("rule", TEXT, "", "its file in adamcmp/optim/rules, or the path of a custom class", form=DOTTED),
    Column("schedule", TEXT, "", "schedule configuration"),
    Column("lr", REAL, "", "peak learning rate α"),
    Column("weight_decay", REAL, "", "λ in the convention of the column decay"),
    Column("decay", TEXT, "", "decay convention, such as l2 or lr_scaled", form=DOTTED),
    Column("decayed", TEXT, "", "which parameters are decayed: all or no_bias_norm", form=DOTTED),
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
    Column("eps_placement", TEXT, "", "ε after or before the bias correction", form=DOTTED),
    Column("bias_correction", BOOLEAN, "", "moments are bias-corrected"),
    Column("batch_size", INTEGER, "example", "B"),
    Column("steps", INTEGER, "step", "T, the budget"),
    Column("epochs", REAL, "epoch", "the budget in passes of ⌊N/B⌋ steps"),
    Column("precision", TEXT, "", "fp32, bf16 or fp64", form=DOTTED),
    Column("settings", TEXT, "", "all settings as JSON"),
    *_columns_at("final", "after the last step"),
    *_columns_at("best", "at the evaluation with the best validation error (then loss, then step)"),
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
        form=DOTTED,
    ),
    Column("error_metric", TEXT, "", "what runs are compared by: error_rate, rmse, mae, r2, …", True, form=DOTTED),
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
    Column(
        "engine",
        TEXT,
        "",
        "engine: sequential, vectorised with other runs in one program, script, function, or imported",
        form=DOTTED,
    ),
    Column(
        "engine_settings",
        TEXT,
        "",
        "how: rows of the program, compiled, matrix library, processes, threads, CUDA graphs; JSON",
    ),
    Column("engine_reason", TEXT, "", "why it was not vectorised, or not compiled although compilation was requested"),
    Column("device", TEXT, "", "where", form=DOTTED),
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


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the Parquet schema of a table; its version travels in the file's metadata."""
    fields = [pa.field(c.name, c.type, metadata={"unit": c.unit, "meaning": c.meaning}) for c in columns]
    return pa.schema(fields, metadata={"adamcmp_schema": str(SCHEMA_VERSION)})


TABLES = (("outcomes", OUTCOMES), ("curves", CURVE), ("records", RECORD))
"""In the order in which they are written: the records make runs count."""
CHECK_FILE = "check.json"
"""File of a study with the findings of the check of its script or function."""
