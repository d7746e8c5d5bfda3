"""The command ``show-data``: how data and model are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adamcmp.cli.app import ConfigDir, ConfigName, Debug, Json, Overrides, add_json, print_note
from adamcmp.cli.spinner import show_status
from adamcmp.cli.summary import show_summary
from adamcmp.errors import InputError


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
