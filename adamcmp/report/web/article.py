"""``report.html`` of a page that is no study's: its sections, with pictures written into it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adamcmp.report.page import Picture
from adamcmp.report.web.page import picture_size, render

if TYPE_CHECKING:
    from adamcmp.report.article import Article


def article_page(article: Article, pictures: Mapping[str, bytes]) -> str:
    """The page; a picture that could not be drawn is left out, with its caption."""
    sections = [
        {
            "title": section.title,
            "anchor": f"s{i}",
            "blocks": [
                (type(block).__name__, block)
                for block in section.blocks
                if not isinstance(block, Picture) or block.name in pictures
            ],
        }
        for i, section in enumerate(article.sections)
    ]
    drawn = {
        name: (f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}", *picture_size(svg))
        for name, svg in pictures.items()
    }
    return render("article.html.jinja", title=article.title, sections=sections, drawn=drawn)
