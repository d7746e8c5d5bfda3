"""All figures by name, which is also the name of their files, with the tables that they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from matplotlib.figure import Figure

from adamcmp.drawing.anytime import anytime
from adamcmp.drawing.basin import basin_figure
from adamcmp.drawing.budget import budget_figure, profiles_figure, ranks_figure
from adamcmp.drawing.decay_curves import decay_curves
from adamcmp.drawing.forest import verdicts_figure
from adamcmp.drawing.generalising import steps_to_generalise
from adamcmp.drawing.heatmap import heatmap
from adamcmp.drawing.learning_curves import learning_curves
from adamcmp.drawing.moving import budgets, gains_figure, optima_figure
from adamcmp.drawing.profiles import error_vs_decay, error_vs_lr
from adamcmp.drawing.requested import layers_figure, metrics_figure
from adamcmp.drawing.scatter import error_vs_train_loss


class Drawing(NamedTuple):
    """A figure."""

    draw: Callable[..., Figure]
    tables: tuple[str, ...]
    """The names of the tables that it takes."""


FIGURES = {
    "verdicts": Drawing(verdicts_figure, ("verdicts",)),
    "heatmap": Drawing(heatmap, ("grid",)),
    "learning_curves": Drawing(learning_curves, ("learning_curves",)),
    "error_vs_decay": Drawing(error_vs_decay, ("grid",)),
    "error_vs_lr": Drawing(error_vs_lr, ("grid",)),
    "error_vs_train_loss": Drawing(error_vs_train_loss, ("grid",)),
    "basin": Drawing(basin_figure, ("basin", "sensitivity")),
    "budget": Drawing(budget_figure, ("best_of_k",)),
    "ranks": Drawing(ranks_figure, ("ranks",)),
    "metrics": Drawing(metrics_figure, ("metrics_along",)),
    "layers": Drawing(layers_figure, ("metrics_along",)),
    "profiles": Drawing(profiles_figure, ("profiles",)),
    "decay_curves": Drawing(decay_curves, ("decay_curves",)),
    "anytime": Drawing(anytime, ("anytime",)),
    "budgets": Drawing(budgets, ("budgets",)),
    "optima": Drawing(optima_figure, ("optima",)),
    "gains": Drawing(gains_figure, ("gains",)),
    "steps_to_generalise": Drawing(steps_to_generalise, ("steps_to_generalise",)),
}
