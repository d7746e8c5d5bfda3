"""Dotted names in docstrings and documents are those of modules, classes and functions that exist."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from adamcmp.config.program import MetricSettings

ROOT = Path(__file__).parents[1]
PACKAGES = "analysis|claims|cli|conformance|engine|figures|metrics|models|optim|plan|storage|studies"
"""Packages whose names are no sections of configurations."""
REFERENCE = re.compile(rf"`+(?:adamcmp[./])?((?:{PACKAGES})(?:[./](?!md\b|parquet\b|NAME\b)\w+)+)(?:\(.*?\))?`+")


def docstrings():
    for path in sorted((ROOT / "adamcmp").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value.value


def documents():
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        if path.name == "decisions.md":  # compares with former states
            continue
        yield path.name, path.read_text(encoding="utf-8")


@cache
def exists(reference):
    parts = ["adamcmp", *re.split(r"[./]", reference.removesuffix(".py"))]
    if parts[1] == "metrics" and parts[2] in MetricSettings.model_fields:  # a section of scripts and functions
        return True
    for count in range(len(parts), 1, -1):
        try:
            value = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for name in parts[count:]:
            if not hasattr(value, name) and name not in getattr(value, "__annotations__", {}):
                return False
            value = getattr(value, name, None)
        return True
    return False


@pytest.mark.parametrize("texts", [docstrings, documents])
def test_names_that_texts_refer_to_exist(texts):
    missing = [f"{place}: {name}" for place, text in texts() for name in REFERENCE.findall(text) if not exists(name)]
    assert not missing, "\n".join(missing)


def programs():
    """Yield files that may hold programs as text: tests, scripts, documents and templates."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    kinds = ("tests/", "scripts/", "docs/", "examples/", "adamcmp/report/templates/")
    for name in names:
        if (
            name.startswith(kinds)
            and name != "tests/test_renamed.py"
            and Path(name).suffix in (".py", ".md", ".jinja", "")
        ):
            yield name, (ROOT / name).read_text(encoding="utf-8")


def test_imports_in_programs_that_are_text_exist():
    missing = [
        f"{name}: {module}.{imported.strip()}"
        for name, text in programs()
        for module, names in re.findall(r"from adamcmp\.([\w.]+) import ([\w, ]+)", text.replace("\\n", "\n"))
        for imported in names.split(",")
        if imported.strip() and not exists(f"{module}.{imported.split(' as ')[0].strip()}")
    ]
    assert not missing, "\n".join(missing)


def test_a_former_name_is_missing():
    assert exists("analysis.verdicts.Verdict")
    assert not exists("analysis.verdicts.Judgement")
