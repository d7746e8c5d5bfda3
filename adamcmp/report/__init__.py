"""From stored runs to tables, figures and the page. Takes ``records.read(study_dir)``, hands on files; never torch.

``reported`` reckons all that is told, ``document`` writes it; ``tables`` and ``page`` make text, ``web`` the page for a
browser; ``labels`` spells numbers and provenance. Figures are drawn by ``adamcmp.figures``.
"""

from adamcmp.report.model import ReportInput
from adamcmp.report.report_writer import FORMATS, write_report
from adamcmp.report.tables import grid_display, leaderboard_display

__all__ = ["FORMATS", "ReportInput", "grid_display", "leaderboard_display", "write_report"]
