"""Commands that show configurations and data: list, show, show-data."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from adamcmp.cli.app import ConfigDir, ConfigName, Debug, Json, Overrides, answer, complete, present, say
from adamcmp.cli.showing import show_summary
from adamcmp.errors import InputError, closest
from adamcmp.status import status
from adamcmp.store import at

FOLDERS = {
    "configs": "", "optimizers": "optimizer", "frameworks": "optimizer/framework", "models": "model",
    "schedules": "schedule", "studies": "study", "executors": "execute", "searches": "search",
}  # fmt: skip


class Framework(StrEnum):
    """What a recipe is written for."""

    torch = "torch"
    optax = "optax"
    keras = "keras"


class Group(StrEnum):
    """What ``adamcmp list`` lists."""

    configs = "configs"
    optimizers = "optimizers"
    frameworks = "frameworks"
    models = "models"
    data = "data"
    schedules = "schedules"
    studies = "studies"
    executors = "executors"
    searches = "searches"
    claims = "claims"


def list_(
    group: Annotated[
        str | None,
        typer.Argument(help=f"{', '.join(Group)}; all without it.", autocompletion=lambda: list(Group)),
    ] = None,
    config_dir: ConfigDir = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """List what there is to choose from."""
    from adamcmp import console
    from adamcmp.config.sources import options

    if group is not None and group not in set(Group):
        raise InputError(f"list {group}: there is no such list; {closest(group, Group)}")
    for each in [group] if group else list(Group):
        if each == Group.claims:
            from adamcmp.studies.claims import statements

            named = {one.name: one.text for one in statements()}
        else:
            named = console.options_named(options(FOLDERS.get(each, each), config_dir))
        answer(**{str(each): named})
        present(console.named_table(each, named))


def _full_batches(overrides: Sequence[str]) -> list[str]:
    """Return overrides with a batch size that no data set is too small for, unless one is given."""
    given = any(text.lstrip("+").startswith("train.batch_size") for text in overrides)
    return [*overrides, *([] if given else ["train.batch_size=full"])]


def show_data(
    config: ConfigName,
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Show how data and model are understood: columns, classes, missing values, splits, parameters. Trains nothing."""
    from adamcmp.execute.session import open_session

    with status("loading data") as doing:
        opened = open_session(
            config, _full_batches(overrides or []), results_dir=Path("no results"), config_dir=config_dir, device=None,
            dry_run=True, say=doing,
        )  # fmt: skip
    answer(notes=list(opened.notes))
    show_summary(opened, opened.plan.runs, err=False)


def show(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG",
            help="A name or YAML file; with --best results/STUDY.",
            autocompletion=complete("", "study"),
        ),
    ],
    overrides: Overrides = None,
    best: Annotated[
        str | None, typer.Option("--best", metavar="ARM", help="The code of this optimizer's best cell in RESULTS.")
    ] = None,
    framework: Annotated[
        list[Framework] | None, typer.Option(help="Of --best: only in this one; may be repeated.")
    ] = None,
    config_dir: ConfigDir = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Show a resolved configuration and where each value comes from; or, with --best, how to train as the best did."""
    if best is not None:
        _show_recipe(at(config), best, framework or list(Framework))
        return
    from adamcmp import console
    from adamcmp.config import compose
    from adamcmp.config.build import typed
    from adamcmp.config.sources import locate
    from adamcmp.config.sweeps import single

    single(config, overrides or [])
    source = locate(config, config_dir)
    composed = compose.compose(source, overrides or [])
    typed(composed, source)
    origins = compose.origins(source, overrides or [])
    leaves = list(compose.leaves(composed.values))
    answer(config=source.name, settings=dict(leaves), origins=origins)
    present(console.settings_table(source.name, leaves, origins))


def _show_recipe(results: Path, arm: str, frameworks: Sequence[Framework]) -> None:
    """Print how an arm's best cell is trained, as code."""
    from adamcmp.records import read_records, studies
    from adamcmp.report.recipe import best_recipes

    for study_dir in studies(results):
        texts = best_recipes(read_records(study_dir), arm, frameworks)
        answer(recipes=texts)
        for text in texts:
            say(text)
