"""``report.html``: one file with a study's results for a browser, without network or server.

A strict Content-Security-Policy names the hashes of its scripts and of its style, and allows nothing else: names by
users cannot become code even if an escape is missing. The data of the scripts are packed as gzip in base64.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import jinja2
import pandas as pd

from adamcmp.analysis import tuning_runs
from adamcmp.analysis.selection import is_foreign
from adamcmp.analysis.verdicts import Verdict
from adamcmp.figures.axis_labels import format_tick
from adamcmp.metrics.spec import TaskMetrics
from adamcmp.report.answer import format_answer
from adamcmp.report.formatting import NO_VALUE, format_mean_ci, format_seeds, join_unique
from adamcmp.report.report_input import ReportInput, TaskReport, across_tables, claims_report_table
from adamcmp.report.sections import (
    CAPTIONS,
    CLAIM_LEGEND,
    figure_captions,
    format_warnings,
    leaderboard_legend,
    protocol_text,
    provenance_section,
    selection_data,
)
from adamcmp.report.verdict_text import (
    ACROSS,
    MAX_SENTENCES,
    format_headline,
    format_other_pairs,
    format_pooled,
    format_sources,
    format_split_verdicts,
    format_verdict,
    rank_verdicts,
)
from adamcmp.report.web.page_content import curves_content, task_content
from adamcmp.text_safety import to_one_line

SCRIPTS = ("d3.js", "dom.js", "charts.js", "heatmaps.js", "cells.js", "tables.js", "main.js")
STYLE = "report.css"
CELL, LOW, PANEL, DENSE = 26, 16, 30, 16
"""Heights in pixels: of a heatmap's row, of one among more than ``DENSE``, and of the space below them."""
ROW, AXIS = 22, 64
"""Pixels: of a row of dots with intervals, and of their axis."""
MAX_MATRIX = 8
"""Optimizers whose matrix of verdicts has room next to the results."""
SECTIONS = {
    "verdict": "Verdict",
    "grid": "lr × λ",
    "curves": "Learning curves",
    "leaderboard": "Leaderboard",
    "cells": "All trials",
    "search": "Search and basin",
    "pairs": "Pairwise comparisons",
    "protocol": "Protocol",
}


def html_page(report_input: ReportInput, reports: Sequence[TaskReport], svgs: Sequence[Mapping[str, bytes]]) -> str:
    """Return the page of a study.

    Args:
        report_input: Input of the report.
        reports: Reports of its tasks.
        svgs: SVG by figure name, of each task and, for several tasks, of all together.
    """
    tasks = [_task(report, report_input, f"t{i}") for i, report in enumerate(reports)]
    whole: dict[str, Any] = {}
    if len(reports) > 1:
        said = report_input.study_findings.about({None})
        lines = [finding.text for finding in said.findings]
        lines += [
            line
            for blocks in report_input.over_splits([r.task for r in reports])
            for line in format_split_verdicts(blocks)
        ]
        lines += [format_pooled(pooled) for pooled in report_input.pooled[:MAX_SENTENCES]]
        exhibit_captions = {exhibit.name: exhibit.caption for exhibit in said.exhibits}
        error = reports[0].criteria.error.label
        whole = {
            "findings": lines,
            "claims": claims_report_table(said.claims).shown if said.claims else None,
            "across": [made.shown for made in across_tables(report_input)],
            "across_note": ACROSS,
            "figures": [
                (name, (CAPTIONS | exhibit_captions)[name].format(error=error), *svg_size(svg))
                for name, svg in svgs[-1].items()
            ],
        }
    contents = [task_content(report, report_input.records) for report in reports]
    drawn_elsewhere = [{name: svg.decode() for name, svg in drawn.items()} for drawn in svgs]
    curves = [curves_content(report, report_input.curves) if len(report_input.curves) else None for report in reports]
    for task, content, drawn in zip(tasks, contents, svgs, strict=False):
        task["figures"] = [(name, task["captions"][name], *svg_size(svg)) for name, svg in drawn.items()]
        task["charts"] = content["charts"]
        task["cells"] = len(content["cells"]["n"])
        task["metrics"] = content["metrics"]
        task["arms"] = content["arms"]
        task["schedules"] = sorted({str(arm["schedule"]) for arm in content["arms"]})
        task["panels"] = _panels(content)
    return render_template(
        "report.html.jinja",
        study=report_input.title,
        tasks=tasks,
        whole=whole,
        sections=SECTIONS,
        claimed=CLAIM_LEGEND.text,
        content=pack_json({"tasks": contents, "pictures": drawn_elsewhere}),
        curves=[pack_json(curve) for curve in curves],
        row=ROW,
        axis=AXIS,
    )


def render_template(template: str, **values: Any) -> str:
    """Return a template of a page, with scripts and style written into it and a policy that allows no others."""
    names = SCRIPTS if template.startswith("report") else ()
    scripts = [_static(name) for name in names]
    style = _static(STYLE)
    allowed = " ".join(map(_script_hash, scripts)) or "'none'"
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {allowed}",
            f"style-src {_script_hash(style)}",
            "img-src blob: data:" if template.startswith("article") else "img-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ]
    )
    return _environment().get_template(template).render(scripts=scripts, style=style, policy=policy, **values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("adamcmp.report"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: (
            to_one_line(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
        ),
    )
    environment.filters["parts"] = lambda line: [line] if isinstance(line, str) else list(line)
    return environment


@cache
def _static(name: str) -> str:
    return (resources.files("adamcmp.report.web") / "static" / name).read_text(encoding="utf-8").rstrip("\n")


def _script_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def pack_json(content: Any) -> str:
    """Return JSON as gzip in base64; the same content gives the same text."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _task(report: TaskReport, report_input: ReportInput, name: str) -> dict[str, Any]:
    """Return the values of the template for a task."""
    records, board, criteria = report.task.records, report.board, report.criteria
    shown = report.shown
    pairs = {format_verdict(verdict, criteria.error) for verdict in report.verdicts}
    pairs.add(format_other_pairs(len(report.verdicts)))  # which the page says in its own place
    code, facts = provenance_section(report.task)
    return {
        "name": name,
        "label": report.task.label,
        "question": _question(report),
        "lead": answer_sentence(report),
        "verdicts": [
            (verdict.kind, format_headline(verdict, criteria.error), _details(verdict, criteria))
            for verdict in rank_verdicts(report.verdicts)[:MAX_SENTENCES]
        ],
        "more": max(len(report.verdicts) - MAX_SENTENCES, 0),
        "findings": [finding for finding in report.findings if finding not in pairs],
        "claims": shown.get("claims"),
        "error": criteria.error.label,
        "confirmed": bool((board["stage"] == "confirm").any()),
        "five": _protocol_lines(report),
        "warnings": format_warnings(report),
        "legend": leaderboard_legend(report).text,
        "protocol": protocol_text(report),
        "commands": code.lines,
        "facts": facts.items,
        "made_from": (
            f"{len(records):,} runs ({(records['status'] == 'diverged').sum():,} diverged, "
            f"{(records['status'] == 'failed').sum():,} failed) by adamcmp {join_unique(records['adamcmp_version'])} "
            f"with torch {join_unique(records['torch_version'])} on {join_unique(records['device'])}, "
            f"git commit {_commits(records['git_commit'])}"
        ),
        "tables": {name_: shown[name_] for name_ in ("leaderboard", "verdicts", "effects", "basin", "sensitivity",
                                                     "best_of_k", "metrics", "time_to_error") if name_ in shown},
        "target_error": report_input.target_error,
        "matrix": (matrix := _matrix(report.verdicts, criteria)),
        "shows_matrix": 2 < len(matrix["arms"]) <= MAX_MATRIX,
        "captions": figure_captions(report),
    }  # fmt: skip


def _details(verdict: Verdict, criteria: TaskMetrics) -> str:
    sources = format_sources(verdict, criteria.error)
    return format_verdict(verdict, criteria.error) + (f" ({sources})" if sources else "")


def _commits(values: pd.Series) -> str:
    return ", ".join(sorted({str(commit)[:9] for commit in values.dropna()})[:3]) or "unknown"


def _question(report: TaskReport) -> str:
    arms = [str(arm) for arm in sorted(report.board["arm"], key=str.casefold)]
    where = f"on {report.task.label}, and with which learning rate and weight decay?"
    if len(arms) == 1:
        return f"What does {arms[0]} reach {where.replace('and with', 'with')}"
    if len(arms) > 3:
        return f"Which of {len(arms)} optimizers generalizes best {where}"
    return f"{', '.join(arms[:-1])} or {arms[-1]}: which generalizes {'better' if len(arms) == 2 else 'best'} {where}"


def answer_sentence(report: TaskReport) -> str:
    """Return the answer in one sentence; of a single optimizer its test error."""
    criteria, board = report.criteria, report.board[report.board["final_test_error"].notna()]
    if board.empty:
        return "No trial can be selected: in all of them runs diverged, failed or are missing."
    if len(board) > 1:
        return format_answer(report.verdicts, criteria.error)
    best = board.iloc[0]
    value = format_mean_ci(best["final_test_error"], best["final_test_error_half_width"], "final_test_error", criteria)
    counted = (
        f"{best['n']} {'held-out' if best['stage'] == 'confirm' else 'tuning'} seed{'' if best['n'] == 1 else 's'}"
    )
    where = f"lr {format_tick(best['lr'], 4)}, λ {format_tick(best['weight_decay'], 4)}"
    return f"{best['arm']}: test {criteria.error.label} {value} on {counted} with {where}."


def _protocol_lines(report: TaskReport) -> list[str]:
    """Return the protocol in five lines."""
    records, board, criteria = report.task.records, report.board, report.criteria
    tuned = tuning_runs(records)["seed"].dropna().astype(int)
    seeds = format_seeds(tuned)
    judged = records.loc[records["stage"] == "confirm", "seed"].dropna().astype(int)
    better = "highest" if criteria.error.higher_is_better else "lowest"
    trials = sorted(set(board["trials"]))
    searched = f"{trials[0]:,}" if len(trials) == 1 else f"{trials[0]:,} to {trials[-1]:,}"
    foreign = is_foreign(records)
    shared = "" if foreign else ", with the same weights and batches"
    by_us = (
        f"{join_unique(records['model'])} on {join_unique(records['data'])}, "
        f"{join_unique(records['steps'].map('{:,}'.format))} steps, batches of {join_unique(records['batch_size'])}, "
        f"{criteria.loss_text}, schedule {join_unique(records['schedule'], 6)}"
    )
    return [
        f"Tuning: {searched} trials (lr, λ) per optimizer on seeds {seeds}{shared}.",
        (
            f"Selection: the {better} mean validation {criteria.error.label} after the last step. "
            f"{selection_data(records)}"
        ),
        f"Evaluation: {judged.nunique()} held-out seeds ({format_seeds(judged)})."
        if len(judged)
        else "Evaluation: the tuning runs, whose results are optimistic. study.confirm.seeds=8 adds held-out seeds.",
        (
            "Comparison: t-test at 0.05 with the variance over seeds, test examples and selection, and Holm's "
            "correction over pairs. A difference is significant exactly when its simultaneous interval excludes 0."
        ),
        f"Training: {f'by {report.task.label}' if foreign else by_us}.",
    ]


def _matrix(verdicts: Sequence[Verdict], criteria: TaskMetrics) -> dict[str, Any]:
    """Return row minus column for every pair: kind, text and words for who cannot see colors."""
    compared = [verdict for verdict in verdicts if verdict.kind != "none"]
    arms = list(dict.fromkeys(name for verdict in compared for name in (verdict.a, verdict.b)))
    sign = criteria.error.sign
    cells: dict[tuple[str, str], tuple[str, str, str]] = {}
    for pair in compared:
        for row, column, mean in ((pair.a, pair.b, pair.mean), (pair.b, pair.a, -pair.mean)):
            better = sign * mean < 0
            kind = pair.kind if pair.kind != "apart" else "better" if better else "worse"
            mark = {"better": "▲ better", "worse": "▼ worse", "same": "≈ equivalent", "open": "· not significant"}[kind]
            text = format_mean_ci(mean, float("nan"), "final_gap", criteria)
            cells[row, column] = (kind, mark, text if mean < 0 else f"+{text}")
    return {
        "arms": arms,
        "rows": [(row, [cells.get((row, column), ("", NO_VALUE, "")) for column in arms]) for row in arms],
    }


def svg_size(svg: bytes) -> tuple[int, int]:
    """Return the size of an SVG in pixels, so that its place is reserved before it is shown."""
    root = svg[: svg.index(b">", svg.index(b"<svg"))]
    attributes = dict(re.findall(rb' (width|height)="([\d.]+)pt"', root))
    return round(float(attributes[b"width"]) * 4 / 3), round(float(attributes[b"height"]) * 4 / 3)


def _panels(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each optimizer's heatmap before it is drawn: how high it will be, so that nothing moves."""
    cells = content["cells"]
    rows: dict[int, set[int]] = {}
    for arm, lr in zip(cells["arm"], cells["lr"], strict=True):
        rows.setdefault(arm, set()).add(lr)
    heights = {i: (CELL if len(lrs) <= DENSE else LOW) * len(lrs) + PANEL for i, lrs in rows.items()}
    return [{**arm, "height": heights.get(i, PANEL)} for i, arm in enumerate(content["arms"])]
