"""``index.html``: the studies of a results folder, with their verdicts and links to their pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from adamcmp.report.formatting import join_unique
from adamcmp.report.report_input import ReportInput
from adamcmp.report.verdict_text import format_headline, rank_verdicts
from adamcmp.report.web.report_page import answer_sentence, render_template

MAX_VERDICTS = 3
"""Verdicts that are shown of a task."""


class IndexEntry(NamedTuple):
    """A study of the index."""

    name: str
    link: str
    """Its page, from the index."""
    report: ReportInput
    state: str
    """Running work on the study."""


def index_page(studies: Sequence[IndexEntry]) -> str:
    """Return the page, the study with the latest run first."""
    latest = sorted(studies, key=lambda study: study.report.records["finished_at"].max(), reverse=True)
    return render_template("index.html.jinja", studies=[_entry_content(study) for study in latest])


def _entry_content(study: IndexEntry) -> dict[str, Any]:
    records = study.report.records
    counts = records["status"].value_counts()
    ended = [f"{counts[name]:,} {name}" for name in ("completed", "diverged", "failed") if counts.get(name)]
    return {
        "name": study.name,
        "link": study.link,
        "state": study.state,
        "runs": ", ".join(ended),
        "what": f"{join_unique(records['data'])} · {join_unique(records['model'])}",
        "latest": f"{records['finished_at'].max():%Y-%m-%d %H:%M} UTC",
        "tasks": [
            {
                "label": report.task.label if len(study.report.reports) > 1 else "",
                "lead": answer_sentence(report),
                "verdicts": [
                    (one.kind, format_headline(one, report.criteria.error))
                    for one in rank_verdicts(report.verdicts)[:MAX_VERDICTS]
                ],
                "more": max(len(report.verdicts) - MAX_VERDICTS, 0),
            }
            for report in study.report.reports
        ],
    }
