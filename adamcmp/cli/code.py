"""The command ``code``: the best training as code for a framework."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from adamcmp.cli.app import Debug, Json, add_json, print_line
from adamcmp.storage.backend import open_path

Framework = StrEnum("Framework", ["torch", "optax", "keras"])
"""Frameworks for which training code can be printed."""


def code(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="results/STUDY, or the folder above studies.", parser=open_path)
    ],
    optimizer: Annotated[str, typer.Option(help="An optimizer, by its label or its configuration's name.")],
    framework: Annotated[
        list[Framework] | None, typer.Option(help="Only for this framework (repeatable). Default: all.")
    ] = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Print training code with the selected hyperparameters."""
    from adamcmp.report.code_recipes import best_training_code
    from adamcmp.storage.records import find_studies, read_records

    for study_dir in find_studies(results):
        texts = best_training_code(read_records(study_dir), optimizer, framework or list(Framework))
        add_json(recipes=texts)
        for text in texts:
            print_line(text)
