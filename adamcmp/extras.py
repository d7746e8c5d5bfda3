"""Optional dependencies: the extra of pyproject.toml that installs each, and one error message for a missing one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

from adamcmp.errors import InputError, one_line

EXTRAS: Mapping[str, str] = {
    "mlflow": "mlflow",
    "pytorch_optimizer": "optimizers",
    "ray": "ray",
    "s3fs": "s3",
    "submitit": "slurm",
    "tensorboard": "tensorboard",
    "upath": "s3",
    "wandb": "wandb",
}
"""The extra that installs a module, by the module's import name."""


def missing_extra(setting: str, module: str, error: ImportError | None = None) -> InputError:
    """Return the error for a setting whose module is missing, or is installed and cannot be imported.

    Args:
        setting: the user's setting, such as ``execute=slurm``.
        module: the import name of the module that the setting needs, a key of ``EXTRAS``.
        error: the exception of the import; None if the module was looked up and not found.
    """
    is_absent = isinstance(error, ModuleNotFoundError) and (error.name or module).partition(".")[0] == module
    problem = "is not installed" if error is None or is_absent else f"cannot be imported ({one_line(error)})"
    return InputError(f"{setting}: the package {module} {problem}. Run: pip install 'adamcmp[{EXTRAS[module]}]'")


def check_installed(setting: str, module: str) -> None:
    """Check that an optional module is installed, without importing it.

    Raises:
        InputError: it is not installed.
    """
    try:
        is_installed = find_spec(module) is not None
    except ValueError:  # a module without a specification, such as None in sys.modules
        is_installed = False
    if not is_installed:
        raise missing_extra(setting, module)


@contextmanager
def require_extra(setting: str, module: str) -> Iterator[None]:
    """Turn the failed import of an optional module into one clear line.

    Raises:
        InputError: the block raised ImportError.
    """
    try:
        yield
    except ImportError as error:
        raise missing_extra(setting, module, error) from error
