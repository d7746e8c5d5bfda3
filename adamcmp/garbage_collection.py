"""Python's collector of cycles: spared while modules are imported, as usual while models are trained.

Importing torch makes a million objects that stay, and the collector looks through them again and again. Cycles that a
custom model leaves behind may hold tensors, so that training has the usual thresholds.
"""

from __future__ import annotations

import gc

DEFAULT_THRESHOLDS = gc.get_threshold()
IMPORT_THRESHOLDS = (100_000, 50, 1000)
"""Objects and collections between two collections of each generation, while little is freed."""


def collect_seldom() -> None:
    """Collect seldom."""
    gc.set_threshold(*IMPORT_THRESHOLDS)


def restore_thresholds() -> None:
    """Collect as usual."""
    gc.set_threshold(*DEFAULT_THRESHOLDS)
