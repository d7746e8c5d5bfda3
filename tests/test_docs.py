"""The documentation says what the code does."""

import re
import runpy
from pathlib import Path

import pytest

from adamcmp.report.manifest import verify_report
from adamcmp.storage.schema import CURVE, OUTCOMES, RECORD

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize(("section", "columns"), [("records", RECORD), ("curves", CURVE), ("outcomes", OUTCOMES)])
def test_every_column_is_documented_as_it_is(section, columns):
    text = (ROOT / "docs/reference/records.md").read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{c.name}` | {c.type} | {c.unit} | {c.meaning} |" for c in columns]


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 900


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_named_files_exist(page):
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    for link in links:
        assert (page.parent / link).exists(), link
    for name in re.findall(r"`((?:adamcmp|configs|docs|scripts|tests)/[\w/.-]+)`", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", ["README.md", "results/README.md", "docs/reference/study-claims.md"])
def test_tables_of_results_are_what_the_committed_reports_say(page):
    reference = runpy.run_path(str(ROOT / "scripts" / "reference"))
    text = (ROOT / page).read_text()
    made = reference["TABLES"][page]()
    assert len(made.splitlines()) >= 2 + 5
    assert reference["replaced"](page, made) == text
    assert made in text


@pytest.mark.parametrize("page", runpy.run_path(str(ROOT / "scripts" / "reference"))["STATED"])
def test_tables_of_claims_and_conformance_are_what_the_committed_csv_files_say(page):
    reference = runpy.run_path(str(ROOT / "scripts" / "reference"))
    assert reference["stated"](page) == (ROOT / page).read_text()


@pytest.mark.parametrize("name", ["claims", "conformance"])
def test_the_pages_of_claims_and_conformance_are_whole(name):
    found = verify_report(ROOT / "results" / name)
    assert found.is_whole, found
    assert not found.others, found


def test_every_reference_report_is_whole_small_and_ours():
    folders = sorted(path.parent for path in (ROOT / "results" / "reference").glob("*/report/MANIFEST.json"))
    assert {folder.parent.name for folder in folders} <= runpy.run_path(str(ROOT / "scripts" / "reference"))[
        "COMMANDS"
    ].keys()
    for folder in folders:
        found = verify_report(folder)
        assert found.is_whole, found
        assert not found.others, found
    files = [path for path in (ROOT / "results").rglob("*") if path.is_file() and "records" not in path.parts]
    assert sum(path.stat().st_size for path in files if "report" in path.parts) < 8e6


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


def test_what_docs_extending_shows_works(tmp_path, monkeypatch, capsys):
    from adamcmp.cli import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    code = [block for block in blocks("docs/howto/extending.md", "python") if "adamcmp.load" not in block]
    (tmp_path / "own.py").write_text(
        "import sklearn.datasets\nimport torch\nfrom torch import nn\n\n" + "\n".join(code)
    )
    for block in blocks("docs/howto/extending.md", "yaml"):
        match = re.search(r"mine/(\w+/\w+\.yaml)", block)
        path = tmp_path / "mine" / (match[1] if match else "study/small.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    (command,) = [
        block for block in blocks("docs/howto/extending.md", "sh") if block.startswith("adamcmp sweep digits")
    ]
    words = command.replace("\\\n", " ").replace("'", "").split()[1:]
    app([*words, "train.steps=20"], standalone_mode=False)
    out = capsys.readouterr().out
    assert "SignSGD" in out
    assert "AdamW" in out
    app(["sweep", "small", "--config-dir", "mine", "--dry-run", "train.epochs=1"], standalone_mode=False)
    assert "Adam + L2" in capsys.readouterr().out
