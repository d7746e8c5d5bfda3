"""From records to numbers: cells over seeds, selection on validation, intervals. No figures, no files, no torch.

``selection`` takes the records of a task and hands on cells (one row an arm, lr and λ) and the best of them,
``leaderboard`` what these are worth, ``verdicts`` what may be said of pairs; ``curves`` averages the winners' learning
curves; ``intervals`` holds the statistics they stand on.
"""

from adamcmp.analysis.curves import mean_curves, time_to_error
from adamcmp.analysis.intervals import Interval, Paired, holm, mean_interval, paired_difference
from adamcmp.analysis.leaderboard import leaderboard
from adamcmp.analysis.requested import requested, requested_curves
from adamcmp.analysis.selection import (
    BASELINE,
    CELL,
    METRICS,
    SELECTION_METRICS,
    Task,
    best_cells,
    beyond,
    by_task,
    cells,
    edge,
    has_tuning,
    judged,
    name_arms,
    shown_runs,
    top_cells,
    tuning,
)
from adamcmp.analysis.verdicts import Verdict, verdicts
from adamcmp.metrics.spec import task_metrics

__all__ = [
    "BASELINE",
    "CELL",
    "METRICS",
    "SELECTION_METRICS",
    "Interval",
    "Paired",
    "Task",
    "Verdict",
    "best_cells",
    "beyond",
    "by_task",
    "cells",
    "edge",
    "has_tuning",
    "holm",
    "judged",
    "leaderboard",
    "mean_curves",
    "mean_interval",
    "name_arms",
    "paired_difference",
    "requested",
    "requested_curves",
    "shown_runs",
    "task_metrics",
    "time_to_error",
    "top_cells",
    "tuning",
    "verdicts",
]
