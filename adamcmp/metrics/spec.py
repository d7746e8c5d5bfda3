"""Descriptions of losses and metrics: name, unit, and whether lower is better.

Records, selection, tables, figures and findings all use this one description. The functions are in ``losses`` and
``functions``; no torch here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

Targets = Literal["classes", "quantities", "labels"]
"""Kind of targets: one class per example (or position), real numbers, or which of several labels hold."""


@dataclass(frozen=True)
class MetricSpec:
    """Primary metric by which runs of a task are selected and compared."""

    name: str
    """``train.error``, and the record's ``metric_spec``."""
    label: str
    """Its name after the name of a split: ``test error``, ``test RMSE``."""
    baseline: str = ""
    """Description of the best constant prediction."""
    unit: str = ""
    """As shown: ``%`` of shares, else that of the data."""
    higher_is_better: bool = False
    is_root: bool = False
    """The root of a mean over examples."""

    @property
    def factor(self) -> float:
        """Factor from stored values to shown ones."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def stored_unit(self) -> str:
        """Unit of stored values: ``1`` for shares."""
        return "1" if self.unit == "%" else self.unit

    @property
    def gap_unit(self) -> str:
        """Unit of a difference of two values."""
        return "pp" if self.unit == "%" else self.unit

    @property
    def better(self) -> str:
        """Which way is better: ``lower`` or ``higher``."""
        return "higher" if self.higher_is_better else "lower"

    @property
    def sign(self) -> float:
        """1 where lower is better, else −1: sign · value is what selection makes small."""
        return -1.0 if self.higher_is_better else 1.0

    def text(self, value: float) -> str:
        """Return a value of one run with its unit: ``2.31%``, ``54.3``, ``54.3 mg/dl``, ``61,809 EUR``."""
        if self.unit == "%":
            return f"{value:.2%}"
        return f"{format_significant(value, 5 if abs(value) >= 1e4 else 4)} {self.unit}".rstrip()


def format_significant(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """Return a number with some significant digits; thousands get commas.

    >>> [format_significant(x) for x in (0.012345, 12.345, 66132.0, -1.234e12)], format_significant(52382, 6)
    (['0.0123', '12.3', '66,100', '-1.23e12'], '52,382')
    """
    text = f"{value:{'+' if sign else ''}.{digits}g}"
    if not 1e4 <= abs(value) < 1e7:
        return re.sub(r"e[+]?(-?)0*", r"e\1", text)
    rounded = float(text)
    return f"{rounded:{'+' if sign else ''},{'.0f' if rounded.is_integer() else ''}}"


def with_minus_sign(text: str) -> str:
    """Return a number with a minus sign in place of a hyphen, except in exponents.

    >>> with_minus_sign("-0.5"), with_minus_sign("-1.2e-7")
    ('−0.5', '−1.2e-7')
    """
    return re.sub(r"(?<!e)-", "−", text)


METRIC_SPECS: Mapping[Targets, tuple[MetricSpec, ...]] = {
    "classes": (MetricSpec("error_rate", "error", "the majority class", "%"),),
    "quantities": (
        MetricSpec("rmse", "RMSE", "the mean of training", is_root=True),
        MetricSpec("mae", "MAE", "the median of training"),
        MetricSpec("r2", "R²", "the mean of training", higher_is_better=True),
    ),
    "labels": (
        MetricSpec("average_precision", "average precision", "the same ranking for all", "%", True),
        MetricSpec("f1", "F1", "all labels for all", "%", True),
        MetricSpec("hamming_loss", "Hamming loss", "the more common answer", "%"),
    ),
}
"""Metrics by kind of targets; the first is the default of ``train.error``."""
UNITLESS_METRICS = ("r2",)
"""Errors of quantities that do not have their unit."""

LOSS_NAMES: Mapping[Targets, tuple[str, ...]] = {
    "classes": ("cross_entropy",),
    "quantities": ("mse", "huber"),
    "labels": ("bce",),
}
"""Losses by kind of targets; the first is the default of ``train.loss``."""
LOSS_TEXTS: Mapping[str, tuple[str, str]] = {
    "cross_entropy": ("cross-entropy", "nat"),
    "bce": ("binary cross-entropy", "nat"),
    "mse": ("squared error of standardized targets", ""),
    "huber": ("Huber loss of standardized targets", ""),
}
"""Human-readable name of each loss, and its unit."""


@dataclass(frozen=True)
class TaskMetrics:
    """Loss and primary metric that compared runs share."""

    loss: str
    error: MetricSpec

    @property
    def loss_unit(self) -> str:
        """``nat``, or nothing."""
        return LOSS_TEXTS.get(self.loss, ("", ""))[1]

    @property
    def loss_text(self) -> str:
        """Human-readable name of the loss; a custom one has its path."""
        return LOSS_TEXTS.get(self.loss, (self.loss, ""))[0]


def metric_spec(name: str, unit: str = "", better: str = "lower") -> MetricSpec:
    """Return the error of that name; of quantities in a unit of the data.

    A name that is not one of adamcmp's is a metric of a user's program, in the given stored unit and direction.
    """
    known = {metric.name: (kind, metric) for kind, every in METRIC_SPECS.items() for metric in every}
    if name not in known:
        shown_unit = "%" if unit == "1" else unit
        return MetricSpec(name, name.replace("_", " "), "", shown_unit, better == "higher")
    targets, spec = known[name]
    return replace(spec, unit=unit) if targets == "quantities" and name not in UNITLESS_METRICS else spec


CLASSIFICATION = TaskMetrics("cross_entropy", METRIC_SPECS["classes"][0])
"""Loss and metric of records from versions that had no others."""


def task_metrics(table: pd.DataFrame) -> TaskMetrics:
    """Return loss and metric of the runs or trials of one task; old records without these columns are of
    classification.
    """
    columns = {name: table[name].dropna() for name in ("loss", "error_metric", "error_unit") if name in table}
    if any(column.empty for column in columns.values()) or len(columns) < 3:
        return CLASSIFICATION
    loss, name, unit = (str(column.iloc[0]) for column in columns.values())
    better = [] if "error_better" not in table else table["error_better"].dropna().tolist()
    return TaskMetrics(loss, metric_spec(name, unit, str(better[0]) if better else "lower"))
