"""adamcmp: compare optimizers on your model and data, with evidence.

The way that data takes, one function an arrow, never back::

    config.compose → plan.expand → plan.cohorts → engine.train → records.append
                   → analysis (select, aggregate) → report (tables, figures)

``config`` turns Hydra's YAML into typed settings; ``plan`` turns a study into runs; ``data`` and ``models`` hold
what is trained, ``optim`` the update rules, ``engine`` the training, ``execute`` the driver that stores what comes
back; ``records`` is the file format; ``analysis`` and ``report`` work from stored files alone, without torch;
``find_studies`` holds what ``adamcmp reproduce`` offers; ``cli`` and ``console`` face the user.

The public API is ``adamcmp.load``::

    records, curves = adamcmp.load("results/figure2")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adamcmp import renamed

if TYPE_CHECKING:
    from adamcmp.storage.records import Results

renamed.install()

__all__ = ["load"]


def load(results: str | Path) -> Results:
    """The stored runs of a study, or of all studies below a folder, as two pandas frames.

    Args:
        results: ``results/<study>``, or the folder above it; or the URL of one.

    Returns:
        ``records``, one row a run, and ``curves``, one row an evaluation; docs/file-formats.md lists the columns.

    Raises:
        adamcmp.errors.InputError: nothing is stored there, or a file is damaged or not ours.
    """
    from adamcmp.storage.backend import open_path
    from adamcmp.storage.records import (  # imported here, so that `adamcmp --help` answers at once
        find_studies,
        read_all,
    )

    return read_all(find_studies(open_path(results)))
