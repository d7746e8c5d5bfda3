"""Data of a page's script on a task: plain lists and numbers, in the units in which they are shown.

Trials are rows of ``analysis.trials_table`` in the table's order, and everything else refers to them by index. Numbers
of trials have six significant digits, those of curves three: a line on a screen shows no more. The tables next to the
page have all digits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from adamcmp.analysis import METRICS, TRIAL_KEY, tuning_runs
from adamcmp.analysis.intervals import half_width
from adamcmp.analysis.selection import seed_means
from adamcmp.figures.axis_labels import (
    decay_name,
    display_unit,
    extra_metric_label,
    format_tick,
    metric_label,
    metric_name,
    tick_labels,
)
from adamcmp.figures.heatmap import color_limits, count_circled, is_grid
from adamcmp.figures.style import ArmStyle, arm_styles
from adamcmp.metrics.spec import TaskMetrics
from adamcmp.report import code_recipes, table_formats
from adamcmp.report.check_table import time_unit
from adamcmp.report.commands import retraining_commands
from adamcmp.report.formatting import format_seeds
from adamcmp.report.report_input import TaskReport
from adamcmp.report.web.chart_content import chart_content, round_digits
from adamcmp.storage.schema import METRICS as MEASURED

CONVENTIONS = {
    "weight_decay_lr_scaled": "λ of torch's AdamW, ηαλ",
    "weight_decay_schedule_only": "λ of the paper, ηλ",
    "weight_decay_normalized": "λ normalized",
    "decay_per_step": "decay per step at η = 1",
}
"""λ in every convention; none under L2, which is no share of the weights."""
MAX_EXTRA_METRICS = 40
"""Metrics on request that a page can show; tables have all."""
COPIED_COLUMNS = ("leaderboard", "verdicts", "claims", "effects", "basin", "sensitivity", "metrics", "time_to_error")
"""Tables that are copied as csv with all their digits; the script makes that of the trials."""
END_COLUMNS = ("completed", "diverged", "failed", "pruned")
MAX_CURVES = 24
"""Cells of an optimizer that a search has drawn which a page shows: the best of them."""
STAGES = ("tune", "confirm", "settle")


def task_content(report: TaskReport, runs: pd.DataFrame) -> dict[str, Any]:
    """Return the content of a task, ready for JSON.

    Args:
        report: Report of the task.
        runs: Runs of all tasks, which determine the swept settings of the study's commands.
    """
    report = _on_page(report)
    table, criteria = report.table, report.criteria
    look = arm_styles(table["arm"])
    arms = list(look)
    trial_runs = _runs_with_trial(report)
    metrics = _metrics(criteria)
    requested = _extra_metrics(trial_runs, len(table))
    return {
        "label": report.task.label,
        "error": criteria.error.label,
        "metrics": [*metrics, *requested["metrics"]],
        "arms": [_arm(arm, report, look[arm]) for arm in arms],
        "circled": count_circled(table),
        "cells": _cells(report, trial_runs, arms, metrics, requested["columns"]),
        "limits": _limits(report, metrics, requested["columns"]),
        "fresh": _held_out_results(trial_runs, metrics),
        "retrain": retraining_commands(
            runs, _values_by_trial(tuning_runs(trial_runs), "run_id", len(table)), report.study
        ),
        "recipes": _recipes(trial_runs, report),
        "charts": chart_content(report, arms),
        "csv": {
            table.name: table_formats.to_csv(table.raw)
            for table in report.tables
            if table.name in COPIED_COLUMNS and len(table.raw)
        },
    }


def _on_page(report: TaskReport) -> TaskReport:
    """Return the report with the best of those trials that a search has drawn: a heatmap would have a row for each."""
    table = report.table
    full = {arm: is_grid(part) for arm, part in table.groupby("arm")}
    on_page = table[table["arm"].map(full) | (table["rank"] <= MAX_CURVES)].reset_index(drop=True)
    if len(on_page) == len(table):
        return report
    records = report.task.records.merge(on_page[TRIAL_KEY])
    return replace(report, table=on_page, task=report.task._replace(records=records))


def curves_content(report: TaskReport, curves: pd.DataFrame) -> dict[str, Any]:
    """Return the learning curves of all runs of a task's trials, in the units in which they are shown.

    ``runs`` has one row per run: trial, seed, stage, status, and the index in ``steps`` of its evaluations; ``values``
    has for each metric one list per run, and ``time`` names the axis of steps.
    """
    report = _on_page(report)
    criteria = report.criteria
    runs = _runs_with_trial(report).sort_values(["cell", "stage", "seed"])
    names = [name for name, _, _ in MEASURED]
    run_curves = curves[curves["run_id"].isin(runs["run_id"])].sort_values(["run_id", "step"], kind="stable")
    rounded = {
        name: round_digits(run_curves[name].to_numpy(float) * display_unit(name, criteria)[0], 3) for name in names
    }
    starts = run_curves.reset_index(drop=True).groupby("run_id", sort=False).indices
    all_steps = run_curves["step"].to_numpy()
    steps: dict[tuple[int, ...], int] = {}
    rows, values = [], {name: list[list[float | None]]() for name in names}
    columns = (runs[name] for name in ("run_id", "cell", "seed", "stage", "status"))
    for run_id, cell, seed, stage, status in zip(*columns, strict=True):
        at = starts.get(run_id)
        if at is None:
            continue
        first, end = int(at[0]), int(at[-1]) + 1
        of_run = tuple(int(step) for step in all_steps[first:end])
        kind = STAGES.index(stage) if stage in STAGES else 0
        rows.append([cell, int(seed), kind, END_COLUMNS.index(status), steps.setdefault(of_run, len(steps))])
        for name in names:
            values[name].append(rounded[name][first:end])
    metrics = [
        {"key": name, "name": metric_label(name, criteria), "unit": display_unit(name, criteria)[1]} for name in names
    ]
    return {
        "time": time_unit(report.check),
        "metrics": metrics,
        "steps": [list(step) for step in steps],
        "runs": rows,
        "values": values,
    }


def _runs_with_trial(report: TaskReport) -> pd.DataFrame:
    """Return the runs of a task's trials, with the column ``cell``, the place of theirs."""
    place = {cell: i for i, cell in enumerate(report.table[TRIAL_KEY].itertuples(index=False, name=None))}
    runs = report.task.records
    placed = runs.assign(cell=[place.get(cell, -1) for cell in runs[TRIAL_KEY].itertuples(index=False, name=None)])
    return placed[placed["cell"] >= 0]


def _metrics(criteria: TaskMetrics) -> list[dict[str, Any]]:
    metrics = []
    for metric in METRICS:
        factor, unit = display_unit(metric, criteria)
        when, _, what = metric.partition("_")
        _, _, kind = what.partition("_")
        more = kind == "error" and criteria.error.higher_is_better
        metric_content = {
            "key": metric,
            "name": metric_name(metric, criteria),
            "unit": unit,
            "factor": factor,
            "higher": more,
        }
        metrics.append({**metric_content, "when": when, "measure": kind or "gap", "requested": False})
    return metrics


def _extra_metrics(runs: pd.DataFrame, count: int) -> dict[str, Any]:
    """Return metrics on request of each trial after the last step, over its tuning runs: their names, means and half
    widths.
    """
    measured = tuning_runs(runs)
    measured = measured[measured["metrics"].notna() & (measured["status"] == "completed")]
    flat = pd.DataFrame(
        [
            (cell, name, value)
            for cell, text in measured[["cell", "metrics"]].itertuples(index=False)
            for name, value in list(json.loads(text).items())[:MAX_EXTRA_METRICS]
        ],
        columns=["cell", "name", "value"],
    )
    metrics, columns = [], {}
    for name, part in flat.groupby("name", sort=False):
        groups = part.groupby("cell")["value"]
        mean = groups.mean()
        half = pd.Series(half_width(groups.std(ddof=1), groups.count()), mean.index)
        key = f"requested_{name}"
        metrics.append({"key": key, "name": extra_metric_label(str(name)), "unit": "", "requested": True})
        columns[key] = tuple(
            round_digits(np.asarray(column.reindex(range(count)), np.float64)) for column in (mean, half)
        )
    return {"metrics": metrics, "columns": columns}


def _arm(arm: str, report: TaskReport, look: ArmStyle) -> dict[str, Any]:
    arm_rows = report.table[report.table["arm"] == arm]
    first = arm_rows.iloc[0]
    return {
        "name": arm,
        "colour": look.colour,
        "shape": look.marker,
        "dash": "" if look.dash == "-" else " ".join(f"{2.2 * length:g}" for length in look.dash[1]),
        "optimizer": first["optimizer"],
        "schedule": first["schedule"],
        "decay": decay_name(first["decay"]),
        "edge": next((str(edge) for edge in arm_rows["edge"] if edge), ""),
    }


def _cells(
    report: TaskReport,
    runs: pd.DataFrame,
    arms: list[str],
    metrics: Iterable[Mapping[str, Any]],
    requested: Mapping[str, tuple[list[Any], list[Any]]],
) -> dict[str, Any]:
    """Return columns of the trials."""
    table = report.table
    lrs, decays = _axis(table["lr"]), _axis(table["weight_decay"])
    tuned = tuning_runs(runs)
    values = {
        str(metric["key"]): (
            round_digits(table[metric["key"]].to_numpy(float) * metric["factor"]),
            round_digits(table[f"{metric['key']}_half_width"].to_numpy(float) * metric["factor"]),
        )
        for metric in metrics
    }
    return {
        "arm": [arms.index(arm) for arm in table["arm"]],
        "lr": [lrs["values"].index(lr) for lr in table["lr"]],
        "decay": [decays["values"].index(decay) for decay in table["weight_decay"]],
        "lrs": lrs,
        "decays": decays,
        "conventions": {
            text: [format_tick(x, 4) if math.isfinite(x) else None for x in table[column].to_numpy(float)]
            for column, text in CONVENTIONS.items()
            if table[column].notna().any()
        },
        "runs": table["runs"].tolist(),
        "n": table["n"].tolist(),
        "diverged": table["diverged"].tolist(),
        "failed": table["failed"].tolist(),
        "eligible": table["eligible"].tolist(),
        "rank": [None if math.isnan(rank) else int(rank) for rank in table["rank"]],
        "edge": table["edge"].tolist(),
        "seconds": round_digits(table["seconds"].to_numpy(float), 3),
        "seeds": [format_seeds(map(int, seeds)) for seeds in _values_by_trial(tuned, "seed", len(table))],
        "wrong": {str(cell): _failures(part) for cell, part in tuned[tuned["status"] != "completed"].groupby("cell")},
        "values": {key: value for key, (value, _) in {**values, **requested}.items()},
        "halves": {key: half for key, (_, half) in {**values, **requested}.items()},
    }


def _axis(column: pd.Series) -> dict[str, list[Any]]:
    """Return the values of one axis of the grid, rising; their labels, alike in all, and exact enough to be read."""
    values = sorted(float(x) for x in column.unique())
    return {"values": values, "ticks": tick_labels(values), "texts": [format_tick(x, 4) for x in values]}


def _failures(runs: pd.DataFrame) -> list[str]:
    """Return the step or the reason of each run that did not complete."""
    lines = []
    for row in runs.sort_values("seed").to_dict("records"):
        if row["status"] == "diverged":
            lines.append(f"seed {row['seed']} diverged: the loss was not finite at step {row['diverged_step']:,.0f}")
        else:
            text = row["error"].strip() if isinstance(row["error"], str) else ""
            lines.append(f"seed {row['seed']} failed: {text.splitlines()[-1] if text else 'no error text'}")
    return lines


def _limits(
    report: TaskReport, metrics: Iterable[Mapping[str, Any]], requested: Mapping[str, tuple[list[Any], list[Any]]]
) -> dict[str, Any]:
    """Return ends of the color scale of each metric, dark first, and whether something is worse than the last."""
    limits = {}
    some = report.table["n"].to_numpy() > 0
    for metric in metrics:
        sign = -1.0 if metric["higher"] else 1.0
        known = report.table.loc[some, metric["key"]].to_numpy(float) * metric["factor"] * sign
        low, high, clipped = color_limits(known)
        limits[str(metric["key"])] = [sign * low, sign * high, clipped]
    for key, (values, _) in requested.items():
        low, high, clipped = color_limits(np.array(values, dtype=float))
        limits[key] = [low, high, clipped]
    return limits


def _held_out_results(runs: pd.DataFrame, metrics: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the held-out results by trial: number of seeds, seeds, means and half widths."""
    judged = runs.drop(tuning_runs(runs).index)
    judged = judged[judged["status"] == "completed"]
    if judged.empty:
        return {}
    means = seed_means(judged, ["cell"])
    by_trial = {}
    for cell, row in means.iterrows():
        part = judged[judged["cell"] == cell]
        by_trial[str(cell)] = {
            "n": len(part),
            "seeds": format_seeds(part["seed"].astype(int)),
            "values": {
                str(metric["key"]): round_digits(
                    np.array([row[metric["key"]], row[f"{metric['key']}_half_width"]], float) * metric["factor"]
                )
                for metric in metrics
            },
        }
    return by_trial


def _values_by_trial(runs: pd.DataFrame, column: str, count: int) -> list[list[Any]]:
    """Return the values of a column in the runs of each trial."""
    values_by_trial: list[list[Any]] = [[] for _ in range(count)]
    for cell, value in zip(runs["cell"], runs[column], strict=True):
        values_by_trial[cell].append(value)
    return values_by_trial


def _recipes(runs: pd.DataFrame, report: TaskReport) -> dict[str, Any]:
    """Return code of each trial by framework: whole texts, and for each trial which of them it is with which lines
    changed.

    The recipes of an optimizer differ in a few numbers, so that a text a trial would be most of the page.
    """
    first = tuning_runs(runs).sort_values(["cell", "seed"]).drop_duplicates("cell")
    recipes: dict[str, Any] = {}
    for framework, name in code_recipes.FRAMEWORKS.items():
        texts: list[list[str]] = []
        indices: dict[tuple[str, int], int] = {}
        of_cells: list[list[Any]] = []
        for _, run in first.iterrows():
            title = f"{run['arm']}, lr {run['lr']:.6g}, λ {run['weight_decay']:.6g}, a trial of {report.task.label}"
            lines = code_recipes.training_code(run, framework, title).splitlines()
            key = (str(run["arm"]), len(lines))
            if key not in indices:
                indices[key] = len(texts)
                texts.append(lines)
            base = texts[indices[key]]
            changed = [[i, line] for i, (line, old) in enumerate(zip(lines, base, strict=True)) if line != old]
            of_cells.append([indices[key], changed])
        recipes[name] = {"texts": ["\n".join(text) for text in texts], "cells": of_cells}
    return recipes
