"""The command ``export``: runs as files, or in a tracker."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from adamcmp.cli.app import Debug, Json, ResultFolders, add_json, print_line
from adamcmp.cli.spinner import show_status
from adamcmp.errors import InputError
from adamcmp.storage.backend import is_local, open_path

ExportFormat = StrEnum("ExportFormat", ["csv", "parquet", "mlflow", "tensorboard", "wandb", "optuna"])
"""Formats and trackers to which runs are exported."""


def export(
    results: ResultFolders,
    to: Annotated[ExportFormat, typer.Option(help="Target: files or a tracker.")],
    out: Annotated[Path | None, typer.Option(help="Output folder. Default: RESULTS/TARGET.", parser=open_path)] = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Export runs to CSV, Parquet, MLflow, TensorBoard, W&B, Optuna."""
    with show_status("writing"):
        from adamcmp.storage.records import find_studies, read_all
        from adamcmp.trackers import export as write

        folders = [folder for path in results for folder in find_studies(path)]
        where = out or results[0] / to.value
        if not is_local(where):
            raise InputError(f"export --to {to.value}: {where} is no folder of this machine; add --out FOLDER")
        count = write(read_all(folders), to.value, where)
    add_json(to=to.value, out=str(where), written=count)
    what = {"optuna": "trials"}.get(to.value, "runs")
    new = "new " if to.value in ("mlflow", "tensorboard", "wandb") else ""
    print_line(f"{where}: {count:,} {new}{what}; {EXPORT_HINTS[to.value].format(where=where)}")


EXPORT_HINTS = {
    "csv": "records.csv and curves.csv",
    "parquet": "records.parquet and curves.parquet",
    "optuna": "optuna-dashboard sqlite:///{where}/optuna.db shows them",
    "tensorboard": "tensorboard --logdir {where} shows them",
    "mlflow": "mlflow ui --backend-store-uri sqlite:///{where}/mlflow.db shows them, unless MLFLOW_TRACKING_URI is set",
    "wandb": "wandb sync {where}/wandb/offline-run-* uploads them",
}
