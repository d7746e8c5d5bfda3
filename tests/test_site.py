"""The documentation site: generated pages, tutorials, and the command that opens it."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adamcmp import documentation
from adamcmp.cli import PANELS
from adamcmp.errors import InputError

from .execute.conftest import CommandLine

ROOT = Path(__file__).parent.parent
DOCS = runpy.run_path(str(ROOT / "scripts" / "docs"))
GENERATED = DOCS["PAGES"]
MAX_WORDS = 2500
TABLES = {"claims-table.md", "study-claims.md", "calibration-tables.md"}
"""Pages made by scripts/reference and scripts/calibrate."""


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("name", GENERATED)
def test_generated_pages_are_what_the_code_says(name):
    assert (ROOT / "docs" / "reference" / name).read_text() == GENERATED[name](), "run scripts/docs --write"


def test_every_setting_of_the_schema_is_in_the_reference():
    from adamcmp.config import schema

    text = (ROOT / "docs" / "reference" / "settings.md").read_text()
    for prefix, cls in {"train": schema.Train, "study": schema.Study, "execute": schema.ExecutionSettings}.items():
        for name in set(cls.model_fields) - {"loss", "confirm", "figure", "ray", "slurm"}:
            assert f"| `{prefix}.{name}` |" in text


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.stem)
def test_a_page_is_short_unless_it_is_generated(page):
    assert page.name in {*GENERATED, *TABLES} or len(page.read_text().split()) <= MAX_WORDS


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site of four sections."""
    sections = [
        ("index.html", "adamcmp", "find out"),
        ("reference/commands.html#adamcmp-settle", "adamcmp settle", "add held-out seeds"),
        ("reference/settings.html#train", "train", "train.ema averages weights"),
        ("explanation/verdicts.html", "Verdicts", "one difference"),
        ("explanation/verdicts.html#several-tasks", "Several tasks", "pooled &lt;b&gt;"),
    ]
    (tmp_path / "site" / "search").mkdir(parents=True)
    docs = [{"location": location, "title": title, "text": text} for location, title, text in sections]
    (tmp_path / "site" / "search" / "search_index.json").write_text(json.dumps({"docs": docs}))
    (tmp_path / "site" / "index.html").write_text("")
    topics = {"train.ema": "reference/settings.html#train.ema", "lion": "reference/configurations.html#lion"}
    (tmp_path / "site" / "search" / "topics.json").write_text(json.dumps(topics))
    monkeypatch.setattr(documentation, "site_folder", lambda: tmp_path / "site")
    return tmp_path / "site"


@pytest.mark.parametrize(
    ("topic", "location"),
    [
        ("", "index.html"),
        ("settle", "reference/commands.html#adamcmp-settle"),
        ("adamcmp settle", "reference/commands.html#adamcmp-settle"),
        ("train.ema", "reference/settings.html#train.ema"),
        ("train.ema=0.9", "reference/settings.html#train.ema"),
        ("ema", "reference/settings.html#train.ema"),
        ("optimizer=lion", "reference/configurations.html#lion"),
        ("docs/explanation/verdicts.md", "explanation/verdicts.html"),
        ("what is pooled?", "explanation/verdicts.html#several-tasks"),
        ("Verdicts", "explanation/verdicts.html"),
        ("tasks several", "explanation/verdicts.html#several-tasks"),
        ("held-out seeds", "reference/commands.html#adamcmp-settle"),
    ],
)
def test_a_topic_finds_its_section(site, topic, location):
    assert documentation.find_page(topic).location == location


@pytest.mark.parametrize(
    ("topic", "message"),
    [("verdits", "did you mean verdicts?"), ("train.emma", "did you mean train.ema?"), ("!!!", "is about '!!!'"),
     ("zzz" * 40_000, "is about 'zzz"), ("\x1b[31m\x00", "is about '\\\\x1b")],
)  # fmt: skip
def test_an_unknown_topic_is_one_short_line(site, topic, message):
    with pytest.raises(InputError, match=re.escape(message).replace(r"\\\\", r"\\")) as caught:
        documentation.find_page(topic)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "content", ["", "[", "null", "{}", '{"docs": 3}', '{"docs": [1]}', '{"docs": [{}]}', '{"docs": []}', "\xff\xfe"]
)
def test_a_damaged_index_is_one_line(site, cli, content):
    (site / "search" / "search_index.json").write_bytes(content.encode("latin-1"))
    ended = cli("docs", "settle")
    assert ended.code == 2
    assert "run scripts/docs" in ended.err


def test_docs_opens_the_page_and_prints_its_address(site, cli, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    ended = cli("docs", "settle")
    assert ended.code == 0
    assert opened == [f"{(site / 'reference' / 'commands.html').as_uri()}#adamcmp-settle"]
    assert opened[0] in ended.out
    assert cli("docs", "--url").out.strip().endswith("index.html")
    assert len(opened) == 1
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    assert "No browser could be opened" in cli("docs", "settle").out


def test_with_json_docs_prints_one_object_and_opens_nothing(site, cli, monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda url: pytest.fail("opened"))
    assert cli("docs", "settle", "--json").code == 0


def test_an_unknown_option_of_a_command_without_settings_is_one_short_line(site, cli):
    ended = cli("docs", "--bogus")
    assert ended.code == 2
    assert "No such option: --bogus. See `adamcmp docs --help`." in ended.err


def test_without_a_site_docs_says_what_to_do(cli, monkeypatch, tmp_path):
    monkeypatch.setattr(documentation, "__file__", str(tmp_path / "package" / "documentation.py"))
    ended = cli("docs")
    assert ended.code == 2
    assert "scripts/docs" in ended.err


def test_the_site_builds_in_strict_mode_and_loads_nothing_from_elsewhere(strict_site):
    assert len(list(strict_site.rglob("*.html"))) > 60
    assert DOCS["site_faults"](strict_site) == []


def test_every_setting_command_and_configuration_is_found_by_its_name(strict_site, monkeypatch):
    monkeypatch.setattr(documentation, "site_folder", lambda: strict_site)
    sections, topics = documentation._read_index(strict_site)
    monkeypatch.setattr(documentation, "_read_index", lambda _: (sections, topics))
    settings = re.findall(r"^\| `([\w.]+)` ", (ROOT / "docs/reference/settings.md").read_text(), flags=re.MULTILINE)
    assert len(settings) > 90
    wrong = [key for key in settings if "." in key and "settings.html" not in documentation.find_page(key).location]
    names = [name for commands in PANELS.values() for name in commands]
    wrong += [n for n in names if documentation.find_page(n).location != f"reference/commands.html#adamcmp-{n}"]
    for group in ("optimizer", "model", "data", "schedule"):
        topics_of_group = [f"{group}={path.stem}" for path in (ROOT / "configs" / group).glob("*.yaml")]
        wrong += [topic for topic in topics_of_group if "reference/" not in documentation.find_page(topic).location]
    assert wrong == []


def test_topics_that_messages_name_lead_where_they_say(strict_site, monkeypatch):
    monkeypatch.setattr(documentation, "site_folder", lambda: strict_site)
    files = [*(ROOT / "adamcmp").rglob("*.py"), *(ROOT / "configs").rglob("*.yaml")]
    text = "".join(path.read_text() for path in files)
    named = {match[1] for match in re.finditer(r"(?:`|[:(] ?)adamcmp docs ([\wμ]+)[`)\n]", text)}
    expected = {
        "trust": "howto/trust.html", "extending": "howto/extending.html", "performance": "explanation/performance.html",
        "conventions": "explanation/conventions.html", "function": "reference/glossary.html#script",
    }  # fmt: skip
    assert expected.keys() <= named
    for topic, location in expected.items():
        assert documentation.find_page(topic).location == location
    for topic in named:
        documentation.find_page(topic)


@pytest.mark.parametrize(
    ("source", "text", "message"),
    [
        ("docs/explanation/verdicts.md", "[gone](nowhere.md)", "nowhere.md"),
        ("docs/explanation/verdicts.md", "[gone](#no-such-heading)", "no-such-heading"),
        ("docs/explanation/orphan.md", "# Orphan", "orphan.md"),
        ("docs/explanation/verdicts.md", "![](power.svg)", "no alternative text"),
        ("docs/explanation/verdicts.md", '<a href="nowhere.html">gone</a>', "nowhere.html"),
        ("docs/explanation/verdicts.md", '<img src="https://example.org/a.png" alt="a">', "another host"),
        ("docs/explanation/verdicts.md", "[code](../../adamcmp/study.py)", "not part of the site"),
        ("docs/reference/settings.md", "| stale |", "scripts/docs --write"),
        ("adamcmp/study.py", "", "adamcmp.Study.open has no docstring"),
    ],
    ids=["link", "anchor", "orphan", "image", "HTML", "foreign", "code", "stale", "docstring"],
)
@pytest.mark.slow
def test_a_fault_ends_a_strict_build(tmp_path, source, text, message):
    clone = tmp_path / "clone"
    skipped = shutil.ignore_patterns(".*", "__pycache__", "records", "curves", "outcomes", "site")
    shutil.copytree(ROOT, clone, ignore=skipped)
    path = clone / source
    before = path.read_text() if path.exists() else ""
    if source.endswith(".py"):
        before = re.sub(r'(def open\(.*?:\n) +""".*?"""\n', r"\1", before, count=1, flags=re.DOTALL)
    path.write_text(f"{before}\n\n{text}\n")
    build = [sys.executable, str(clone / "scripts" / "docs")]
    ended = subprocess.run(build, cwd=clone, capture_output=True, text=True)
    assert ended.returncode != 0
    assert message in ended.stderr
