"""Sections of a page as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from adamcmp.report.sections import (
    Block,
    Bold,
    Bullets,
    Code,
    CodeBlock,
    FigureBlock,
    Inline,
    Line,
    Link,
    Section,
    Table,
    Text,
)
from adamcmp.report.table_formats import to_markdown_table
from adamcmp.text_safety import escape_markdown, to_one_line


def to_markdown(sections: Sequence[Section]) -> str:
    """Return the page as Markdown."""
    first, *others = sections
    parts = [f"# {escape_markdown(first.title)}", *map(_markdown, first.blocks)]
    for section in others:
        parts += [f"## {escape_markdown(section.title)}", *map(_markdown, section.blocks)]
    return "\n\n".join(parts) + "\n"


def _line(text: Line) -> str:
    """Return text or its parts, as Markdown."""
    if isinstance(text, str):
        return escape_markdown(text)
    return "".join(map(_inline, text))


def _inline(part: Inline) -> str:
    match part:
        case Bold():
            return f"**{escape_markdown(part.text)}**"
        case Code():
            return f"`{to_one_line(part.text).replace('`', 'ˋ')}`"
        case Link():
            return f"[{escape_markdown(part.text)}]({part.to})"
        case str():
            return escape_markdown(part)


def _markdown(block: Block) -> str:
    match block:
        case Text():
            return _line(block.text)
        case Bullets():
            return "\n".join(f"- {_line(item)}" for item in block.items)
        case Table():
            return to_markdown_table(block.shown).rstrip()
        case FigureBlock():
            picture = next((f for kind in ("png", "svg") for f in block.files if f.endswith(kind)), None)
            links = " · ".join(f"[{file.rpartition('.')[2]}]({file})" for file in block.files)
            image = f"![{block.name.replace('_', ' ')}]({picture})\n\n" if picture else ""
            return f"{image}{escape_markdown(block.caption)} ({links})"
        case CodeBlock():
            return "\n".join(["~~~sh", *map(to_one_line, block.lines), "~~~"])
