"""``report.html`` of claims and conventions: sections in one file, with figures written into it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from adamcmp.report.sections import FigureBlock, Section
from adamcmp.report.web.report_page import render_template, svg_size


def article_page(title: str, sections: Sequence[Section], figures: Mapping[str, bytes]) -> str:
    """Return the page as HTML.

    Args:
        title: of the page.
        sections: of the page, in order; a figure that is not in ``figures`` is left out with its caption.
        figures: SVG of each figure that could be drawn, by name.
    """
    shown = [
        {
            "title": section.title,
            "anchor": f"s{i}",
            "blocks": [
                (type(block).__name__, block)
                for block in section.blocks
                if not isinstance(block, FigureBlock) or block.name in figures
            ],
        }
        for i, section in enumerate(sections)
    ]
    drawn = {
        name: (f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}", *svg_size(svg))
        for name, svg in figures.items()
    }
    return render_template("article.html.jinja", title=title, sections=shown, drawn=drawn)
