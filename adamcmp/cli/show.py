"""The command ``show``: the settings of a configuration and their origins, or stored results."""

from __future__ import annotations

from typing import Annotated

import typer

from adamcmp.cli.app import ConfigDir, Debug, Json, Overrides, add_json, complete_names, print_line
from adamcmp.cli.code import Framework, code
from adamcmp.cli.listing import settings_lines
from adamcmp.storage.backend import open_path


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
