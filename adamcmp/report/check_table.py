"""The noise floor of a script or function: findings of the check before its sweep, as a table and notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from adamcmp.metrics.spec import MetricSpec, format_significant
from adamcmp.storage.schema import CHECK_FILE
from adamcmp.text_safety import to_one_line
from adamcmp.untrusted import load_json

MEANINGS = {
    "within a seed": "difference of two runs with the same seed",
    "between seeds": "standard deviation over seeds",
    "between learning rates": "difference of two learning rates",
}
"""Meaning of a spread, by its source."""


class CheckFindings(NamedTuple):
    """Findings of one check."""

    noise: pd.DataFrame
    """Columns ``source``, ``meaning``, ``spread`` (in stored units) and ``runs``."""
    notes: tuple[str, ...]
    text: str
    """Metrics, and time, memory and cores of a run."""
    time: str = "step"
    """Unit of the steps of evaluations: ``step`` or ``epoch``."""


def time_unit(check: CheckFindings | None) -> str:
    """Return the unit of the steps of a program's evaluations; ``step`` without a check."""
    return "step" if check is None else check.time


def load_check(study_dir: Path) -> CheckFindings | None:
    """Return the findings that a study has stored; None if there are none, or they cannot be read."""
    try:
        loaded: Mapping[str, Any] = load_json((study_dir / CHECK_FILE).read_bytes())
        reported = loaded["reported"]
        noise = loaded.get("noise", ())
        rows = [(source, MEANINGS[source], float(spread), int(runs)) for source, spread, runs in noise]
        shorter = f", estimated from runs of 1/{loaded['shortened']} of the steps" if loaded["shortened"] > 1 else ""
        test = f", comparison by {reported['test']}" if reported["test"] else ""
        memory = f", {loaded['bytes'] / 1e6:,.0f} MB" if loaded["bytes"] else ""
        of = f" Spreads are of {loaded['runs'][0]['optimizer']} at lr {loaded['runs'][0]['lr']:g}." if rows else ""
        text = (
            f"Selection by {reported['validation']}{test}. A run takes about {loaded['seconds']:.3g} s{memory} and "
            f"{loaded['cores']:.1f} cores{shorter}.{of}"
        )
        notes = tuple(to_one_line(str(note)) for note in loaded["notes"])
        if "noise" not in loaded:
            notes += ("The check was stored by an earlier version of adamcmp, so that its noise is not shown.",)
        frame = pd.DataFrame(rows, columns=["source", "meaning", "spread", "runs"])
        return CheckFindings(frame, notes, to_one_line(text), "epoch" if loaded.get("time") == "epoch" else "step")
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None


def noise_display(noise: pd.DataFrame, error: MetricSpec) -> pd.DataFrame:
    """Return the noise floor for readers."""
    unit = f" ({error.gap_unit})" if error.gap_unit else ""
    spreads = [format_significant(error.factor * value) for value in noise["spread"]]
    columns = {"source": noise["source"], "meaning": noise["meaning"], f"spread{unit}": spreads, "runs": noise["runs"]}
    return pd.DataFrame(columns).astype(str)


def is_of_program(records: pd.DataFrame) -> bool:
    """Return whether runs are of a script or function."""
    settings = records["settings"].dropna().astype(str).tolist() if "settings" in records else []
    return bool(settings) and '"program":' in settings[-1]


def first_check(study_dirs: Sequence[Path]) -> CheckFindings | None:
    """Return the findings of the only study of a report; several studies have several programs."""
    return load_check(study_dirs[0]) if len(study_dirs) == 1 else None
