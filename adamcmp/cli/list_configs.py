"""The command ``list``: configurations, optimizers, models, data sets, studies and claims."""

from __future__ import annotations

from typing import Annotated

import typer

from adamcmp.cli.app import ConfigDir, Debug, Json, add_json, print_line
from adamcmp.cli.listing import descriptions, text_table
from adamcmp.errors import InputError, suggest_names

GROUP_FOLDERS = {
    "configs": "", "optimizers": "optimizer", "frameworks": "optimizer/framework", "models": "model", "data": "data",
    "schedules": "schedule", "studies": "study", "executors": "execute", "searches": "search", "claims": "",
}  # fmt: skip
"""Groups that ``adamcmp list`` shows, and where their files are; claims are modules."""


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
