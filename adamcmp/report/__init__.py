"""From stored runs to tables, figures and the page. Takes ``records.read(study_dir)``, hands on files; never torch.

``document`` writes it all; ``tables`` and ``page`` make text; ``heatmap``, ``learning_curves``, ``sensitivity`` and
``scatter`` make one figure each in the look of ``style``; ``labels`` spells numbers, metrics and provenance.
matplotlib is imported by the figure modules alone.
"""

from adamcmp.report.document import FORMATS, Reported, write_report
from adamcmp.report.tables import grid_display, leaderboard_display, terminal

__all__ = ["FORMATS", "Reported", "grid_display", "leaderboard_display", "terminal", "write_report"]
