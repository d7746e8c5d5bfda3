"""Reports: from stored runs to tables, figures and the page; no torch.

``model`` computes everything that a report contains, ``report_writer`` writes it. ``tables`` and ``sections`` make
text, ``web`` the page for a browser, and ``formatting`` formats numbers and provenance. Figures are drawn by
``adamcmp.figures``.
"""

from adamcmp.report.report_input import ReportInput
from adamcmp.report.report_writer import FORMATS, write_report
from adamcmp.report.tables import grid_display, leaderboard_display

__all__ = ["FORMATS", "ReportInput", "grid_display", "leaderboard_display", "write_report"]
