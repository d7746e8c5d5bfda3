"""The wheel holds what the repository holds, and the public API is what the documentation says."""

import ast
import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import adamcmp
from adamcmp.config.lookup import shipped_configs
from adamcmp.errors import InputError

ROOT = Path(__file__).parent.parent


def test_the_wheel_ships_every_module_and_every_configuration(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "adamcmp").rglob("*.py")}
    configs = {f"adamcmp/configs/{path.relative_to(shipped_configs())}" for path in shipped_configs().rglob("*.yaml")}
    assert modules | configs <= names
    assert len(configs) > 30


def test_load_says_in_one_line_that_nothing_is_there(tmp_path):
    with pytest.raises(InputError, match="no stored runs"):
        adamcmp.load(tmp_path)


@pytest.mark.parametrize("script", sorted(ROOT.glob("scripts/bench/**/*.py")), ids=lambda path: path.stem)
def test_benchmarks_import_what_is_there(script):
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("adamcmp"):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
