"""Records and curves with known minima, shaped like the paper's Figure 2: no training, no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats

from adamcmp.storage.schema import CURVE, METRICS, RECORD, arrow_schema

DECAYS = {"Adam + L2": "l2", "AdamW": "lr_scaled", "SGD + L2": "l2", "SGDW": "lr_scaled"}
LRS = tuple(0.1 * 2.0**k for k in range(-10, 1, 2))
LAMBDAS = (0.0, *(0.001 * 2.0**k for k in range(-5, 6, 2)))


def make_records(
    arms: Mapping[str, str] | None = None,
    lrs: Sequence[float] = LRS,
    lambdas: Sequence[float] = LAMBDAS,
    seeds: Sequence[int] = (0, 1, 2),
    noise: float = 0.003,
    best_lr: float | None = None,
    best_lambda: float | None = None,
    **columns: object,
) -> pd.DataFrame:
    """All runs of arms × lrs × lambdas × seeds; the valley is diagonal for L2 and along the axes when decoupled."""
    arms = DECAYS if arms is None else arms
    index = pd.MultiIndex.from_product([list(arms), lrs, lambdas, seeds], names=["arm", "lr", "weight_decay", "seed"])
    frame = index.to_frame(index=False)
    positive = [x for x in lambdas if x > 0] or [1e-3]
    lr0 = best_lr or sorted(lrs)[len(lrs) // 2]
    lam0 = best_lambda or positive[len(positive) // 2]
    floor = np.where(frame["weight_decay"] > 0, frame["weight_decay"], min(positive) / 4)
    x, y = np.log2(floor / lam0), np.log2(frame["lr"] / lr0)
    l2 = frame["arm"].map(arms).str.startswith("l2").to_numpy()
    which = frame["arm"].map({arm: i for i, arm in enumerate(arms)}).to_numpy()
    distance = np.where(l2, 0.35 * (x + y) ** 2 + 0.04 * (x - y) ** 2, 0.10 * x**2 + 0.35 * y**2)
    rng = np.random.default_rng(0)
    base = 0.035 + 0.010 * l2 + 0.002 * which
    error = base + 0.30 * (1 - np.exp(-distance / 14)) + noise * rng.standard_normal(len(frame))
    error = error.clip(0.001, 0.95)
    frame["decay"] = frame["arm"].map(arms)
    frame["status"] = "completed"
    frame["data"], frame["model"], frame["task"], frame["study"] = "digits", "mlp", "7a5c1e", "synthetic"
    frame["task_label"] = "digits, mlp, 1000 steps, batch 100, fp32"
    frame["optimizer"] = frame["arm"]
    frame["variant"] = frame["arm"].map(hashed)
    frame["steps"], frame["epochs"], frame["batch_size"], frame["train_examples"] = 1000, 100.0, 100, 1000
    for when, shift in (("final", 0.0), ("best", -0.002)):
        frame[f"{when}_validation_error"] = error + shift
        frame[f"{when}_test_error"] = error + 0.004 + noise * rng.standard_normal(len(frame)) - shift / 4
        frame[f"{when}_train_error"] = error * 0.3
        for part, factor in (("train", 1.0), ("validation", 4.0), ("test", 4.2)):
            frame[f"{when}_{part}_loss"] = factor * frame[f"{when}_{part}_error"] ** 1.5 + 1e-4
        frame[f"{when}_gap"] = frame[f"{when}_test_error"] - frame[f"{when}_train_error"]
    frame["seconds"] = 1.0
    frame["finished_at"] = pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(np.arange(len(frame)), unit="s")
    frame["adamcmp_version"], frame["torch_version"], frame["python_version"] = "0.1.0", "2.9.0", "3.12.1"
    frame["command"] = "adamcmp sweep study=synthetic"
    frame["settings"] = [_settings(row) for row in frame.to_dict("records")]
    frame["rule"] = frame["arm"].map(lambda arm: "sgd" if str(arm).startswith("SGD") else "adam")
    frame["engine"], frame["device"], frame["precision"], frame["schedule"] = "vectorised", "cpu", "fp32", "cosine"
    for name, value in columns.items():
        frame[name] = value
    frame["run_id"] = [hashed(*key, frame["task"].iat[0]) for key in index]
    return typed(frame)


def hashed(*parts: object) -> str:
    """Something like the ID of a run."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _settings(row: Mapping[str, object]) -> str:
    """All settings of a run, as records have them."""
    arm = str(row["arm"])
    rule = (
        {"rule": "sgd", "momentum": 0.9, "nesterov": False, "lr_in_buffer": False}
        if arm.startswith("SGD")
        else {"rule": "adam", "betas": [0.9, 0.999], "eps": 1e-8, "eps_placement": "after", "bias_correction": True}
    )
    told = {"name": arm, "label": arm, "decay": row["decay"], "decayed": "all", "groups": []}
    return json.dumps(
        {
            "batch_size": 100,
            "eval_examples": [[1000, 400, 400]] * 2,
            "data_settings": {
                "arguments": {},
                "name": "digits",
                "source": None,
                "target": "adamcmp.data.digits.digits",
            },
            "model": {"arguments": {"hidden": [32]}, "name": "mlp", "target": "adamcmp.models.mlp.MLP"},
            "optimizer": {**rule, **told, "lr": row["lr"], "weight_decay": row["weight_decay"]},
            "precision": "fp32",
            "schedule": {"eta_min": 0, "kind": "cosine", "name": "cosine", "warmup_steps": 0},
            "seed": row["seed"],
            "steps": 1000,
            "targets": "classes",
        }
    )


def confirmed(records: pd.DataFrame, seeds: int = 8, noise: float = 0.003) -> pd.DataFrame:
    """With fresh seeds at the best cell of each arm, as a sweep leaves them."""
    from adamcmp.analysis import TRIAL_KEY, best_trials, trials_table

    draw, winners = np.random.default_rng(1), best_trials(trials_table(records))
    fresh = records.merge(winners[TRIAL_KEY]).groupby("arm").head(1)
    fresh = fresh.loc[fresh.index.repeat(seeds)].reset_index(drop=True)
    fresh["seed"], fresh["stage"] = 1_000_000 + fresh.groupby("arm").cumcount(), "confirm"
    for part in ("validation", "test"):
        fresh[f"final_{part}_error"] += noise * draw.standard_normal(len(fresh))
    fresh["run_id"] = [hashed("fresh", *key) for key in zip(fresh["arm"], fresh["seed"], strict=True)]
    return pd.concat([records.assign(stage="tune"), typed(fresh)], ignore_index=True)


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with all columns of a record, typed as they come back from disk."""
    return through_arrow(frame, RECORD)


def through_arrow(frame: pd.DataFrame, columns: Sequence[object]) -> pd.DataFrame:
    schema = arrow_schema(columns)  # type: ignore[arg-type]  # either table's columns
    full = frame.reindex(columns=schema.names)
    return pa.Table.from_pandas(full, schema=schema, preserve_index=False).to_pandas()


def end(records: pd.DataFrame, rows: pd.Series, status: str, error: str = "") -> pd.DataFrame:
    """The records with some runs ended as diverged or failed: their metrics are null."""
    changed = records.copy()
    measured = [name for name in changed if str(name).startswith(("final_", "best_"))]
    changed.loc[rows, measured] = np.nan
    changed.loc[rows, "status"] = status
    if status == "failed":
        changed.loc[rows, "error"] = error
    else:
        changed.loc[rows, "diverged_step"] = 17
    return changed


def make_curves(records: pd.DataFrame, evaluations: int = 25) -> pd.DataFrame:
    """Curves that fall from chance to the final numbers of each run."""
    steps = np.linspace(0, 1000, evaluations).astype(int)
    runs = records[records["status"] == "completed"]
    frame = pd.DataFrame({"run_id": runs["run_id"].repeat(evaluations).to_numpy(), "step": np.tile(steps, len(runs))})
    frame["epoch"] = frame["step"] / 10
    fall = np.exp(-frame["step"] / 120).to_numpy()
    for name, _, _ in METRICS:
        last = runs[f"final_{name}"].repeat(evaluations).to_numpy()
        frame[name] = last + ((0.9 if name.endswith("error") else 2.3) - last) * fall
    frame["weight_norm"] = 10.0
    return through_arrow(frame, CURVE)


def store(study_dir: Path, records: pd.DataFrame, curves: pd.DataFrame | None = None) -> Path:
    """A study's folder on disk, as a sweep leaves it."""
    for name, columns, frame in (("records", RECORD, records), ("curves", CURVE, curves)):
        if frame is not None:
            (study_dir / name).mkdir(parents=True, exist_ok=True)
            table = pa.Table.from_pandas(frame, schema=arrow_schema(columns), preserve_index=False)
            pq.write_table(table, study_dir / name / "part.parquet")
    return study_dir


def mean_interval(values):
    """Return mean, 95 % half width and number of values, by SciPy; NaN marks a missing value."""
    x = np.array([value for value in values if not np.isnan(value)])
    half = stats.t.ppf(0.975, len(x) - 1) * stats.sem(x) if len(x) > 1 else np.nan
    return x.mean(), half, len(x)
