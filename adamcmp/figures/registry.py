"""All figures by name, which is also the name of their files, with the tables that they take.

To add a figure, write a module here, add it to ``FIGURES``, its tables to ``report.report_input.build_task_report``,
and its caption to ``report.sections.CAPTIONS``. Figures that the page draws itself are in
``report.figure_writer.PAGE_FIGURES``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from matplotlib.figure import Figure

from adamcmp.figures.basin import basin_figure
from adamcmp.figures.best_of_k import best_of_k_figure, profiles_figure, rank_figure
from adamcmp.figures.decay_curves import decay_curves_figure
from adamcmp.figures.decay_trends import budgets_figure, decay_gain_figure, optimal_decay_figure
from adamcmp.figures.error_over_time import error_over_time_figure
from adamcmp.figures.error_vs_hyperparameter import error_vs_decay_figure, error_vs_lr_figure
from adamcmp.figures.error_vs_train_loss import error_vs_train_loss_figure
from adamcmp.figures.extra_metrics import extra_metrics_figure, layer_metrics_figure
from adamcmp.figures.forest_plot import verdicts_figure
from adamcmp.figures.heatmap import heatmap_figure
from adamcmp.figures.learning_curves import learning_curves_figure
from adamcmp.figures.steps_to_generalize import steps_to_generalize_figure


class FigureSpec(NamedTuple):
    """A figure."""

    draw: Callable[..., Figure]
    tables: tuple[str, ...]
    """The names of the tables that it takes."""


FIGURES = {
    "verdicts": FigureSpec(verdicts_figure, ("verdicts",)),
    "heatmap": FigureSpec(heatmap_figure, ("grid",)),
    "learning_curves": FigureSpec(learning_curves_figure, ("learning_curves",)),
    "error_vs_decay": FigureSpec(error_vs_decay_figure, ("grid",)),
    "error_vs_lr": FigureSpec(error_vs_lr_figure, ("grid",)),
    "error_vs_train_loss": FigureSpec(error_vs_train_loss_figure, ("grid",)),
    "basin": FigureSpec(basin_figure, ("basin", "sensitivity")),
    "budget": FigureSpec(best_of_k_figure, ("best_of_k",)),
    "ranks": FigureSpec(rank_figure, ("ranks",)),
    "metrics": FigureSpec(extra_metrics_figure, ("metrics_along",)),
    "layers": FigureSpec(layer_metrics_figure, ("metrics_along",)),
    "profiles": FigureSpec(profiles_figure, ("profiles",)),
    "decay_curves": FigureSpec(decay_curves_figure, ("decay_curves",)),
    "anytime": FigureSpec(error_over_time_figure, ("anytime",)),
    "budgets": FigureSpec(budgets_figure, ("budgets",)),
    "optima": FigureSpec(optimal_decay_figure, ("optima",)),
    "gains": FigureSpec(decay_gain_figure, ("gains",)),
    "steps_to_generalise": FigureSpec(steps_to_generalize_figure, ("steps_to_generalise",)),
}
