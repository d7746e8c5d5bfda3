"""adamcmp: compare optimizers on your model and data, with confidence intervals.

Data flow one way, one package per arrow::

    config → plan → data, models, optim → engine ← execute → storage
                                                   storage → analysis → report, figures

``config`` turns Hydra's YAML into typed settings, and ``plan`` turns a study into runs. ``data``, ``models`` and
``optim`` are the parts of a training, ``metrics`` its losses and metrics, and ``engine`` trains. ``execute`` schedules
runs and writes results, ``storage`` is the file format. ``analysis``, ``report`` and ``figures`` work from stored files
without torch. ``studies`` and ``claims`` are what ``adamcmp reproduce`` offers, ``conformance`` checks other libraries,
and ``cli`` is the command line. docs/architecture.md has the map.

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
    """Return the stored runs of a study, or of all studies below a folder, as two pandas frames.

    Args:
        results: ``results/<study>``, or the folder above it; or the URL of one.

    Returns:
        ``records``, one row per run, and ``curves``, one row per evaluation; docs/file-formats.md lists the columns.

    Raises:
        adamcmp.errors.InputError: nothing is stored there, or a file is damaged or not ours.
    """
    from adamcmp.storage.backend import open_path
    from adamcmp.storage.records import (  # imported here, so that `adamcmp --help` answers at once
        find_studies,
        read_all,
    )

    return read_all(find_studies(open_path(results)))
