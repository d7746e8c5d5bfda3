"""Hooks of mkdocs.yml: files of the repository outside docs/ become pages, and the public API is checked.

A page of docs/ links to README.md, results/ or examples/ by a path in the repository, so that the link also works
where the repository is browsed. Each file that a page links to becomes part of the site: Markdown as a page, other
files as they are.
"""

from __future__ import annotations

import doctest
import json
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
SHARED = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE", "examples/", "results/")
"""Files and folders outside docs/ that may become part of the site."""
BOOSTS = {
    "results/": 0.2, "development/decisions/": 0.3, "development/": 0.5, "changelog.md": 0.2, "reference/json.md": 0.5,
    "reference/python.md": 0.7, "reference/glossary.md": 4.0, "reference/settings.md": 2.0,
    "explanation/protocol.md": 2.0, "tutorial/": 2.0,
}  # fmt: skip
"""Beginning of a page's path → factor of its rank among the results of a search."""
WITH_TOPICS = (
    "reference/settings.md", "reference/glossary.md", "reference/configurations.md", "reference/commands.md",
    "reference/records.md",
)  # fmt: skip
"""Pages whose tables define names; the first page that has a name counts."""
TABLE_HEADS = r"(?:setting|option|argument|name|word|column|starts from) \|"
UNUSED = ("404.html", "sitemap.xml", "sitemap.xml.gz", "assets/javascripts/**/*.map", "assets/**/*.css.map",
          "assets/javascripts/lunr/wordcut.js", "assets/javascripts/lunr/tinyseg.js")  # fmt: skip
"""Files of the theme that need a server or another language."""
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?((?: \"[^\"]*\")?\))")
CODE = re.compile(r"(^ *```.*?^ *```|^ *~~~.*?^ *~~~|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_topics: dict[str, dict[str, str]] = {}
"""Page → name → place in the site, of the rows of its tables."""


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
    """Refuse a public object that is on no page, or has no docstring or no example in it."""
    _topics.clear()
    if missing := undocumented():
        raise PluginError("\n".join(missing))


def undocumented() -> list[str]:
    """Return a line for each fault of the documentation of a public object."""
    package = griffe.load("adamcmp", search_paths=[str(ROOT)])
    shown = re.findall(r"^::: (\S+)$", (ROOT / "docs/reference/python.md").read_text(), re.MULTILINE)
    lines = [
        f"docs/reference/python.md lacks adamcmp.{name}"
        for name in package.exports or ()
        if f"adamcmp.{name}" not in shown
    ]
    for path in shown:
        try:
            thing: Any = package[path.removeprefix("adamcmp.")]
            thing = thing.final_target if thing.is_alias else thing
        except KeyError:
            lines.append(f"{path} is not there")
            continue
        lines += faults(path, thing, needs_example=not thing.is_module)
        for member in thing.members.values() if thing.is_class or thing.is_module else ():
            if not (member.name.startswith("_") or member.is_alias or member.is_class):
                needs_example = member.is_function and not path.endswith(".Rule")
                lines += faults(f"{path}.{member.name}", member, needs_example=needs_example)
    return lines


def faults(path: str, thing: Any, *, needs_example: bool) -> list[str]:
    """Return a line if an object has no docstring, or if an example is missing in it or is not run."""
    if not thing.docstring:
        return [f"{path} has no docstring"]
    examples = doctest.DocTestParser().get_examples(thing.docstring.value)
    if any(doctest.OPTIONFLAGS_BY_NAME["SKIP"] in example.options for example in examples):
        return [f"{path} has an example that is skipped"]
    return [f"{path} has no example in its docstring"] if needs_example and not examples else []


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/ that pages link to, and the pages and files that these link to."""
    waiting = ["README.md", *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith("docs/"):
            files.append(File.generated(config, site_path(path), abs_src_path=str(ROOT / path)))
        for target in linked_files(path) if path.endswith(".md") else ():
            if target not in seen and target.startswith(SHARED):
                waiting.append(target)
                seen.add(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to the site's files, and lists begin after a blank line, which Python-Markdown needs."""
    path = posixpath.relpath(page.file.abs_src_path or "", ROOT)
    boosts = [factor for start, factor in BOOSTS.items() if page.file.src_uri.startswith(start)]
    page.meta["search"] = {"boost": boosts[0] if boosts else 1.0}
    here = posixpath.dirname(page.file.src_uri)

    def relinked(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[2]))
        if "://" in match[2] or not (ROOT / target).exists():
            return match[0]
        if not target.startswith(("docs/", *SHARED)):
            log.warning("%s links to %s, which is not part of the site", path, target)
        return f"{match[1]}{os.path.relpath(site_path(target), here or '.')}{match[3] or ''}{match[4]}"

    if path.startswith("results/"):  # the caption of a figure is its alternative text
        caption = r"!\[[^\]]*\]\((\S+)\)\n\n([^\n\[\]:.;]+)"
        markdown = re.sub(caption, r"![\2](\1)\n\n\2", markdown)
    if interactive_page(path):
        title, _, rest = markdown.partition("\n")
        markdown = f"{title}\n\n[Open the interactive report](report.html): point at a trial, or click it.\n{rest}"
    if page.file.src_uri in WITH_TOPICS:
        markdown = with_anchors(markdown, page.file.src_uri)
    parts = CODE.split(markdown)
    parts[::2] = [LINK.sub(relinked, part) for part in parts[::2]]
    return with_blank_lines("".join(parts))


def with_anchors(markdown: str, uri: str) -> str:
    """Give the first cell of each row of a reference an anchor, and note its names as topics of ``adamcmp docs``."""
    topics = _topics.setdefault(uri, {})

    def anchored(match: re.Match[str]) -> str:
        names = [name.strip("` ") for name in match[1].split(", ")]
        if match[1].startswith("`"):
            names = [name.lstrip("-").partition(" ")[0].replace("[]", "") for name in names]
        anchor = re.sub(r"[^\w.]+", "-", names[0]).strip("-").lower()
        for name in names:
            topics.setdefault(name, f"{uri.removesuffix('.md')}.html#{anchor}")
        return f'| <a id="{anchor}"></a>{match[1]} |'

    return re.sub(rf"^\| (?!-|{TABLE_HEADS})([^|]+?) \|", anchored, markdown, flags=re.MULTILINE)


def on_post_build(config: MkDocsConfig) -> None:
    """Write the topics next to the index of the search, and remove files that nothing uses."""
    site = Path(config.site_dir)
    topics = {name: place for page in reversed(WITH_TOPICS) for name, place in _topics.get(page, {}).items()}
    (site / "search" / "topics.json").write_text(json.dumps(topics, ensure_ascii=False, indent=0))
    for pattern in UNUSED:
        for path in site.glob(pattern):
            path.unlink()


def with_blank_lines(text: str) -> str:
    """Put a blank line between a paragraph and the list that follows it, outside of code."""
    item = r"(?:[-*] |\d+\. )"
    parts = re.split(r"(^ *```.*?^ *```)", text, flags=re.MULTILINE | re.DOTALL)
    spaced = [re.sub(rf"^(?!\s|{item}|$)(.+)\n(?={item})", r"\1\n\n", part, flags=re.MULTILINE) for part in parts[::2]]
    parts[::2] = spaced
    return "".join(parts)
