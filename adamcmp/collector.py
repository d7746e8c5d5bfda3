"""Python's collector of cycles: spared while modules are imported, as usual while models are trained.

Importing torch makes a million objects that stay, and the collector looks through them again and again. Cycles that a
custom model leaves behind may hold tensors, so that training has the usual thresholds.
"""

from __future__ import annotations

import gc

USUAL = gc.get_threshold()
SPARED = (100_000, 50, 1000)
"""Objects and collections between two collections of each generation, while little is freed."""


def spare() -> None:
    """Collect seldom."""
    gc.set_threshold(*SPARED)


def resume() -> None:
    """Collect as usual."""
    gc.set_threshold(*USUAL)
