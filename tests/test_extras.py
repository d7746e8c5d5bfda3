"""Every optional package, absent: one line that names the extra to install, exit code 2, and nothing trained."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from adamcmp.errors import InputError
from adamcmp.extras import EXTRAS, check_installed, missing_extra, require_extra

from .execute.conftest import QUICK, CommandLine, error_lines

ROOT = Path(__file__).parents[1]
SWEEP = ("sweep", "digits", *QUICK)
COMMANDS = {
    "submitit": (*SWEEP, "execute=slurm"),
    "ray": (*SWEEP, "execute=ray"),
    "pytorch_optimizer": ("run", "digits", "optimizer=yogi", *QUICK),
    "tensorboard": (*SWEEP, "log=tensorboard"),
    "mlflow": (*SWEEP, "log=mlflow"),
    "wandb": (*SWEEP, "log=wandb"),
    "s3fs": (*SWEEP, "--results-dir", "s3://bucket/results"),
    "upath": (*SWEEP, "--results-dir", "memory://results"),
}
"""A command that needs the package, by its import name."""


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture
def absent(monkeypatch):
    """Hides an installed package: importing it, or a module that has imported it, fails as if it were not there."""

    def hide(module):
        for name in list(sys.modules):
            if name.partition(".")[0] == module or name.startswith(f"torch.utils.{module}"):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, module, None)

    return hide


def test_the_table_is_that_of_pyproject():
    """Each extra for users has a module here, and each module's package is in the extra that is named."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(EXTRAS.values()) == set(extras) - {"bench", "conformance", "dev"}
    for module, extra in EXTRAS.items():
        packages = {re.split(r"[\[>=<]", each)[0] for each in extras[extra]}
        assert {"upath": "universal_pathlib"}.get(module, module) in packages
    assert set(COMMANDS) == set(EXTRAS)


@pytest.mark.parametrize("module", EXTRAS)
def test_a_missing_extra_is_one_line_before_anything_is_trained(cli, absent, module):
    absent(module)
    ended = cli(*COMMANDS[module])
    assert ended.code == 2, ended.err
    (line,) = error_lines(ended.err)
    assert line.endswith(f": the package {module} is not installed. Run: pip install 'adamcmp[{EXTRAS[module]}]'")
    assert not list(cli.folder.rglob("*.parquet"))


@pytest.mark.parametrize("module", ["tensorboard", "mlflow", "wandb"])
def test_exports_say_the_same(cli, absent, module):
    cli("run", "digits", *QUICK)
    absent(module)
    ended = cli("export", "results", "--to", module)
    assert ended.code == 2
    assert f"export --to {module}: the package {module} is not installed" in error_lines(ended.err)[0]


def test_a_dry_run_for_slurm_needs_the_extra_too(cli, absent):
    absent("submitit")
    ended = cli(*SWEEP, "execute=slurm", "--dry-run")
    assert ended.code == 2
    assert "pip install 'adamcmp[slurm]'" in error_lines(ended.err)[0]


def test_libraries_that_are_not_compared_are_named_with_the_extra(cli):
    ended = cli("conformance", "apex_fused", "--format", "md")
    assert ended.code == 0
    assert "Not installed: NVIDIA Apex. Run: pip install 'adamcmp[conformance]'" in ended.out


def test_a_package_that_is_there_and_broken_is_called_broken():
    error = missing_extra("execute=ray", "ray", ImportError("libray.so: cannot open shared object file"))
    assert "cannot be imported (libray.so" in str(error)
    with pytest.raises(InputError, match="wants a package of its own"), require_extra("execute=ray", "ray"):
        raise ModuleNotFoundError("wants a package of its own", name="grpc")


def test_what_is_installed_passes():
    check_installed("anything", "json")
