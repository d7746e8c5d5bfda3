"""Imports of a report, which can happen while processes train."""

import matplotlib.backends.backend_agg
import matplotlib.backends.backend_pdf
import matplotlib.backends.backend_svg

import adamcmp.figures.registry

__all__ = ["adamcmp", "matplotlib"]
