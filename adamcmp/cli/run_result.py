"""The result of ``adamcmp run`` as lines of styled text.

Imports neither analysis nor report: they import scipy, which takes longer than a short training.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from adamcmp.text_safety import to_one_line

Line = list[tuple[str, str]]
"""Texts with their styles."""


def run_lines(record: Mapping[Any, Any]) -> list[Line]:
    """Return the result of one run: settings, status, error and loss per split, and the metrics on request.

    Args:
        record: a row of ``read_records``.
    """
    import pandas as pd

    from adamcmp.cli.progress import format_duration
    from adamcmp.metrics.spec import format_significant, task_metrics, with_minus_sign

    decay = f"λ {record['weight_decay']:.4g}" + (f" ({record['decay']})" if pd.notna(record["decay"]) else "")
    settings = f"{to_one_line(record['arm'])}, lr {record['lr']:.4g}, {decay}, seed {record['seed']}"
    match record["status"]:
        case "failed":
            return [_heading(f"{settings}: failed"), _line(f"  {to_one_line(record['error'])}", "red")]
        case "diverged":
            step = f"the loss is not finite from step {record['diverged_step']:,.0f} on"
            return [_heading(f"{settings}: diverged; {step}")]
    error = task_metrics(pd.DataFrame([record])).error
    unit = f" {error.unit}" if error.unit == "%" else f" ({error.unit})" if error.unit else ""
    heads = ["split", f"{error.label}{unit}", "loss", f"always {error.baseline}{unit}"]

    def value_text(value: float) -> str:
        if math.isnan(value):
            return "–"
        if error.unit == "%":
            return f"{100 * value:.2f}"
        return f"{value:#.4g}".rstrip(".") if 1e-3 <= abs(value) < 1e4 else format_significant(value, 5)

    def loss_text(value: float) -> str:
        return "–" if math.isnan(value) else f"{value:.4f}"

    rows = []
    for split, name in (("train", "training"), ("validation", "validation"), ("test", "test")):
        if pd.isna(record[f"final_{split}_error"]) and pd.isna(record[f"final_{split}_loss"]):
            continue  # a program does not report it
        baseline = record.get(f"baseline_{split}_error", math.nan)
        rows.append([
            name, value_text(record[f"final_{split}_error"]), loss_text(record[f"final_{split}_loss"]),
            value_text(baseline) if pd.notna(baseline) else "",
        ])  # fmt: skip
    if not any(row[-1] for row in rows):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    sizes = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = [_heading(f"{settings}: {record['steps']:,.0f} steps in {format_duration(record['seconds'])}")]
    for row in [heads, *rows]:
        first, *others = (f"{text:{'<' if i == 0 else '>'}{sizes[i]}}" for i, text in enumerate(row))
        lines.append(
            _line(with_minus_sign(f"  {'   '.join([first, *others])}".rstrip()), "dim" if row is heads else "")
        )
    if pd.notna(record["final_gap"]):
        gap = f"{with_minus_sign(value_text(record['final_gap']))} {error.gap_unit}".rstrip()
        lines.append(_line(f"Generalization gap   {gap}"))
    if pd.notna(record["final_test_bits_per_byte"]):
        lines.append(_line(f"Test bits per byte   {record['final_test_bits_per_byte']:.3f}"))
    if record["best_step"] < record["steps"]:
        best = (f"{name} {error.text(record[f'best_{name}_error'])}" for name in ("validation", "test"))
        lines.append(_line(f"Best validation {error.label} at step {record['best_step']:,.0f}: {', '.join(best)}"))
    if pd.notna(record["metrics"]):
        values = json.loads(record["metrics"])
        size = max(map(len, values), default=0)
        lines += [_line(f"  {to_one_line(name):<{size}}   {value:.4g}") for name, value in values.items()]
    return lines


def _heading(text: str) -> Line:
    return [("Result   ", "bold"), (text, "")]


def _line(text: str, style: str = "") -> Line:
    return [(text, style)]
