"""The command ``merge``: join results folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adamcmp.cli.app import Debug, Json, ResultFolders, add_json, print_line
from adamcmp.cli.summary import print_damage
from adamcmp.storage.backend import open_path


def merge(
    results: ResultFolders,
    out: Annotated[Path, typer.Option(help="Folder for the merged studies.", parser=open_path)],
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Merge results folders, for example from two machines."""
    from adamcmp.execute.study_dir import merge_studies
    from adamcmp.storage.records import find_studies, read_records

    by_name: dict[str, list[Path]] = {}
    for path in results:
        for folder in find_studies(path):
            by_name.setdefault(folder.resolve().name, []).append(folder)
    for name, folders in by_name.items():
        merge_studies(out / name, [folder for folder in folders if folder.resolve() != (out / name).resolve()])
        count = len(read_records(out / name))
        print_damage([out / name])
        add_json(merged=[{"folder": str(out / name), "runs": count}])
        print_line(f"{out / name}: {count:,} runs")
