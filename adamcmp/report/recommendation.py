"""The files of a recommendation: what to do, in words, as a table, as a picture and as code."""

from __future__ import annotations

import io
from pathlib import Path

from adamcmp.analysis import TaskRecords, leaderboard, trials_table
from adamcmp.report import tables
from adamcmp.report.advice import Advice
from adamcmp.report.recipe import FRAMEWORKS
from adamcmp.storage.backend import write_file

NAMES = {"torch": "recipe_torch.py", "optax": "recipe_optax.py", "keras": "recipe_keras.py"}


def write_recommendation(found: Advice, task: TaskRecords, folder: Path) -> list[Path]:
    """Write them; the text first.

    Raises:
        InputError: they cannot be written.
    """
    from adamcmp.figures.csv_io import read_table
    from adamcmp.figures.registry import FIGURES
    from adamcmp.figures.style import FigureSkipped, FigureStyle, layout, render_figure, use_style

    written = [write_file(folder / NAMES[each], text.encode()) for each, text in found.recipes.items()]
    board = tables.leaderboard_display(leaderboard(task.records))
    lines = [f"# {found.arm} for {task.label}", "", found.paragraph, "", board.to_markdown(index=False), ""]
    frame = read_table(io.StringIO(tables.csv(trials_table(task.records))))
    arms = tuple(sorted(frame["arm"].unique()))
    try:
        with use_style(FigureStyle("double", arms, "")):
            figure = FIGURES["heatmap"].draw(frame)
            layout(figure)
            written.append(write_file(folder / "basin.png", render_figure(figure, "png")))
        lines += ["![Test error over learning rate and weight decay](basin.png)", ""]
    except FigureSkipped as reason:
        lines += [f"No figure of the basin: {reason}.", ""]
    for framework, text in found.recipes.items():
        lines += [f"## {FRAMEWORKS[framework]}", "", "```python", text.rstrip(), "```", ""]
    return [write_file(folder / "recommendation.md", "\n".join(lines).encode()), *written]
