"""Export of stored runs to trackers: one run of a tracker per run, grouped by study.

``adamcmp export`` writes stored runs; ``log=…`` has a sweep export them every few seconds. Both write the settings of a
run, its curves under the names of ``schema.CURVE``, and its final values under those of ``schema.RECORD``. Runs that a
tracker already has are not written again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from adamcmp.errors import InputError, one_line
from adamcmp.extras import require_extra
from adamcmp.storage.records import Results
from adamcmp.storage.schema import METRICS
from adamcmp.text_safety import escape_csv_cell

SCALAR_TYPES = ("lr", "weight_decay", "beta1", "beta2", "momentum", "eps", "seed", "batch_size", "steps")
NAMES = ("arm", "optimizer", "schedule", "decay", "data", "model", "stage", "precision")
SHOWN_COLUMNS = ("arm", "lr", "weight_decay", "seed", "stage")
"""Columns of TensorBoard's table, which has room for few: all others are in its text."""
FINAL_METRICS = ("final_validation_error", "final_test_error", "final_gap")
"""Final values of a run, in addition to its curves."""


class TrackedRun(NamedTuple):
    """One run, as trackers take it."""

    id: str
    study: str
    name: str
    settings: dict[str, float | int | str]
    ends: dict[str, float]
    """Final values; empty unless the run has completed."""
    status: str
    error: str
    curve: list[tuple[int, dict[str, float]]]
    """Steps, and the metrics of each."""
    ended_at: float
    """Seconds since 1970."""
    seconds: float


def to_tracked_runs(stored: Results) -> Iterator[TrackedRun]:
    """Yield stored runs, the first that ended first."""
    curves = dict(iter(stored.curves.groupby("run_id")))
    for row in stored.records.sort_values("finished_at").to_dict("records"):
        values = {name: row[name] for name in (*SCALAR_TYPES, *NAMES) if not pd.isna(row[name])}
        seed, cell = row["seed"], f"lr {row['lr']:.3g} λ {row['weight_decay']:.3g}"
        yield TrackedRun(
            id=row["run_id"],
            study=row["study"],
            name=f"{row['arm']} {cell} seed {seed}",
            settings=values,
            ends={name: float(row[name]) for name in FINAL_METRICS if not pd.isna(row[name])},
            status=row["status"],
            error="" if pd.isna(row["error"]) else str(row["error"]),
            curve=[] if row["run_id"] not in curves else _curve(curves[row["run_id"]]),
            ended_at=row["finished_at"].timestamp(),
            seconds=0.0 if pd.isna(row["seconds"]) else float(row["seconds"]),
        )


def _curve(rows: pd.DataFrame) -> list[tuple[int, dict[str, float]]]:
    names = [*(metric[0] for metric in METRICS), "weight_norm"]
    points = []
    for row in rows.to_dict("records"):
        more = json.loads(row["metrics"]) if isinstance(row["metrics"], str) else {}
        values: dict[str, Any] = {name: row[name] for name in names} | more
        points.append((int(row["step"]), {k: float(v) for k, v in values.items() if not pd.isna(v)}))
    return points


def to_tensorboard(stored: Results, where: Path) -> int:
    """Write one event file per run, with its settings for the HPARAMS page; return the number of new ones."""
    with require_extra("export --to tensorboard", "tensorboard"):
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams
    count = 0
    for run in to_tracked_runs(stored):
        folder = where / _safe_name(run.study) / f"{_safe_name(run.name)} {run.id}"
        if folder.exists():
            continue
        count += 1
        with SummaryWriter(str(folder)) as writer:
            start, last = run.ended_at - run.seconds, run.curve[-1][0] if run.curve else 1
            for step, values in run.curve:
                at = start + run.seconds * step / last
                for name, value in values.items():
                    writer.add_scalar(name.replace("_", "/", 1), value, step, at)
            ends = {name: run.ends[name] for name in FINAL_METRICS[:2] if run.ends}
            hyperparameters = {name: run.settings[name] for name in SHOWN_COLUMNS if name in run.settings}
            writer.add_text("settings", "\n".join(f"- {name}: {value}" for name, value in run.settings.items()))
            shown = hparams(hyperparameters, ends)  # type: ignore[no-untyped-call]  # it has no types
            for summary in shown:
                writer._get_file_writer().add_summary(summary)
            for name, value in ends.items():
                writer.add_scalar(name, value, last, run.ended_at)
    return count


def to_mlflow(stored: Results, where: Path) -> int:
    """Return a run for each run, in an experiment for each study, of ``MLFLOW_TRACKING_URI`` or a database in
    ``where``.
    """
    with require_extra("export --to mlflow", "mlflow"):
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.tracking import MlflowClient
    where.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{where.absolute()}/mlflow.db"))
    experiments: dict[str, tuple[str, set[str]]] = {}
    count = 0
    for tracked in to_tracked_runs(stored):
        if tracked.study not in experiments:
            existing = client.get_experiment_by_name(tracked.study)
            artifacts = (where.absolute() / "artifacts" / _safe_name(tracked.study)).as_uri()
            id_ = existing.experiment_id if existing else client.create_experiment(tracked.study, artifacts)
            client.set_experiment_tag(id_, "mlflow.experimentKind", "custom_model_development")  # opens on its runs
            experiments[tracked.study] = (id_, _runs_of(client, id_))
        experiment, there = experiments[tracked.study]
        if tracked.id in there:
            continue
        count += 1
        ended = round(1000 * tracked.ended_at)
        began = ended - round(1000 * tracked.seconds)
        tags = {
            "adamcmp.run_id": tracked.id,
            "adamcmp.status": tracked.status,
            "mlflow.note.content": tracked.error,
        }
        run = client.create_run(experiment, began, {k: v for k, v in tags.items() if v}, tracked.name)
        last = tracked.curve[-1][0] if tracked.curve else 1
        metrics = [
            Metric(name, value, began + round((ended - began) * step / last), step)
            for step, values in tracked.curve
            for name, value in values.items()
        ]
        metrics += [Metric(name, value, ended, last) for name, value in tracked.ends.items()]
        params = [Param(name, str(value)) for name, value in tracked.settings.items()]
        client.log_batch(run.info.run_id, (), params, [RunTag("adamcmp.study", tracked.study)])
        for i in range(0, len(metrics), 1000):
            client.log_batch(run.info.run_id, metrics[i : i + 1000])
        good = tracked.status in ("completed", "pruned")
        client.set_terminated(run.info.run_id, "FINISHED" if good else "FAILED", ended)
    return count


def _runs_of(client: Any, experiment: str) -> set[str]:
    """Return ids of the runs that an experiment holds."""
    ids, token = set[str](), None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        ids |= {run.data.tags.get("adamcmp.run_id", "") for run in page}
        token = page.token
        if not token:
            return ids


def to_wandb(stored: Results, where: Path) -> int:
    """Write one W&B run per run, in one group per study, and return the number of new ones.

    Runs are written offline unless ``WANDB_MODE`` is set otherwise.
    """
    with require_extra("export --to wandb", "wandb"):
        import wandb
    where.mkdir(parents=True, exist_ok=True)
    mode: Any = os.environ.get("WANDB_MODE", "offline")
    count = 0
    for tracked in to_tracked_runs(stored):
        if any(where.glob(f"wandb/*run-*-{tracked.id}")):
            continue
        count += 1
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True)
        run = wandb.init(project=os.environ.get("WANDB_PROJECT", "adamcmp"), group=tracked.study, name=tracked.name,
                         id=tracked.id, config=tracked.settings, dir=str(where), mode=mode, reinit="finish_previous",
                         tags=[tracked.status], settings=settings)  # fmt: skip
        for step, values in tracked.curve:
            run.log(values, step=step)
        run.summary.update({**tracked.ends, "status": tracked.status})
        run.finish(exit_code=0 if tracked.status in ("completed", "pruned") else 1)
    return count


def to_csv(stored: Results, where: Path) -> int:
    """Write ``records.csv`` and ``curves.csv``, whose texts no spreadsheet takes for a formula; return the number of
    runs.
    """
    where.mkdir(parents=True, exist_ok=True)
    for name, frame in stored._asdict().items():
        texts = {
            column: frame[column].map(escape_csv_cell, na_action="ignore")
            for column in frame
            if not _is_number(frame[column])
        }
        frame.assign(**texts).to_csv(where / f"{name}.csv", index=False)
    return len(stored.records)


def _is_number(column: pd.Series[Any]) -> bool:
    kinds = pd.api.types
    return kinds.is_numeric_dtype(column) or kinds.is_bool_dtype(column) or kinds.is_datetime64_any_dtype(column)


def to_parquet(stored: Results, where: Path) -> int:
    """Write ``records.parquet`` and ``curves.parquet``, each whole; return the number of runs."""
    where.mkdir(parents=True, exist_ok=True)
    for name, frame in stored._asdict().items():
        frame.to_parquet(where / f"{name}.parquet", index=False)
    return len(stored.records)


def to_optuna(stored: Results, where: Path) -> int:
    """Write ``optuna.db``: one study per optimizer and task, one trial per trial with the mean validation error; return
    the number of new ones.
    """
    import optuna

    from adamcmp.analysis import split_by_task, task_metrics, trials_table

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    where.mkdir(parents=True, exist_ok=True)
    (where / "optuna.db").unlink(missing_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{where.absolute()}/optuna.db")
    count = 0
    for task in split_by_task(stored.records):
        error, table = task_metrics(task.records).error, trials_table(task.records)
        for arm, arm_rows in table.groupby("arm"):
            way = optuna.study.StudyDirection
            direction = way.MAXIMIZE if error.higher_is_better else way.MINIMIZE
            study = optuna.create_study(storage=storage, study_name=f"{task.label} | {arm}", direction=direction)
            ranges = {name: (arm_rows[name].min(), arm_rows[name].max()) for name in ("lr", "weight_decay")}
            distributions: dict[str, Any] = {
                name: optuna.distributions.FloatDistribution(float(low), float(high), log=bool(low > 0))
                for name, (low, high) in ranges.items()
            }
            for row in arm_rows.to_dict("records"):
                value, good = row["final_validation_error"], bool(row["eligible"])
                state = optuna.trial.TrialState.COMPLETE if good else optuna.trial.TrialState.FAIL
                params = {name: float(row[name]) for name in ranges}
                seen = {
                    name: row[name]
                    for name in ("n", "diverged", "failed", "final_test_error")
                    if row[name] == row[name]
                }
                study.add_trial(optuna.trial.create_trial(
                    state=state, value=float(value) if good else None, params=params, distributions=distributions,
                    user_attrs={k: float(v) for k, v in seen.items()},
                ))  # fmt: skip
                count += 1
    return count


EXPORTERS: Mapping[str, Callable[[Results, Path], int]] = {
    "csv": to_csv,
    "parquet": to_parquet,
    "optuna": to_optuna,
    "tensorboard": to_tensorboard,
    "mlflow": to_mlflow,
    "wandb": to_wandb,
}
"""Formats of ``adamcmp export`` by name; each returns the number of new runs (or trials)."""


def export(stored: Results, to: str, where: Path) -> int:
    """Export stored runs as ``to`` into a folder; return the number of new ones.

    Raises:
        InputError: its package is not installed, or it cannot be written.
    """
    try:
        return EXPORTERS[to](stored, where)
    except OSError as error:
        raise InputError(f"export --to {to}: {where} cannot be written: {one_line(error)}") from error


def _safe_name(name: str) -> str:
    """Return a name as one of a folder, which leads nowhere else."""
    return (
        "".join(character if character.isalnum() or character in " .-+=" else "_" for character in name).lstrip(".")
        or "_"
    )
