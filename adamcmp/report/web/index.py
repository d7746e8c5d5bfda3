"""``index.html``: the studies of a results folder, with what was found in each and where its page lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from adamcmp.report.labels import distinct
from adamcmp.report.reported import Reported
from adamcmp.report.verdict_text import format_headline, ranked
from adamcmp.report.web.page import lead, render

MOST = 3
"""Verdicts that are shown of a task."""


class Indexed(NamedTuple):
    """A study of the index."""

    name: str
    link: str
    """Its page, from the index."""
    found: Reported
    state: str
    """What is being done on it."""


def index_page(studies: Sequence[Indexed]) -> str:
    """The page, the study with the latest run first."""
    latest = sorted(studies, key=lambda each: each.found.records["finished_at"].max(), reverse=True)
    return render("index.html.jinja", studies=[_shown(each) for each in latest])


def _shown(study: Indexed) -> dict[str, Any]:
    records = study.found.records
    counts = records["status"].value_counts()
    ended = [f"{counts[name]:,} {name}" for name in ("completed", "diverged", "failed") if counts.get(name)]
    return {
        "name": study.name,
        "link": study.link,
        "state": study.state,
        "runs": ", ".join(ended),
        "what": f"{distinct(records['data'])} · {distinct(records['model'])}",
        "latest": f"{records['finished_at'].max():%Y-%m-%d %H:%M} UTC",
        "tasks": [
            {
                "label": each.task.label if len(study.found.reports) > 1 else "",
                "lead": lead(each),
                "verdicts": [
                    (one.kind, format_headline(one, each.criteria.error)) for one in ranked(each.verdicts)[:MOST]
                ],
                "more": max(len(each.verdicts) - MOST, 0),
            }
            for each in study.found.reports
        ],
    }
