"""Numbers from stored records: means over seeds, selection, confidence intervals, verdicts. No files, no figures, no
torch.

``selection`` turns the records of a task into trials (one row per optimizer, lr and λ) and selects the best of each
optimizer. ``leaderboard`` summarizes them, ``verdicts`` compares pairs, ``curves`` averages learning curves, and
``intervals`` has the statistics that all of them use.
"""

from adamcmp.analysis.boundaries import grid_boundaries, next_grid_values
from adamcmp.analysis.curves import mean_curves
from adamcmp.analysis.extra_metric_tables import extra_metric_curves, extra_metrics_table
from adamcmp.analysis.intervals import holm
from adamcmp.analysis.leaderboard import leaderboard
from adamcmp.analysis.selection import (
    BASELINE,
    METRICS,
    TRIAL_KEY,
    TaskRecords,
    best_trials,
    has_tuning,
    held_out_runs,
    name_arms,
    reported_runs,
    split_by_task,
    trials_table,
    tuning_runs,
)
from adamcmp.analysis.time_to_target import time_to_target_table
from adamcmp.analysis.verdicts import Verdict, verdicts
from adamcmp.metrics.spec import task_metrics

__all__ = [
    "BASELINE",
    "METRICS",
    "TRIAL_KEY",
    "TaskRecords",
    "Verdict",
    "best_trials",
    "extra_metric_curves",
    "extra_metrics_table",
    "grid_boundaries",
    "has_tuning",
    "held_out_runs",
    "holm",
    "leaderboard",
    "mean_curves",
    "name_arms",
    "next_grid_values",
    "reported_runs",
    "split_by_task",
    "task_metrics",
    "time_to_target_table",
    "trials_table",
    "tuning_runs",
    "verdicts",
]
