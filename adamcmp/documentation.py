"""The documentation site of the installed version: where its files are, and which section answers a question."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from adamcmp.errors import InputError, suggest_names


@dataclass(frozen=True)
class Section:
    """A section of a page, as the search index of the site lists it."""

    location: str
    """Path of the page in the site, with the section's anchor: ``reference/settings.html#train``."""
    title: str
    text: str

    @property
    def is_page(self) -> bool:
        """Whether it is the beginning of a page."""
        return "#" not in self.location

    @property
    def names(self) -> set[str]:
        """Names of the section: its title, without ``adamcmp`` too, and the file of a page."""
        title = _normal(self.title)
        stem = self.location.rpartition("/")[2].removesuffix(".html")
        return {title, title.removeprefix("adamcmp "), *([_normal(stem)] if self.is_page else [])}

    def address(self, site: Path) -> str:
        """Return the URL of the section's file."""
        path, _, anchor = self.location.partition("#")
        return site.resolve().joinpath(path or "index.html").as_uri() + (f"#{anchor}" if anchor else "")


def site_folder() -> Path:
    """Return the folder of the built site: inside the wheel, or in the clone that is installed.

    Raises:
        InputError: it has not been built.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "site", package.parent / "site"):
        if (folder / "index.html").is_file():
            return folder
    raise InputError(
        "docs: this installation holds no documentation site; in a clone run scripts/docs, or read the folder docs/"
    )


def find_page(topic: str) -> Section:
    """Return the section that matches a topic best: by name, then by words of titles, then by words of texts.

    Args:
        topic: a page, command, setting or some words; empty for the first page.

    Raises:
        InputError: no section has the words, or the site has not been built.
    """
    sections = _sections(site_folder())
    words = _normal(topic).split()
    if not words:
        return next(section for section in sections if section.location in ("index.html", ""))
    named = [section for section in sections if " ".join(words) in section.names]
    if named:
        return max(named, key=lambda section: (section.is_page, section.location.startswith("reference/")))
    for part in (_title_words, _all_words):
        matches = [section for section in sections if set(words) <= part(section)]
        if matches:
            return max(matches, key=lambda section: _relevance(section, words))
    titles = {title for section in sections if section.is_page for title in section.names}
    raise InputError(f"docs: no page is about {topic!r:.80}; {suggest_names(' '.join(words), titles)}")


def _sections(site: Path) -> list[Section]:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    plain = (Section(entry["location"], _plain(entry["title"]), _plain(entry["text"])) for entry in index["docs"])
    return [section for section in plain if not section.location.startswith("results/reference/")]


def _relevance(section: Section, words: Iterable[str]) -> tuple[bool, float]:
    """Return how well a section matches: whether its title has a word, and the share of its text that the words are."""
    text = _normal(section.text).split()
    return not _title_words(section).isdisjoint(words), sum(map(text.count, words)) / (len(text) + 20)


def _title_words(section: Section) -> set[str]:
    return set(_normal(section.title).split())


def _all_words(section: Section) -> set[str]:
    return {*_normal(section.text).split(), *_title_words(section)}


def _plain(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", text)).strip()


def _normal(text: str) -> str:
    """Return the words of a text in lower case, with dots, dashes and underscores inside them."""
    return " ".join(re.findall(r"[\w.=-]*\w", text.casefold()))
