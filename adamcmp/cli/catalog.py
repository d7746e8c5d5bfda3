"""Commands that show configurations and data: list, show, show-data."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from adamcmp.cli.app import (
    ConfigDir,
    ConfigName,
    Debug,
    Json,
    Overrides,
    add_json,
    complete_names,
    print_line,
    print_note,
)
from adamcmp.cli.listing import descriptions, settings_lines, text_table
from adamcmp.cli.spinner import show_status
from adamcmp.cli.summary import show_summary
from adamcmp.errors import InputError, suggest_names
from adamcmp.storage.backend import open_path

GROUP_FOLDERS = {
    "configs": "", "optimizers": "optimizer", "frameworks": "optimizer/framework", "models": "model", "data": "data",
    "schedules": "schedule", "studies": "study", "executors": "execute", "searches": "search", "claims": "",
}  # fmt: skip
"""Groups that ``adamcmp list`` shows, and where their files are; claims are modules."""


Framework = StrEnum("Framework", ["torch", "optax", "keras"])
"""Frameworks for which training code can be printed."""


def list_(
    group: Annotated[
        str | None,
        typer.Argument(help=f"{', '.join(GROUP_FOLDERS)}. Default: all.", autocompletion=lambda: list(GROUP_FOLDERS)),
    ] = None,
    config_dir: ConfigDir = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """List configurations, optimizers, models, data sets, studies."""
    from adamcmp.config.lookup import list_group

    if group is not None and group not in GROUP_FOLDERS:
        raise InputError(f"list {group}: no such list; {suggest_names(group, GROUP_FOLDERS)}")
    for member in [group] if group else GROUP_FOLDERS:
        if member == "claims":
            from adamcmp.claims import claim_sentences

            named = claim_sentences()
        else:
            named = descriptions(list_group(GROUP_FOLDERS[member], config_dir))
        add_json(**{member: named})
        if group is None:
            print_line(f"{'' if member == 'configs' else chr(10)}{member}")
        for line in text_table(("name", "description"), list(named.items())):
            print_line(line)


def _full_batches(overrides: Sequence[str]) -> list[str]:
    """Return overrides with a batch size that no data set is too small for, unless one is given."""
    has_batch_size = any(text.lstrip("+").startswith("train.batch_size") for text in overrides)
    return [*overrides, *([] if has_batch_size else ["train.batch_size=full"])]


def show_data(
    config: ConfigName,
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Show how data and model are read: columns, splits, sizes."""
    from adamcmp.execute.session import open_session

    try:
        with show_status("loading data") as doing:
            opened = open_session(
                config, _full_batches(overrides or []), results_dir=Path("no results"), config_dir=config_dir,
                device=None, dry_run=True, say=doing,
            )  # fmt: skip
            opened.prepare(opened.plan.runs, doing)
    except InputError as error:
        from adamcmp.cli.plan_view import summary_lines

        for line in summary_lines(error.summary):
            print_note(line, err=False)
        raise
    add_json(notes=list(opened.notes))
    show_summary(opened, opened.plan.runs, err=False, always=True)


def show(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG",
            help="Name of a built-in configuration (see `adamcmp list configs`) or path to a YAML file.",
            autocompletion=complete_names("", "study"),
        ),
    ],
    overrides: Overrides = None,
    best: Annotated[str | None, typer.Option("--best", metavar="OPTIMIZER", hidden=True)] = None,
    framework: Annotated[list[Framework] | None, typer.Option(hidden=True)] = None,
    config_dir: ConfigDir = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Print a resolved configuration and the source of each value."""
    if best is not None:  # the name that `adamcmp code` had
        code(open_path(config), best, framework)
        return
    from adamcmp.config.compose import compose
    from adamcmp.config.lookup import find_config
    from adamcmp.config.origins import flatten, value_origins
    from adamcmp.config.overrides import require_single_run
    from adamcmp.config.validate import validate_config

    require_single_run(config, overrides or [])
    source = find_config(config, config_dir)
    composed = compose(source, overrides or [])
    validate_config(composed, source)
    origins = value_origins(source, overrides or [])
    leaves = list(flatten(composed.values))
    add_json(config=source.name, settings=dict(leaves), origins=origins)
    print_line("\n".join(settings_lines(leaves, origins)))


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
