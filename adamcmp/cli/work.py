"""The command ``work``: train runs of a saved plan, as a Slurm job does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adamcmp.cli.app import Debug, Json, Trust, add_json
from adamcmp.cli.spinner import show_status
from adamcmp.cli.sweep_stages import exit_code_of, run_sweep
from adamcmp.storage.backend import open_path


def work(
    study_dir: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS/STUDY", help="Folder with the plan that execute=slurm wrote.", parser=open_path
        ),
    ],
    trust: Trust = False,
    plan: Annotated[str | None, typer.Option(help="Trust the plan if its file has this SHA-256.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Run by Slurm jobs: train the missing runs of a submitted plan."""
    with show_status("starting"):
        from adamcmp.execute.session import Session
        from adamcmp.execute.slurm_jobs import PLAN_FILE
        from adamcmp.plan import saved_plan

        saved = saved_plan.read_plan(study_dir / PLAN_FILE, trust=trust, digest=plan)
        opened = Session(saved.plan.here(), study_dir, words=saved.words)
    records = run_sweep(opened, None)
    add_json(folder=str(study_dir), runs=records["status"].value_counts().to_dict())
    raise typer.Exit(exit_code_of(records))
