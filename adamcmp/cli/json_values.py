"""Leaderboards, verdicts and claims as values of ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adamcmp.analysis import TaskRecords, Verdict
    from adamcmp.analysis.claim import Claim
    from adamcmp.report.report_input import ReportInput
    from adamcmp.report.warnings import ReportWarning


def leaderboard_as_json(report: ReportInput, task: TaskRecords) -> dict[str, Any]:
    """Return a task as ``--json`` prints it."""
    from adamcmp.analysis import task_metrics
    from adamcmp.report.answer import format_answer
    from adamcmp.report.verdict_text import format_verdict

    error, table = task_metrics(task.records).error, report.trials(task)
    names = table.groupby("arm")[["optimizer", "schedule"]].first()  # an optimizer has one of each
    board = report.board(task).join(names, on="arm")
    verdicts = report.verdicts(task)
    return {
        "task": task.task,
        "label": task.label,
        "error": {"name": error.name, "unit": error.stored_unit, "better": error.better},
        "runs": task.records["status"].value_counts().to_dict(),
        "leaderboard": board[list(JSON_LEADERBOARD_COLUMNS)].to_dict("records"),
        "answer": format_answer(verdicts, error),
        "verdicts": [verdict_as_json(verdict, format_verdict(verdict, error)) for verdict in verdicts],
        "warnings": [warned.text for warned in warnings_of_task(report, task)],
    }


def verdict_as_json(verdict: Verdict, text: str) -> dict[str, Any]:
    """Return a verdict as ``--json`` prints it."""
    from adamcmp.report.verdict_text import NAMES

    numbers = {"n": verdict.n, "difference": verdict.mean, "low": verdict.low, "high": verdict.high}
    kinds = {"kind": verdict.kind, "verdict": NAMES[verdict.kind]}
    more = {
        name: getattr(verdict, name) for name in ("p_value", "margin", "seeds_needed", "detectable", "limit", "pairs")
    }
    return {"a": verdict.a, "b": verdict.b, **kinds, **numbers, **more, "text": text}


def claims_as_json(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Return claims as ``--json`` prints them."""
    return [
        {
            "statement": claim.statement, "measured": claim.measured, "on": claim.on, "unit": claim.unit,
            "value": claim.estimate.value, "low": claim.estimate.low, "high": claim.estimate.high,
            "predicted": list(claim.predicted), "verdict": claim.verdict,
        }
        for claim in claims
    ]  # fmt: skip


def warnings_of_task(report: ReportInput, task: TaskRecords) -> list[ReportWarning]:
    """Return the warnings on one task."""
    from adamcmp.report.warnings import collect_warnings

    return collect_warnings(report.board(task), report.trials(task), task.records, report.verdicts(task))


JSON_LEADERBOARD_COLUMNS = (
    "arm", "optimizer", "schedule", "lr", "weight_decay", "decay", "stage", "n", "trials", "edge",
    "final_validation_error", "final_validation_error_half_width", "final_test_error",
    "final_test_error_half_width", "final_gap",
)  # fmt: skip
"""Columns of a leaderboard that ``--json`` prints; one that a leaderboard lacks is a KeyError."""
