"""Which packages each command imports: commands that train nothing start without torch, pandas and scipy."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import contextlib, io, json, sys
before = set(sys.modules)
from adamcmp.__main__ import main
sys.argv = ["adamcmp", *json.loads(sys.argv[1])]
code = 0
with contextlib.redirect_stdout(io.StringIO()):
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
print(json.dumps([code, sorted({name.partition(".")[0] for name in set(sys.modules) - before}),
                  sorted(name for name in sys.modules if name.startswith(("torch._dynamo", "torch._inductor")))]))
"""
CLI = {"typer", "filelock", "annotated_doc", "annotated_types", "attr", "pydantic", "pydantic_core", "shellingham",
       "typing_inspection"}  # fmt: skip
RICH = {"rich", "pygments", "markdown_it", "mdurl"}
CONFIG = {"hydra", "omegaconf", "antlr4", "yaml", "pydantic", "pydantic_core", "annotated_types", "typing_inspection",
          "packaging", "dotenv"}  # fmt: skip
PLAN = {"pyarrow", "numpy", "psutil", "platformdirs", "cloudpickle"}
COMMANDS = {
    "--help": CLI | RICH,
    "list": CLI,
    "list claims": CLI,
    "show digits": CLI | CONFIG,
    "sweep digits optimizer.lr=1e-3,1e-2 study.seeds=2 --dry-run": CLI | RICH | CONFIG | PLAN,
}
"""The packages that each command may import, beyond Python's own and adamcmp."""
HEAVY = {"torch", "pandas", "scipy", "matplotlib", "sympy", "triton", "optuna", "sklearn", "torchvision"}


def imported(folder, words: str) -> tuple[set[str], list[str]]:
    environment = {"XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", SCRIPT, json.dumps(words.split())]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=environment)
    assert ended.returncode == 0, ended.stderr
    code, names, compiler = json.loads(ended.stdout.splitlines()[-1])
    assert code == 0, ended.stderr
    own = {name.lstrip("_") for name in sys.stdlib_module_names} | {"adamcmp", "mypyc", "cython_runtime"}
    return {name for name in names if name.lstrip("_") not in own and not name.startswith("_")}, compiler


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_imports_no_more_than_it_may(tmp_path, words):
    if "--dry-run" in words:
        imported(tmp_path, words)  # the second one finds its plan in the cache
    names, _ = imported(tmp_path, words)
    third_party = {name for name in names if not name.startswith(("typing_extensions", "_", "sitecustomize"))}
    assert not third_party & HEAVY
    assert third_party <= COMMANDS[words], sorted(third_party - COMMANDS[words])


def test_a_short_run_imports_neither_compiler_nor_statistics(tmp_path):
    names, compiler = imported(tmp_path, "run digits train.steps=5 train.evaluations=1")
    assert "torch" in names
    assert not names & {"scipy", "matplotlib", "sympy", "optuna"}
    assert not compiler
