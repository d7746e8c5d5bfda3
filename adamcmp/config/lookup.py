"""Where configurations come from: files found by name or path, and the folders that are searched for their parts."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from adamcmp.errors import InputError, suggest_names

HYDRA_VERSION_BASE = "1.3"
"""Version whose rules Hydra applies."""
TABLE_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".parquet", ".npz")
"""Endings of files that users give in place of a configuration."""


def shipped_configs() -> Path:
    """Return the folder of the configurations that adamcmp ships: inside the wheel, or next to the package."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


@dataclass(frozen=True)
class ConfigSource:
    """Where a configuration comes from: a file found by name or path, and the folders searched for its parts."""

    name: str
    """Hydra's name of the primary configuration, such as ``digits`` or ``study/figure2``."""
    folder: Path
    extra: Path | None

    @property
    def stem(self) -> str:
        """Last part of the name: the default name of a study."""
        return self.name.rpartition("/")[2]

    @property
    def search_path(self) -> list[str]:
        """Override that lets Hydra search the folder of ``--config-dir`` too."""
        return [f"hydra.searchpath=[{self.extra.as_uri()}]"] if self.extra else []


def find_config(config: str, config_dir: Path | None = None) -> ConfigSource:
    """Find a configuration by name or by path.

    Raises:
        InputError: there is no such file, name or folder.
    """
    check_folder(config_dir)
    path = Path(config)
    if path.suffix == ".yml":
        raise InputError(f"{config}: Hydra reads files that end in .yaml; rename it")
    if path.suffix == ".yaml":
        if not path.is_file():
            raise InputError(f"{config}: no such file; give a YAML file or one of: {_config_names(config_dir)}")
        path = path.resolve()
        return ConfigSource(path.stem, path.parent, config_dir.resolve() if config_dir else None)
    for folder in (config_dir, shipped_configs()):
        for name in (config, f"study/{config}"):
            if folder is not None and (folder / f"{name}.yaml").is_file():
                main = (config_dir or folder).resolve()
                return ConfigSource(name, main, None)
    if config.endswith(TABLE_SUFFIXES):
        label = "" if path.suffix == ".npz" else " data.label=COLUMN"
        raise InputError(
            f"{config}: is a table, not a configuration; use `table data.path={shlex.quote(config)}{label}`"
        )
    raise InputError(f"{config}: no such configuration; {suggest_names(config, _available_text(config_dir))}")


def check_folder(config_dir: Path | None) -> None:
    """Refuse a ``--config-dir`` that is not there.

    Raises:
        InputError: it is not.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise InputError(f"--config-dir {config_dir}: no such folder")


def _available_text(config_dir: Path | None) -> list[str]:
    return [*list_group("", config_dir), *list_group("study", config_dir)]


def _config_names(config_dir: Path | None) -> str:
    return ", ".join(_available_text(config_dir))


def list_group(group: str, config_dir: Path | None = None) -> dict[str, Path]:
    """Return the YAML files of a group (``""``: the top level) by name; own ones hide shipped ones.

    Raises:
        InputError: ``config_dir`` is not there.
    """
    check_folder(config_dir)
    paths: dict[str, Path] = {}
    for folder in (config_dir, shipped_configs()):
        if folder is not None:
            for path in sorted((folder / group).glob("*.yaml")):
                paths.setdefault(path.stem, path)
    return dict(sorted(paths.items()))


def group_files(source: ConfigSource, group: str) -> list[Path]:
    """Return the YAML files of a group in all folders that are searched, in their order."""
    return [path for folder in _search_folders(source) for path in (folder / group).glob("*.yaml")]


def find_file(source: ConfigSource, name: str) -> Path | None:
    """Return the file that a name stands for: ``optimizer/adam``."""
    return next(
        (path for path in (folder / f"{name}.yaml" for folder in _search_folders(source)) if path.is_file()), None
    )


def _search_folders(source: ConfigSource) -> list[Path]:
    return [folder for folder in (source.folder, source.extra, shipped_configs()) if folder is not None]
