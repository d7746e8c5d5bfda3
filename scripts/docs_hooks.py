"""Hooks of mkdocs.yml: files of the repository outside docs/ become pages, and the public API is checked.

A page of docs/ links to README.md, results/ or examples/ by a path in the repository, so that the link also works
where the repository is browsed. Each file that a page links to becomes part of the site: Markdown as a page, other
files as they are.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

log = get_plugin_logger("docs_hooks")
"""Its warnings end a strict build."""
ROOT = Path(__file__).resolve().parent.parent
RENAMED = {
    "README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "development/contributing.md",
    "examples/README.md": "examples/index.md",
}  # fmt: skip
"""Path in the repository → path in the site; others keep theirs, without ``docs/``."""
BOOSTS = {
    "results/": 0.2, "development/decisions/": 0.3, "development/": 0.5, "changelog.md": 0.2, "reference/json.md": 0.5,
    "reference/python.md": 0.7, "reference/glossary.md": 4.0, "explanation/protocol.md": 2.0, "tutorial/": 2.0,
}  # fmt: skip
"""Beginning of a page's path → factor of its rank among the results of a search."""
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
CODE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def site_path(path: str) -> str:
    """Return where a file of the repository is in the site; ``report.md`` leaves its name to the page next to it."""
    if path.startswith("results/") and path.endswith("/report.md"):
        return path.replace("/report.md", "/index.md")
    return RENAMED.get(path, path.removeprefix("docs/"))


def linked_files(path: str) -> list[str]:
    """Return the files of the repository that a page links to."""
    texts = CODE.split((ROOT / path).read_text())[::2]
    folder = posixpath.dirname(path)
    targets = [posixpath.normpath(posixpath.join(folder, m[2])) for m in LINK.finditer("".join(texts))]
    return [target for target in [*targets, *interactive_page(path)] if (ROOT / target).is_file()]


def interactive_page(path: str) -> list[str]:
    """Return the interactive page of a report, if it is committed."""
    page = path.removesuffix(".md") + ".html"
    return [page] if path.startswith("results/") and (ROOT / page).is_file() else []


class DoctestSections(griffe.Extension):
    """Makes a section of the examples in a docstring, which Google's style has under a heading."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Put ``Examples:`` in front of the first example, and indent them."""
        text = obj.docstring.value if obj.docstring else ""
        before, sign, examples = text.partition("\n>>> ")
        if obj.docstring and sign and "Examples:" not in before:
            lines = f">>> {examples}".splitlines()
            obj.docstring.value = before + "\n\nExamples:\n" + "\n".join(f"    {line}" for line in lines)


def on_pre_build(config: MkDocsConfig) -> None:
    """Refuse a public object without a docstring, or without an example in it."""
    if missing := undocumented():
        raise PluginError("\n".join(missing))


def undocumented() -> list[str]:
    """Return a line for each public object whose docstring, or the example in it, is missing."""
    package = griffe.load("adamcmp", search_paths=[str(ROOT)])
    lines = []
    for name in package.exports or ():
        thing: Any = package.members[str(name)]
        thing = thing.final_target if thing.is_alias else thing
        if not thing.docstring:
            lines.append(f"adamcmp.{name} has no docstring")
        elif ">>>" not in thing.docstring.value:
            lines.append(f"adamcmp.{name} has no example in its docstring")
        members = thing.members.values() if thing.is_class else ()
        lines += [
            f"adamcmp.{name}.{member.name} has no docstring"
            for member in members
            if not (member.name.startswith("_") or member.is_alias or member.docstring)
        ]
    return lines


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/ that pages link to, and the pages and files that these link to."""
    waiting = ["README.md", *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith("docs/"):
            files.append(File.generated(config, site_path(path), abs_src_path=str(ROOT / path)))
        if path.endswith(".md"):
            new = [target for target in linked_files(path) if target not in seen]
            waiting += new
            seen.update(new)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to the site's files, and lists begin after a blank line, which Python-Markdown needs."""
    path = posixpath.relpath(page.file.abs_src_path or "", ROOT)
    boosts = [factor for start, factor in BOOSTS.items() if page.file.src_uri.startswith(start)]
    page.meta["search"] = {"boost": boosts[0] if boosts else 1.0}
    if path.startswith("results/"):  # the caption of a figure is its alternative text
        caption = r"!\[[^\]]*\]\((\S+)\)\n\n([^\n\[\]:.;]+)"
        markdown = re.sub(caption, r"![\2](\1)\n\n\2", markdown)
    if interactive_page(path):
        title, _, rest = markdown.partition("\n")
        markdown = f"{title}\n\n[Open the interactive report](report.html): point at a trial, or click it.\n{rest}"
    here = posixpath.dirname(page.file.src_uri)

    def relinked(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[2]))
        if "://" in match[2] or not (ROOT / target).exists():
            return match[0]
        return f"{match[1]}{os.path.relpath(site_path(target), here or '.')}{match[3] or ''}{match[4]}"

    for match in re.finditer(r"!\[\s*\]\((\S+)\)", markdown):
        log.warning("%s: the image %s has no alternative text", path, match[1])
    parts = CODE.split(markdown)
    parts[::2] = [with_blank_lines(LINK.sub(relinked, part)) for part in parts[::2]]
    return "".join(parts)


def with_blank_lines(text: str) -> str:
    """Put a blank line between a paragraph and the list that follows it."""
    item = r"(?:[-*] |\d+\. )"
    return re.sub(rf"^(?!\s|{item}|$)(.+)\n(?={item})", r"\1\n\n", text, flags=re.MULTILINE)
