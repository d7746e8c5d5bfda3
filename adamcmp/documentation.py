"""The documentation site of the installed version: where its files are, and which section answers a question."""

from __future__ import annotations

import html
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from adamcmp.errors import InputError, quote_value, suggest_names

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a adamcmp an and are as at be by can do does for from get has how i if in into is it its my no not of on or "
        "set should that the their there this to use used what when where which who why will with you your",
    )
)
"""Words of a question that name nothing."""
GROUPS = frozenset({"optimizer", "model", "data", "schedule", "search", "execute"})
"""Settings whose values are configurations."""
SYNONYMS = {
    "weight_decay": "optimizer.weight_decay", "decay": "decay conventions", "schedule": "schedules", "index": "",
    "changes": "changelog", "extend": "study.extend", "multi-gpu": "several gpus and one run on several",
    "missing values": "tables", "multiple comparisons": "one difference one interval", "resume": "checkpoint",
    "holm": "one difference one interval", "nan": "diverged", "grid": "study.grid", "seeds": "study.seeds",
    "api": "python", "quickstart": "your first verdict", "getting started": "your first verdict",
    "start": "your first verdict", "tutorial": "your first verdict", "home": "", "lambda": "λ", "alpha": "lr",
    "learning rate": "lr", "weight decay": "λ", "jupyter": "python", "notebook": "python", "colab": "python",
    "huggingface": "examples", "lightning": "examples", "transformers": "examples", "logging": "log",
    "early stopping": "searching", "csv": "tables", "regression": "targets", "gpus": "gpu",
    "gpu": "several gpus and one run on several", "cuda": "execute.device", "cpu": "execute.device",
    "significance": "significantly better", "equivalence": "equivalent within m", "license": "adamcmp",
    "windows": "install", "mac": "install", "macos": "install", "uninstall": "install", "checkpoints": "checkpoint",
}  # fmt: skip
"""Other words for the name of a section."""
PREFERENCE = {
    "results/": 0.1, "changelog": 0.1, "development/": 0.3, "reference/python": 0.5, "reference/json": 0.6,
    "reference/glossary": 2.0, "tutorial/": 1.2, "howto/": 1.2,
}  # fmt: skip
"""Beginning of a page's path → factor of its score among pages with the words of a question."""
TITLE_WEIGHT = 4.0
"""Weight of a word in a title over one in a text."""


@dataclass(frozen=True)
class Section:
    """A section of a page, as the search index of the site lists it."""

    location: str
    """Path of the page in the site, with the section's anchor: ``reference/settings.html#train``."""
    title: str
    text: str = ""

    @property
    def names(self) -> set[str]:
        """Names of the section: its title, without ``adamcmp`` too, and the file of a page."""
        title = _normal(self.title)
        page, _, anchor = self.location.partition("#")
        paths = [] if anchor else [page.removesuffix(".html"), page.removesuffix(".html").rpartition("/")[2]]
        return {title, title.removeprefix("adamcmp "), *map(_normal, paths)} - {""}

    @cached_property
    def title_words(self) -> frozenset[str]:
        """Words of the title."""
        return frozenset(map(_stem, _words(self.title)))

    @cached_property
    def word_counts(self) -> Counter[str]:
        """Words of title and text, and how often they occur."""
        return Counter(map(_stem, _words(f"{self.title} {self.text}")))

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
    clone = [package.parent / "site"] if (package.parent / "mkdocs.yml").is_file() else []
    for folder in (package / "site", *clone):
        if (folder / "index.html").is_file():
            return folder
    raise InputError(
        "docs: this installation holds no documentation site; in a clone run scripts/docs, or read the folder docs/"
    )


def find_page(topic: str) -> Section:
    """Return the section that a topic names, or else the one that has its words most.

    Args:
        topic: a page, command, setting, word of the glossary, or a question; empty for the first page.

    Raises:
        InputError: no section has the words, or the site has not been built or is damaged.
    """
    sections, topics = _read_index(site_folder())
    if not topic.strip():
        return next(section for section in sections if section.location in ("index.html", ""))
    key, _, value = topic.strip().partition("=")
    name = _normal(key.removeprefix("docs/").removeprefix("adamcmp.").removesuffix(".md").removesuffix(".html"))
    values = [f"{name} {_normal(value)}", _normal(value.partition(",")[0])] if name in GROUPS and value else []
    if values and values[1] in topics and topics[values[1]].location.startswith("reference/configurations"):
        return topics[values[1]]
    for candidate in dict.fromkeys([*values, name, SYNONYMS.get(name, name), name.removesuffix("s"), f"{name}s"]):
        if found := _named(candidate, sections, topics) if name else None:
            return found
    if found := _most_relevant(_words(topic), sections):
        return found
    known = {*topics, *(word for section in sections for word in section.names if len(word) < 30)}
    raise InputError(f"docs: no page is about {quote_value(topic)}; {suggest_names(name, known)}")


def _named(name: str, sections: Sequence[Section], topics: Mapping[str, Section]) -> Section | None:
    """Return the section of that name: a page or command, a topic, a setting by its last word, any section."""
    named = [section for section in sections if name in section.names]
    commands = [section for section in named if _normal(section.title) == f"adamcmp {name}"]
    pages = [
        section for section in named if "#" not in section.location and not section.location.startswith("results/")
    ]
    if name in ("", "adamcmp"):
        return next(section for section in sections if section.location in ("index.html", ""))
    settings = [section for key, section in topics.items() if key.endswith(f".{name}")]
    settings += [section for key, section in topics.items() if key.startswith(f"{name}.")]
    topic = topics.get(name)
    if topic is not None and settings and topic.location.startswith("reference/records"):
        topic = None  # a column has the name of a setting
    if commands or pages or topic is not None:
        return [*commands, *pages, *([topic] if topic is not None else [])][0]
    return [*settings, *named][0] if settings or named else None


def _most_relevant(words: Sequence[str], sections: Sequence[Section]) -> Section | None:
    """Return the section with the highest score for words of a question; rare words and titles count more.

    At least half of the words have to occur in it.
    """
    wanted = {_stem(word) for word in words if word not in STOP_WORDS}
    if not wanted:
        return None
    frequency = {word: sum(word in section.word_counts for section in sections) for word in wanted}

    def score(section: Section) -> float:
        total = 0.0
        for word in wanted & section.word_counts.keys():
            rarity = math.log(1 + len(sections) / frequency[word])
            density = section.word_counts[word] / (section.word_counts.total() + 30)
            total += rarity * (TITLE_WEIGHT * (word in section.title_words) + min(1.0, 20 * density) + 0.5)
        factors = [factor for start, factor in PREFERENCE.items() if section.location.startswith(start)]
        return total * (factors[0] if factors else 1.0) * (len(wanted & section.word_counts.keys()) / len(wanted))

    best = max(sections, key=score)
    return best if 2 * len(wanted & best.word_counts.keys()) >= len(wanted) else None


def _read_index(site: Path) -> tuple[list[Section], dict[str, Section]]:
    """Return all sections, and those of the names that tables of the reference define.

    Raises:
        InputError: the index is missing or damaged.
    """
    path = site / "search" / "search_index.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["docs"]
        sections = [Section(str(e["location"]), _plain(e["title"]), _plain(e["text"])) for e in entries]
        names = json.loads((site / "search" / "topics.json").read_text(encoding="utf-8"))
        topics = {_normal(name): Section(location, name) for name, location in names.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"docs: {path.parent} cannot be read ({type(error).__name__}); install adamcmp again, or run scripts/docs"
        ) from error
    if not any(section.location in ("index.html", "") for section in sections):
        raise InputError(f"docs: {path} has no first page; install adamcmp again, or run scripts/docs")
    return sections, topics


def _plain(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", str(text))).strip()


def _normal(text: str) -> str:
    """Return the words of a name in lower case, with dots, dashes and underscores inside them."""
    return " ".join(re.findall(r"\w[\w./-]*(?<![./-])|[λαηθβε±]", text.casefold()))


def _words(text: str) -> list[str]:
    """Return the words of a text in lower case; parts of dotted and underscored names too."""
    whole = re.findall(r"\w[\w.-]*(?<![.-])", text.casefold())
    parts = [part for word in whole if re.search(r"[._-]", word) for part in re.split(r"[._-]", word) if part]
    return [*whole, *parts]


def _stem(word: str) -> str:
    """Return a word without the endings of plurals and verbs."""
    for ending in ("ies", "ing", "es", "ed", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word.removesuffix(ending)
    return word
