"""Evidence on claims: numbers, panels of figures, and extra metrics of runs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from adamcmp.analysis.claim import Claim, exact_value, mean_with_ci
from adamcmp.analysis.intervals import Array, Estimate, half_width
from adamcmp.report.report_input import ReportInput

CLOSED_FORM = "toy"
"""Task label of a closed-form test."""


class ClaimEvidence(NamedTuple):
    """Measurements of a claim."""

    claims: Sequence[Claim]
    panels: Sequence[pd.DataFrame] = ()
    """Rows of ``figures.panels.PANEL_COLUMNS``, each of one panel."""


class PanelAxes(NamedTuple):
    """A panel of a figure."""

    panel: str
    x_label: str
    y_label: str
    x_scale: str = "log"
    y_scale: str = "log"

    def series(
        self,
        name: str,
        kind: str,
        x: Iterable[float],
        y: Iterable[float],
        low: Iterable[float] | float = math.nan,
        high: Iterable[float] | float = math.nan,
    ) -> pd.DataFrame:
        """Return points of the panel; ``kind`` is line, points, dots or predicted."""
        points = pd.DataFrame({"x": list(x), "y": list(y)}).assign(low=_listed(low), high=_listed(high))
        return pd.DataFrame(self._asdict(), index=points.index).assign(series=name, kind=kind).join(points)

    def over_seeds(self, name: str, x: Iterable[Any], values_SX: Array, kind: str = "line") -> pd.DataFrame:
        """Return means over seeds with their 95 % intervals; a logarithmic axis has geometric ones."""
        values = np.log(values_SX) if self.y_scale == "log" else np.asarray(values_SX, float)
        middle = values.mean(0)
        half = half_width(values.std(0, ddof=1), len(values)) if len(values) > 1 else np.full(len(middle), np.nan)
        ends = (middle, middle - half, middle + half)
        y, low, high = (np.exp(end) for end in ends) if self.y_scale == "log" else ends
        return self.series(name, kind, x, y, low, high)


def value_panels(panel: str, label: str, rows: Mapping[str, Estimate]) -> list[pd.DataFrame]:
    """Return a panel of values with their intervals, a row each."""
    axes = PanelAxes(panel, label, "", "linear", "names")
    return [
        axes.series(name, "dots", [estimate.value], [float(i)], [estimate.low], [estimate.high])
        for i, (name, estimate) in enumerate(rows.items())
    ]


def _listed(values: Iterable[float] | float) -> Any:
    return values if isinstance(values, float) else list(values)


def mean_over_seeds(values: Iterable[Any]) -> Estimate:
    """Return the mean of independent values with its interval; values without spread are exact."""
    numbers = np.fromiter(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) > 1 and not numbers.std() > 0:
        return exact_value(float(numbers[0]))
    return mean_with_ci(numbers)


def least_squares_slope(x: Array, y: Array) -> float:
    """Return the slope of a least-squares line; NaN if x does not vary."""
    finite = np.isfinite(x) & np.isfinite(y)
    if finite.sum() < 2 or not np.ptp(x[finite]) > 0:
        return math.nan
    return float(np.polyfit(x[finite], y[finite], 1)[0])


RUN_COLUMNS = ["run_id", "arm", "schedule", "lr", "weight_decay", "seed", "task"]


def extra_metric_rows(report: ReportInput) -> pd.DataFrame:
    """Return extra metrics: one row per evaluation of a run, columns ``RUN_COLUMNS``, ``step`` and the metrics."""
    curves = report.curves[report.curves["metrics"].notna()]
    values = pd.DataFrame([json.loads(text) for text in curves["metrics"]], index=curves.index)
    runs = report.records.loc[report.records["status"] == "completed", RUN_COLUMNS]
    table: pd.DataFrame = curves[["run_id", "step"]].join(values).merge(runs, on="run_id")
    return table


def layer_names(table: pd.DataFrame, before: str, after: str) -> list[str]:
    """Return the names between two parts of a metric's: ``layer_names(table, "updates_", "_angle")``."""
    return [
        name.removeprefix(before).removesuffix(after)
        for name in table.columns
        if name.startswith(before) and name.endswith(after)
    ]


def last_evaluations(table: pd.DataFrame, share: float = 0.5) -> pd.DataFrame:
    """Return the evaluations of the last part of the budget."""
    recent: pd.DataFrame = table[table["step"] > (1 - share) * table["step"].max()]
    return recent


def task_label(report: ReportInput) -> str:
    """Return the label of the task."""
    return str(report.records["task_label"].iloc[0])
