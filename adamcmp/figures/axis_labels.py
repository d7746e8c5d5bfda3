"""Text of numbers, metrics and conventions in figures and tables. No matplotlib here."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from adamcmp.metrics.spec import METRIC_SPECS, TaskMetrics

DECAYS: dict[str, str] = {
    "l2": "L2",
    "l2_m_only": "L2 in m only",
    "l2_v_only": "L2 in v only",
    "lr_scaled": "decoupled, ηαλ per step",
    "schedule_only": "decoupled, ηλ per step",
    "normalized": "decoupled, normalized",
    "lr_squared": "decoupled, η²αλ per step",
    "lr_free": "decoupled, λ per step",
    "cautious": "decoupled, ηαλ where signs agree",
    "fixed_norm": "norms are fixed",
    "trust_ratio": "in the scaled step",
}
"""Decay conventions; after "decoupled" follows the share that one step subtracts from a weight."""

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def decay_name(decay: object) -> str:
    """Return a human-readable convention; a custom optimizer has none."""
    return DECAYS.get(str(decay), "own convention")


def metric_label(column: str, criteria: TaskMetrics) -> str:
    """Return a human-readable measured column: ``test_error`` → ``test error`` or ``test RMSE``."""
    if column == "gap":
        return "generalization gap"
    part, _, what = column.partition("_")
    return f"{part} {criteria.error.label}" if what == "error" else f"{part.replace('train', 'training')} {what}"


def extra_metric_label(metric: str) -> str:
    """Return a human-readable extra metric: ``validation_mae`` → ``validation MAE``."""
    part, _, name = metric.partition("_")
    labels = {metric.name: metric.label for every in METRIC_SPECS.values() for metric in every}
    return f"{part} {labels[name]}" if name in labels else metric.replace("_", " ")


def metric_name(metric: str, criteria: TaskMetrics) -> str:
    """Return ``final_test_error`` → ``final test error``; ``best_test_error`` → ``test error at the best epoch``."""
    when, _, name = metric.partition("_")
    text = metric_label(name, criteria).replace("training", "train")
    return f"final {text}" if when == "final" else f"{text} at the best epoch"


def display_unit(metric: str, criteria: TaskMetrics) -> tuple[float, str]:
    """Return factor and unit in which a metric is shown: shares in percent, quantities in theirs, losses in nat or
    none.
    """
    error = criteria.error
    if metric.endswith("gap"):
        return error.factor, error.gap_unit
    return (error.factor, error.unit) if metric.endswith("error") else (1.0, criteria.loss_unit)


def with_unit(name: str, *units: str) -> str:
    """Return a name and in brackets its unit, if it has one: ``test error (%)``."""
    joined = "; ".join(filter(None, units))
    return f"{name} ({joined})" if joined else name


def format_tick(x: float, digits: int = 2) -> str:
    """Return a number for a tick: at most ``digits`` significant digits, ``5e-4`` below 0.01 and from 1000 on.

    >>> [format_tick(x) for x in (0, 1e-3, 0.00048828125, 0.0125, 0.5, 16, 2000)]
    ['0', '1e-3', '4.9e-4', '0.013', '0.5', '16', '2e3']
    """
    if not math.isfinite(x) or x == 0:
        return f"{x:g}"
    exponent = int(f"{x:.{digits - 1}e}".partition("e")[2])
    return _trim_zeros(f"{x:.{max(digits - 1 - exponent, 0)}f}") if -2 <= exponent < 3 else format_power(x, digits)


def format_power(x: float, digits: int = 2) -> str:
    """Return a number as a power of ten, whatever its size.

    >>> [format_power(x) for x in (0, 1e-3, 0.0125, 0.5, 16)]
    ['0', '1e-3', '1.3e-2', '5e-1', '1.6e1']
    """
    if not math.isfinite(x) or x == 0:
        return f"{x:g}"
    mantissa, _, exponent = f"{x:.{digits - 1}e}".partition("e")
    return f"{_trim_zeros(mantissa)}e{int(exponent)}"


def _trim_zeros(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def power_of_ten(exponent: int) -> str:
    """Return ``10⁻³``, in letters of the text's size."""
    return "10" + str(exponent).translate(_SUPERSCRIPT)


def tick_labels(values: Sequence[float]) -> list[str]:
    """Return labels of one axis, all different: 2⁻⁵ where all are powers of two, else ``format_tick`` with the digits
    it takes.
    """
    positive = [x for x in values if x > 0]
    if len(positive) > 2 and min(positive) < 0.1 and all(math.frexp(x)[0] == 0.5 for x in positive):
        return ["0" if x == 0 else "2" + str(math.frexp(x)[1] - 1).translate(_SUPERSCRIPT) for x in values]
    for digits in range(2, 8):
        labels = [format_tick(x, digits) for x in values]
        if any("e" in label for label in labels):  # one notation for all
            labels = [format_power(x, digits) for x in values]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{x:.17g}" for x in values]


def time_label(table: pd.DataFrame) -> str:
    """Return the label of an axis of training time: ``step`` if the column ``time_axis`` says so, else ``epoch``."""
    return "step" if "time_axis" in table and (table["time_axis"] == "step").all() else "epoch"
