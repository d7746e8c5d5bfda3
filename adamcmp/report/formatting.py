"""Text of numbers with intervals, of seeds and of provenance, the same in every table. No matplotlib here."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable

import pandas as pd

from adamcmp.analysis.intervals import Estimate
from adamcmp.figures.axis_labels import display_unit
from adamcmp.metrics.spec import TaskMetrics, format_significant, with_minus_sign

NO_VALUE = "–"


MIN_DECIMAL, MAX_DECIMAL = 1e-5, 1e7
"""Half width and value beyond which a number is written with an exponent."""


def format_mean_ci(mean: float, half_width: float, metric: str, criteria: TaskMetrics) -> str:
    """Return ``2.31 ± 0.20 %``: two significant digits of the half width, and as many decimals of the mean.

    Without a half width (one seed) only the mean is shown, with two decimals in percent and three digits elsewhere.

    >>> from adamcmp.metrics.spec import CLASSIFICATION
    >>> [format_mean_ci(*x, "final_test_error", CLASSIFICATION) for x in ((0.02314, 0.00198), (0.313, 0.0132))]
    ['2.31 ± 0.20 %', '31.3 ± 1.3 %']

    Errors below 1e-5 or above 1e7 have exponents: ``3.26e-9 ± 0.90e-9``.
    """
    factor, unit = display_unit(metric, criteria)
    value, half = factor * mean, factor * half_width
    if math.isnan(value):
        return "–"
    if math.isnan(half) or not math.isfinite(value):
        return with_minus_sign(
            f"{value:.2f} {unit}" if factor == 100 else f"{format_significant(value)} {unit}"
        ).rstrip()
    size = max(abs(value), half)
    if factor == 1 and half > 0 and (half < MIN_DECIMAL or size > MAX_DECIMAL):
        exponent = math.floor(math.log10(size))
        decimals = exponent - math.floor(math.log10(half)) + 1
        scaled = (f"{x / 10.0**exponent:.{decimals}f}e{exponent}" for x in (value, half))
        return f"{with_minus_sign(next(scaled))} ± {next(scaled)} {unit}".rstrip()
    if half > 0:
        decimals = min(max(1 - math.floor(math.log10(half)), 0), 2 if factor == 100 else 6)
    else:
        decimals = 2 if factor == 100 else 4
    return f"{with_minus_sign(f'{value:,.{decimals}f}')} ± {half:,.{decimals}f} {unit}".rstrip()


def format_number(value: float, form: str) -> str:
    """Return a number by a format specification; ``g`` without exponents up to 1e7.

    >>> format_number(-61800.4, "+.3g"), format_number(0.5, ".2f")
    ('−61,800', '0.50')
    """
    if form.endswith("g"):
        return with_minus_sign(format_significant(value, int(form[-2]), sign=form.startswith("+")))
    return with_minus_sign(f"{value:{form}}")


def format_estimate(estimate: Estimate, form: str, unit: str = "") -> str:
    """Return ``value [low, high] unit``.

    >>> [format_estimate(each, ".1f", " %") for each in (Estimate(-5.0, -9.5, 1.0), Estimate(12.0), Estimate(math.nan))]
    ['−5.0 [−9.5, 1.0] %', '12.0 %', '–']
    """
    if math.isnan(estimate.value):
        return NO_VALUE
    value, low, high = (format_number(x, form) for x in estimate)
    return f"{value} [{low}, {high}]{unit}" if estimate.has_interval else f"{value}{unit}"


def format_claim_value(estimate: Estimate, form: str, unit: str = "") -> str:
    """Return the value of a claim like ``format_estimate``, or as exact if it involves no randomness.

    >>> format_claim_value(Estimate(12.0, 12.0, 12.0), ".1f", " %"), format_claim_value(Estimate(5.0, 2.5, 10.0), ".1f")
    ('12.0 % (exact)', '5.0 [2.5, 10.0]')
    """
    return (
        f"{format_number(estimate.value, form)}{unit} (exact)"
        if estimate.low == estimate.high
        else format_estimate(estimate, form, unit)
    )


def format_mean_half_width(mean: float, half_width: float) -> str:
    """Return ``0.0231 ± 0.0020``: two significant digits of the half width; alone, three of the mean.

    >>> format_mean_half_width(0.02314, 0.00198), format_mean_half_width(1.5e-7, 2e-8)
    ('0.0231 ± 0.0020', '1.50e-7 ± 2.0e-8')
    >>> format_mean_half_width(12.345, float("nan"))
    '12.3'
    """
    if not (math.isfinite(half_width) and half_width > 0 and math.isfinite(mean)):
        return with_minus_sign(f"{mean:.3g}".replace("e-0", "e-"))
    if abs(mean) >= 1e-4 or mean == 0:
        decimals = max(1 - math.floor(math.log10(half_width)), 0)
        return with_minus_sign(f"{mean:.{decimals}f} ± {half_width:.{decimals}f}")
    return with_minus_sign(f"{mean:.2e} ± {half_width:.1e}".replace("e-0", "e-"))


def format_seeds(values: Iterable[int]) -> str:
    """Return ``0–4, 7``: runs of three and more consecutive seeds are joined.

    >>> format_seeds([3, 0, 1, 2, 7])
    '0–3, 7'
    """
    parts: list[list[int]] = []
    for seed in sorted(set(values)):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(f"{p[0]}–{p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts)


def join_unique(values: pd.Series, limit: int = 3) -> str:
    """Return the values of a column that occur, sorted and joined; ``…`` behind the first ``limit``."""
    texts = sorted(values.dropna().astype(str).unique())
    return ", ".join(texts[:limit]) + (", …" if len(texts) > limit else "") or "unknown"


def runs_hash(records: pd.DataFrame) -> str:
    """Return eight digits of the SHA-256 over the sorted run ids: equal exactly when made from the same runs."""
    ids = "\n".join(sorted(records["run_id"].astype(str)))
    return hashlib.sha256(ids.encode()).hexdigest()[:8]


def figure_footer(records: pd.DataFrame, board: pd.DataFrame | None = None) -> str:
    """Return the provenance of a figure: study, task, runs, seeds, versions and the hash of run IDs; and the optimizers
    whose selected trial is at a boundary of the grid, by the ``leaderboard``.
    """
    status = records["status"]
    facts = [
        f"Made from: study {join_unique(records['study'])}",
        join_unique(records["task_label"]),
        f"{len(records):,} runs ({(status == 'diverged').sum():,} diverged, {(status == 'failed').sum():,} failed)",
        f"seeds {format_seeds(records['seed'].dropna().astype(int))}",
        f"adamcmp {join_unique(records['adamcmp_version'])}, torch {join_unique(records['torch_version'])}",
        f"runs {runs_hash(records)}",
    ]
    if board is not None and (board["edge"] != "").any():
        flagged = board[board["edge"] != ""]
        cells = [f"{arm} ({edge})" for arm, edge in zip(flagged["arm"], flagged["edge"], strict=True)]
        facts.append(f"best trial at the boundary of its grid: {', '.join(cells)}")
    return " · ".join(facts)


ORIGIN_COLUMNS = {
    "engine": "engine", "matmul": "matmul library", "compiled": "compiled", "device": "device", "hardware": "machine",
    "torch_version": "torch", "adamcmp_version": "adamcmp",
}  # fmt: skip
"""Titles of the columns that state how a run was trained, next to its settings."""


def training_origins(records: pd.DataFrame) -> pd.DataFrame:
    """Return how the runs were trained, a row per run: columns ``ORIGIN_COLUMNS``, as far as they are known."""
    settings_by_text = {text: json.loads(text) for text in records["engine_settings"].dropna().unique()}
    settings = records["engine_settings"].map(settings_by_text)
    origins = records.reindex(columns=[name for name in ORIGIN_COLUMNS if name not in ("matmul", "compiled")])
    for name in ("matmul", "compiled"):
        origins[name] = settings.map(lambda values, key=name: values.get(key) if isinstance(values, dict) else None)
    return origins


def describe_mixed_origins(records: pd.DataFrame) -> str:
    """Return how many runs were trained in which way; empty if all were trained in one way."""
    origins = training_origins(records)
    parts = []
    for name, title in ORIGIN_COLUMNS.items():
        counts = origins[name].dropna().astype(str).value_counts()
        if len(counts) > 1:
            parts.append(f"{title}: {', '.join(f'{value} {count:,}' for value, count in counts.items())}")
    return "; ".join(parts)


def wall_seconds(records: pd.DataFrame) -> float:
    """Return how long training took, where each run had its share of so many processes as its record tells; one if
    unknown.
    """
    settings = records["engine_settings"]
    processes = settings.map({text: json.loads(text).get("processes", 1) for text in settings.dropna().unique()})
    return float((records["seconds"] / processes.astype(float).fillna(1).clip(lower=1)).sum())
