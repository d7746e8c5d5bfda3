"""Data of the page's charts: points, intervals and labels, in the units in which they are shown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from adamcmp.analysis.verdicts import Verdict
from adamcmp.figures.axis_labels import decay_name, display_unit, with_unit
from adamcmp.figures.basin import SLOPE_LIMITS
from adamcmp.figures.heatmap import grid_rows
from adamcmp.report.report_input import TaskReport


def chart_content(report: TaskReport, arms: list[str]) -> dict[str, Any]:
    """Return the data of the page's charts."""
    criteria, raw = report.criteria, report.raw
    factor, unit = display_unit("final_test_error", criteria)
    board = report.board[report.board["final_test_error"].notna()]
    board = board.sort_values("final_test_error", ascending=not criteria.error.higher_is_better)
    error = [
        {
            "arm": arms.index(str(row["arm"])),
            "value": _in_shown_unit(row["final_test_error"], factor),
            "low": _in_shown_unit(row["final_test_error"] - row["final_test_error_half_width"], factor),
            "high": _in_shown_unit(row["final_test_error"] + row["final_test_error_half_width"], factor),
            "note": f"n = {row['n']}, {'held-out seeds' if row['stage'] == 'confirm' else 'tuning seeds'}",
        }
        for row in board.sort_values("final_test_error", ascending=not criteria.error.higher_is_better).to_dict(
            "records"
        )
    ]
    return {
        "errors": error,
        "pairs": [_pair(verdict, factor, arms) for verdict in report.verdicts if verdict.has_interval],
        "margin": next(
            (factor * verdict.margin for verdict in report.verdicts if not math.isnan(verdict.margin)), None
        ),
        "budget": _best_of_k(raw.get("best_of_k", pd.DataFrame()), factor, arms),
        "basin": _basin(raw["basin"], raw["sensitivity"], factor, with_unit("lost", criteria.error.gap_unit), arms),
        "alongLr": _along(grid_rows(report.table), "lr", factor, arms),
        "alongDecay": _along(grid_rows(report.table), "weight_decay", factor, arms),
        "unit": unit,
    }


def _pair(verdict: Verdict, factor: float, arms: list[str]) -> dict[str, Any]:
    inner = verdict.pointwise("seeds") if verdict.has_interval else (verdict.mean, verdict.mean)
    return {
        "a": arms.index(verdict.a),
        "b": arms.index(verdict.b),
        "kind": verdict.kind,
        "value": _in_shown_unit(verdict.mean, factor),
        "inner": [_in_shown_unit(inner[0], factor), _in_shown_unit(inner[1], factor)],
        "outer": [_in_shown_unit(verdict.low, factor), _in_shown_unit(verdict.high, factor)],
    }


def _best_of_k(table: pd.DataFrame, factor: float, arms: list[str]) -> list[dict[str, Any]]:
    """Return the expected error of the best of k trials by validation, one line per optimizer."""
    if table.empty:
        return []
    return [
        {
            "arm": arms.index(str(arm)),
            "k": part["k"].tolist(),
            **{
                name: round_digits(part[name].to_numpy(float) * factor, 4)
                for part_ in ("validation", "test")
                for name in (part_, f"{part_}_low", f"{part_}_high")
            },
        }
        for arm, part in table.groupby("arm")
    ]


BASIN_PANELS = (
    (
        "ridge",
        "Slope of the best λ over lr, by the ridge: −1 if only lr · λ matters, 0 if independent",
        1.0,
        SLOPE_LIMITS,
    ),
    ("rows", "Slope of the best λ over lr, by rows", 1.0, SLOPE_LIMITS),
    ("separability", "Coupling of lr and λ in the basin", 1.0, (-1.0, 1.0)),
    ("area", "Share of trials near the best", 100.0, (0.0, 100.0)),
)
AXES = {
    "ridge": "d log λ* / d log lr",
    "rows": "d log λ* / d log lr",
    "separability": "correlation of lr and λ",
    "area": "trials near the best (%)",
}


def _basin(
    basin: pd.DataFrame, sensitivity: pd.DataFrame, factor: float, gap: str, arms: list[str]
) -> list[dict[str, Any]]:
    """Return panels of dots with intervals: basin and learning-rate sensitivity of each optimizer."""
    panels = []
    lost = ("lr_sensitivity", "Average loss by an untuned learning rate", factor, None)
    for frame, (name, title, times, clip) in [*((basin, panel) for panel in BASIN_PANELS), (sensitivity, lost)]:
        rows = [
            {
                "arm": arms.index(str(row["arm"])),
                "value": _in_shown_unit(row[name], times),
                "low": _in_shown_unit(row[f"{name}_low"], times),
                "high": _in_shown_unit(row[f"{name}_high"], times),
            }
            for row in frame.to_dict("records")
            if not math.isnan(row[name])
        ]
        if rows:
            panels.append({"key": name, "title": title, "label": AXES.get(name, gap), "clip": clip, "rows": rows})
    return panels


def _along(table: pd.DataFrame, axis: str, factor: float, arms: list[str]) -> list[dict[str, Any]]:
    """Return the test error along one axis, the other tuned on validation; one line per optimizer."""
    ranked = table[table["rank"].notna()].sort_values(["arm", "rank"])
    profile = ranked.drop_duplicates(["arm", axis]).sort_values(["arm", axis])
    return [
        {
            "arm": arms.index(str(arm)),
            "decay": decay_name(part["decay"].iloc[0]),
            "x": [float(x) for x in part[axis]],
            "y": round_digits(part["final_test_error"].to_numpy(float) * factor, 4),
            "half": round_digits(part["final_test_error_half_width"].to_numpy(float) * factor, 3),
        }
        for arm, part in profile.groupby("arm")
        if len(part) > 1
    ]


def _in_shown_unit(value: float, factor: float) -> float | None:
    return float(f"{factor * value:.6g}") if math.isfinite(value) else None


def round_digits(values: np.ndarray[Any, np.dtype[np.float64]], digits: int = 6) -> list[Any]:
    """Return numbers with some significant digits, None for numbers that are not finite, and integers for whole
    ones.
    """
    finite = np.isfinite(values)
    safe = np.where(finite & (values != 0), values, 1.0)
    places = digits - 1 - np.floor(np.log10(np.abs(safe)))
    power = 10.0**places
    rounded = np.where(values == 0, 0.0, np.round(safe * power) / power)
    texts = [float(f"{x:.{digits}g}") for x in rounded.tolist()]
    return [(int(x) if x.is_integer() else x) if ok else None for x, ok in zip(texts, finite.tolist(), strict=True)]
