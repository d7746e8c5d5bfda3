"""What a report imports, so that it can be imported while processes train."""

import matplotlib.backends.backend_agg
import matplotlib.backends.backend_pdf
import matplotlib.backends.backend_svg

import adamcmp.report.heatmap
import adamcmp.report.learning_curves
import adamcmp.report.scatter
import adamcmp.report.sensitivity

__all__ = ["adamcmp", "matplotlib"]
