"""How numbers, metrics, conventions and provenance are spelt, alike in every table and figure. No matplotlib here."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import pandas as pd

from adamcmp.analysis.intervals import Estimate
from adamcmp.criteria import ERRORS, Criteria

NOTHING = "–"
DECAYS: dict[str, str] = {
    "l2": "L2",
    "l2_m_only": "L2 in m only",
    "l2_v_only": "L2 in v only",
    "lr_scaled": "decoupled, ηαλ per step",
    "schedule_only": "decoupled, ηλ per step",
    "normalized": "decoupled, normalized",
}
"""Decay conventions; behind "decoupled" stands what one step takes off a weight."""

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def decay_name(decay: object) -> str:
    """A convention for people; an own optimizer has none of ours."""
    return DECAYS.get(str(decay), "own convention")


def named(column: str, criteria: Criteria) -> str:
    """A measured column for people: ``test_error`` → ``test error`` or ``test RMSE``."""
    if column == "gap":
        return "generalization gap"
    part, _, what = column.partition("_")
    return f"{part} {criteria.error.label}" if what == "error" else f"{part.replace('train', 'training')} {what}"


def requested_name(metric: str) -> str:
    """A metric on request for people: ``validation_mae`` → ``validation MAE``."""
    part, _, name = metric.partition("_")
    known = {each.name: each.label for every in ERRORS.values() for each in every}
    return f"{part} {known[name]}" if name in known else metric.replace("_", " ")


def metric_name(metric: str, criteria: Criteria) -> str:
    """``final_test_error`` → ``final test error``; ``best_test_error`` → ``test error at the best epoch``."""
    when, _, name = metric.partition("_")
    text = named(name, criteria).replace("training", "train")
    return f"final {text}" if when == "final" else f"{text} at the best epoch"


def scale(metric: str, criteria: Criteria) -> tuple[float, str]:
    """Factor and unit in which a metric is shown: shares in percent, quantities in theirs, losses in nat or none."""
    error = criteria.error
    if metric.endswith("gap"):
        return error.factor, error.gap_unit
    return (error.factor, error.unit) if metric.endswith("error") else (1.0, criteria.loss_unit)


def with_unit(name: str, *units: str) -> str:
    """A name and in brackets its unit, if it has one: ``test error (%)``."""
    told = "; ".join(filter(None, units))
    return f"{name} ({told})" if told else name


def short(x: float, digits: int = 2) -> str:
    """A number for a tick: at most ``digits`` significant digits, ``5e-4`` below 0.01 and from 1000 on.

    >>> [short(x) for x in (0, 1e-3, 0.00048828125, 0.0125, 0.5, 16, 2000)]
    ['0', '1e-3', '4.9e-4', '0.013', '0.5', '16', '2e3']
    """
    if not math.isfinite(x) or x == 0:
        return f"{x:g}"
    exponent = int(f"{x:.{digits - 1}e}".partition("e")[2])
    return _trimmed(f"{x:.{max(digits - 1 - exponent, 0)}f}") if -2 <= exponent < 3 else power(x, digits)


def power(x: float, digits: int = 2) -> str:
    """A number as a power of ten, whatever its size.

    >>> [power(x) for x in (0, 1e-3, 0.0125, 0.5, 16)]
    ['0', '1e-3', '1.3e-2', '5e-1', '1.6e1']
    """
    if not math.isfinite(x) or x == 0:
        return f"{x:g}"
    mantissa, _, exponent = f"{x:.{digits - 1}e}".partition("e")
    return f"{_trimmed(mantissa)}e{int(exponent)}"


def _trimmed(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def ticks(values: Sequence[float]) -> list[str]:
    """Labels of one axis, all different: 2⁻⁵ where all are powers of two, else ``short`` with the digits it takes."""
    positive = [x for x in values if x > 0]
    if len(positive) > 2 and min(positive) < 0.1 and all(math.frexp(x)[0] == 0.5 for x in positive):
        return ["0" if x == 0 else "2" + str(math.frexp(x)[1] - 1).translate(_SUPERSCRIPT) for x in values]
    for digits in range(2, 8):
        labels = [short(x, digits) for x in values]
        if any("e" in label for label in labels):  # one notation for all
            labels = [power(x, digits) for x in values]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{x:.17g}" for x in values]


def quantity(mean: float, half_width: float, metric: str, criteria: Criteria) -> str:
    """``2.31 ± 0.20 %``: two significant digits of the half width, and as many decimals of the mean.

    Without a half width (one seed) the mean stands alone, with two decimals in percent and three digits elsewhere.

    >>> from adamcmp.criteria import CLASSIFICATION
    >>> [quantity(*x, "final_test_error", CLASSIFICATION) for x in ((0.02314, 0.00198), (0.313, 0.0132))]
    ['2.31 ± 0.20 %', '31.3 ± 1.3 %']
    """
    factor, unit = scale(metric, criteria)
    value, half = factor * mean, factor * half_width
    if math.isnan(value):
        return "–"
    if math.isnan(half) or not math.isfinite(value):
        return (f"{value:.2f} {unit}" if factor == 100 else f"{value:.3g} {unit}").rstrip()
    if half > 0:
        decimals = min(max(1 - math.floor(math.log10(half)), 0), 2 if factor == 100 else 6)
    else:
        decimals = 2 if factor == 100 else 4
    return f"{value:.{decimals}f} ± {half:.{decimals}f} {unit}".rstrip()


def estimated(each: Estimate, form: str, unit: str = "") -> str:
    """``value (low to high)``.

    >>> [estimated(each, ".1f", " %") for each in (Estimate(5.0, 2.5, 10.0), Estimate(12.0), Estimate(math.nan))]
    ['5.0 (2.5 to 10.0) %', '12.0 %', '–']
    """
    if math.isnan(each.value):
        return NOTHING
    value, low, high = (f"{x:{form}}" for x in each)
    return f"{value}{unit}" if math.isnan(each.low) else f"{value} ({low} to {high}){unit}"


def plain_quantity(mean: float, half_width: float) -> str:
    """``0.0231 ± 0.0020``: two significant digits of the half width; alone, three of the mean.

    >>> plain_quantity(0.02314, 0.00198), plain_quantity(12.345, float("nan")), plain_quantity(1.5e-7, 2e-8)
    ('0.0231 ± 0.0020', '12.3', '1.50e-7 ± 2.0e-8')
    """
    if not (math.isfinite(half_width) and half_width > 0 and math.isfinite(mean)):
        return f"{mean:.3g}".replace("e-0", "e-")
    if abs(mean) >= 1e-4 or mean == 0:
        decimals = max(1 - math.floor(math.log10(half_width)), 0)
        return f"{mean:.{decimals}f} ± {half_width:.{decimals}f}"
    return f"{mean:.2e} ± {half_width:.1e}".replace("e-0", "e-")


def seeds(values: Iterable[int]) -> str:
    """``0–4, 7``: runs of three and more consecutive seeds are joined.

    >>> seeds([3, 0, 1, 2, 7])
    '0–3, 7'
    """
    parts: list[list[int]] = []
    for seed in sorted(set(values)):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(f"{p[0]}–{p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts)


def distinct(values: pd.Series, limit: int = 3) -> str:
    """The values of a column that occur, sorted and joined; ``…`` behind the first ``limit``."""
    found = sorted(values.dropna().astype(str).unique())
    return ", ".join(found[:limit]) + (", …" if len(found) > limit else "") or "unknown"


def runs_hash(records: pd.DataFrame) -> str:
    """Eight digits of the SHA-256 over the sorted run ids: equal exactly when made from the same runs."""
    ids = "\n".join(sorted(records["run_id"].astype(str)))
    return hashlib.sha256(ids.encode()).hexdigest()[:8]


def footer(records: pd.DataFrame, board: pd.DataFrame | None = None) -> str:
    """What a figure was made from: study, task, runs, seeds, versions and the hash of the run ids; and whose best cell
    lies on the edge of its grid, by the ``leaderboard``.
    """
    status = records["status"]
    facts = [
        f"Made from: study {distinct(records['study'])}",
        distinct(records["task_label"]),
        f"{len(records)} runs ({(status == 'diverged').sum()} diverged, {(status == 'failed').sum()} failed)",
        f"seeds {seeds(records['seed'].dropna().astype(int))}",
        f"adamcmp {distinct(records['adamcmp_version'])}, torch {distinct(records['torch_version'])}",
        f"runs {runs_hash(records)}",
    ]
    if board is not None and (board["edge"] != "").any():
        flagged = board[board["edge"] != ""]
        cells = [f"{arm} ({edge})" for arm, edge in zip(flagged["arm"], flagged["edge"], strict=True)]
        facts.append(f"best cell on the edge of its grid: {', '.join(cells)}")
    return " · ".join(facts)
