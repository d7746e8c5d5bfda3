"""From records to numbers: cells over seeds, selection on validation, intervals. No figures, no files, no torch.

``selection`` takes the records of a task and hands on cells (one row an arm, lr and λ) and the best of them,
``leaderboard`` what these are worth, ``verdicts`` what may be said of pairs; ``curves`` averages the winners' learning
curves; ``intervals`` holds the statistics they stand on.
"""

from adamcmp.analysis.curves import mean_curves, time_to_target_table
from adamcmp.analysis.extra_metric_tables import extra_metric_curves, extra_metrics_table
from adamcmp.analysis.intervals import Interval, Paired, holm, mean_interval, paired_difference
from adamcmp.analysis.leaderboard import leaderboard
from adamcmp.analysis.selection import (
    BASELINE,
    METRICS,
    SELECTION_METRICS,
    TRIAL_KEY,
    TaskRecords,
    best_trials,
    grid_boundaries,
    has_tuning,
    held_out_runs,
    name_arms,
    next_grid_values,
    reported_runs,
    split_by_task,
    top_trials,
    trials_table,
    tuning_runs,
)
from adamcmp.analysis.verdicts import Verdict, verdicts
from adamcmp.metrics.spec import task_metrics

__all__ = [
    "BASELINE",
    "METRICS",
    "SELECTION_METRICS",
    "TRIAL_KEY",
    "Interval",
    "Paired",
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
    "mean_interval",
    "name_arms",
    "next_grid_values",
    "paired_difference",
    "reported_runs",
    "split_by_task",
    "task_metrics",
    "time_to_target_table",
    "top_trials",
    "trials_table",
    "tuning_runs",
    "verdicts",
]
