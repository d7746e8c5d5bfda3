"""SGD, SGDW, Adam and AdamW over learning rate and weight decay (Figure 2 of the paper)."""

from __future__ import annotations

import pandas as pd
from scipy import stats

from adamcmp.analysis import by_task, cells, top_cells
from adamcmp.records import Results
from adamcmp.report.page import Finding

STUDY = "figure2"


def findings(results: Results) -> list[Finding]:
    """What the figure is there to show next to its verdicts, as measured on the runs of each task."""
    return [Finding(line, task.task) for task in by_task(results.records) for line in tilts(task.records)]


def tilts(records: pd.DataFrame) -> list[str]:
    """The tilt of each basin: Spearman's rank correlation between lr and λ over the ten best cells.

    Near −1 where a larger λ wants a smaller lr, near 0 where each can be chosen alone.
    """
    return [_tilt(str(arm), ten) for arm, ten in top_cells(cells(records), 10).groupby("arm", sort=False)]


def _tilt(arm: str, ten: pd.DataFrame) -> str:
    if ten["lr"].nunique() < 2 or ten["weight_decay"].nunique() < 2:
        return f"{arm}: its {len(ten)} best cells share one lr or one λ, so that their basin has no tilt to measure."
    rho = stats.spearmanr(ten["lr"], ten["weight_decay"]).statistic
    return f"{arm}: rank correlation between lr and λ over its {len(ten)} best cells {rho:+.2f}."
