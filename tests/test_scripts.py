"""Every script starts, in its smallest form, in a clone of the repository: none has fallen behind what it calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
chromium, slurm = pytest.mark.needs("chromium"), pytest.mark.needs("slurm")
PYTHON = {
    "scripts/calibrate": (["--quick"], ()),
    "scripts/docs": ([], ()),
    "scripts/docs_figures.py": ([], ()),
    "scripts/docs_hooks.py": ([], ()),  # MkDocs imports it, and Hatch the next
    "scripts/docs_wheel.py": ([], ()),
    "scripts/mutation": (["--help"], ()),  # needs mutmut, and works on a copy for hours
    "scripts/mutation_decay": (["--help"], ()),  # runs the tests of optimizers 37 times
    "scripts/readme": (["--help"], ()),
    "scripts/reference": (["--tables"], ()),
    "scripts/screenshots": ([], (chromium,)),
    "scripts/slow": (["reports", "no-such-group"], ()),
    "scripts/wording": (["--count"], ()),
    "scripts/storm": (["limits", "--short"], ()),
    "scripts/bench/choices.py": (["digits", "--rows", "4", "--times", "1"], ()),
    "scripts/bench/growth.py": (["--quick"], ()),
    "scripts/bench/multirun.py": (["--quick"], ()),
    "scripts/bench/overheads.py": (["--runs", "500"], ()),
    "scripts/bench/page.py": (["200"], (chromium,)),
    "scripts/bench/profile_training.py": (["digits", "--rows", "4", "--eager"], ()),
    "scripts/bench/recommending.py": (["--budget", "40s"], ()),
    "scripts/bench/scaling.py": (["--repeats", "1", "--no-ray"], ()),
    "scripts/bench/searching.py": (
        ["--repeats", "1", "--trials", "4", "--batch", "2", "--methods", "random", "tpe"], ()
    ),
    "scripts/bench/single_runs.py": (["digits", "--seconds", "0.2"], ()),
    "scripts/bench/startup.py": ([], ()),
    "scripts/bench/suite.py": ([sys.executable, "-c", "print(1)"], ()),
    "scripts/bench/throughput.py": (["--quick", "--works", "digits"], ()),
}  # fmt: skip
"""Arguments, and what they need."""
SHELL = ["demo", "environment", "fresh", "slurm", "test", "vendor"]


def test_every_script_is_listed():
    scripts = [*(ROOT / "scripts").iterdir(), *(ROOT / "scripts" / "bench").glob("*.py")]
    found = {path.relative_to(ROOT).as_posix() for path in scripts if path.is_file()}
    assert found == {*PYTHON, *(f"scripts/{name}" for name in SHELL)}


@pytest.mark.parametrize("name", SHELL)
def test_a_shell_script_is_well_formed(name):
    subprocess.run(["bash", "-n", ROOT / "scripts" / name], check=True)


def test_a_command_on_a_fresh_machine_has_no_variables_programs_or_caches_of_this_one():
    shown = "env; echo PROGRAMS=$(type -P g++ chromium sbatch | wc -l); ls -A ~ | wc -l"
    environment = {**os.environ, "OF_MINE": "1", "PIP_OF_MINE": "2"}
    command = [ROOT / "scripts" / "fresh", "--here", "bash", "-c", shown]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()
    assert out[-2:] == ["PROGRAMS=0", "0"]
    assert "PIP_OF_MINE=2" in out
    assert not any(line.startswith("OF_MINE") for line in out)
    (home,) = [line.partition("=")[2] for line in out if line.startswith("HOME=")]
    assert not Path(home).exists()


def test_wording_reads_files_that_are_not_tracked_yet(tmp_path):
    (tmp_path / "scripts").mkdir()
    shutil.copy2(ROOT / "scripts" / "wording", tmp_path / "scripts")
    (tmp_path / "old.py").write_text("size = 1\n")
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"], ["commit", "-qm", "two", "--allow-empty"]):
        subprocess.run([*git, *words], check=True)
    command = [sys.executable, tmp_path / "scripts" / "wording", "--added"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    (tmp_path / "new.py").write_text("size = 1\nknown = 2\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "new.py:2: name its content")


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """The working tree's tracked files, to be changed by scripts that write into the repository."""
    folder = tmp_path_factory.mktemp("clone") / "adamcmp"
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [pytest.param(name, words, marks=marks, id=name) for name, (words, marks) in PYTHON.items()],
)
def test_a_script_does_its_smallest_work(clone, name, arguments):
    if arguments == ["--help"]:  # reads no arguments: that it can be compiled and finds its imports has to do
        source = (clone / name).read_text()
        compile(source, name, "exec")
        return
    environment = {**os.environ, "PYTHONPATH": str(clone), "COLUMNS": "120"}
    command = [sys.executable, str(clone / name), *arguments]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, env=environment, timeout=500)
    assert (done.returncode == 0) == (arguments[-1:] != ["no-such-group"]), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
