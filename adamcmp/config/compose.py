"""Compose a configuration from YAML files and overrides: values, chosen files, and the origin of every value.

A configuration is found by name (``digits``, ``figure2``) or by path (``my/study.yaml``). The search path is the folder
of that file, then ``--config-dir``, then the configurations that adamcmp ships, so that the user's
``optimizer/lion.yaml`` is found in addition to ours and a user's file may start from ``defaults: [config]``.
"""

from __future__ import annotations

import json
import pickle
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from adamcmp.config.lookup import HYDRA_VERSION_BASE, ConfigSource, find_file, shipped_configs
from adamcmp.config.origins import flatten
from adamcmp.config.overrides import GROUPS, parse_override
from adamcmp.config.presets import apply_preset, preset_model
from adamcmp.config.program_overrides import check_program_keys, split_script_optimizer
from adamcmp.config.shorthands import (
    drop_other_budget,
    expand_init,
    expand_loss_name,
    mark_optional_keys,
    replace_sections,
    replaced_sections,
)
from adamcmp.errors import InputError, one_line, suggest_names
from adamcmp.untrusted import load_yaml


class ShippedConfigs(SearchPathPlugin):
    """Puts adamcmp's own configurations at the end of Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder; called by Hydra."""
        search_path.append(provider="adamcmp", path=shipped_configs().as_uri())


Plugins.instance().register(ShippedConfigs)
FROM_INSIDE = (AttributeError, KeyError, AssertionError)
"""Hydra's message for a file that replaces its own section."""
SECTIONS = (*GROUPS, "train", "study", "execute")


@dataclass(frozen=True)
class Composed:
    """A merged configuration, not yet typed."""

    values: Mapping[str, Any]
    choices: Mapping[str, str]
    """The file chosen in each group: ``{"optimizer": "adamw", …}``."""
    has_interpolations: bool
    """Some value was computed from another one, so that values cannot be replaced one by one."""
    refers_to_seed: bool = False
    """Some value is computed from the seed."""
    scale: str | None = None
    """Preset that ``scale=`` selects, unless it is the configuration as it is; part of the study's name."""


class Merged(NamedTuple):
    """A configuration's files and overrides, merged by Hydra, without Hydra's own section."""

    config: DictConfig
    choices: Mapping[str, Any]
    """The file chosen in each group."""


def compose(source: ConfigSource, overrides: Sequence[str]) -> Composed:
    """Merge a configuration's files and single-valued overrides.

    Shipped files are merged once per process and choice of files (10 ms); overrides of values take 2 ms.

    Raises:
        InputError: an unknown group option or key (with the closest names), or a broken YAML file.
    """
    kind = program_kind(source)
    choice = None
    if kind is not None:
        check_program_keys(kind, overrides)
    if kind == "script":
        overrides, choice = split_script_optimizer(overrides)
    try:
        scale, chosen, remaining = apply_preset(source, overrides)
        remaining = expand_init(remaining)
        replaced = replaced_sections(remaining)
        every = [*drop_other_budget(mark_optional_keys(expand_loss_name(remaining), replaced)), *source.search_path]
        merged, files = _merge(chosen, every)
        _, smaller = preset_model(scale, source, str(files.get("model")))
        if smaller:
            before = [f"{key}={json.dumps(value)}" for key, value in smaller.items()]
            merged, files = _merge(chosen, [*before, *every])
        _check_sections(chosen, merged)
        choices = {group: _name(source, group, merged, str(files.get(group))) for group in GROUPS}
        if kind == "script":
            choices["optimizer"] = choice or "optimizer"
        raw: Any = OmegaConf.to_container(merged, resolve=False)
        names = set(REFERENCE.findall(repr(raw)))
        _check_grid(source, raw)
        values = OmegaConf.to_container(merged, resolve=True, throw_on_missing=True)
    except MissingConfigException as error:
        raise InputError(_missing(error, source)) from error
    except ConfigCompositionException as error:
        raise InputError(_not_overridable(error, source)) from error
    except RecursionError as error:
        raise InputError(f"{source.name}: its defaults lead back to itself; a file may not include itself") from error
    except (HydraException, OmegaConfBaseException, YAMLError, OSError, ValueError, TypeError, *FROM_INSIDE) as error:
        raise InputError(
            f"{source.name}: cannot be composed: {one_line(error)}; a configuration is a mapping of keys to values, "
            "written in UTF-8"
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"{source.name}: a configuration is a mapping of keys to values")
    sections = {str(key): value for key, value in values.items()} | replace_sections(replaced, values)
    return Composed(sections, choices, bool(names), "seed" in names, scale)


@cache
def program_kind(source: ConfigSource) -> str | None:
    """Return ``script`` or ``function`` if a configuration is of a program of the user."""
    if source.folder == _shipped() and source.extra is None and source.name not in ("script", "function"):
        return None
    try:
        merged, _ = _merge(source, source.search_path)
        kind = OmegaConf.select(merged, "program")
    except (
        HydraException,
        OmegaConfBaseException,
        YAMLError,
        OSError,
        ValueError,
        TypeError,
        RecursionError,
        *FROM_INSIDE,
    ):
        return None  # composing says what is wrong
    return str(kind) if kind in ("script", "function") else None


REFERENCE = re.compile(r"\$\{([^{}]*)\}")
"""Pattern of an interpolation of OmegaConf; its group is the key, ``optimizer.lr`` of ``${optimizer.lr}``."""


def _check_grid(source: ConfigSource, raw: Mapping[str, Any]) -> None:
    """Refuse values of a grid that refer to others: they are computed once, before the grid is expanded."""
    study = raw.get("study") or {}
    grids = {key: study.get(key) for key in ("grid", "spaces")} if isinstance(study, Mapping) else {}
    for key, grid in grids.items():
        if names := REFERENCE.findall(repr(grid)):
            name = names[0]
            raise InputError(
                f"{source.name}: study.{key} refers to ${{{name}}}, which has one value for the whole grid; write "
                f"numbers there, or set the key outside the grid, as in 'optimizer.weight_decay=${{{name}}}'"
            )


def _merge(source: ConfigSource, overrides: Sequence[str]) -> Merged:
    """Merge files and overrides; shipped files, which do not change while a process runs, are merged once."""
    if source.folder != _shipped() or source.extra is not None:
        return _merge_files(source.folder, source.name, tuple(overrides))
    parsed = [(text, parse_override(text)) for text in overrides]
    chosen = tuple(text for text, override in parsed if _chooses_file(override))
    packed, choices = _merge_shipped(source.name, chosen)
    config: DictConfig = pickle.loads(packed)  # our own bytes of a moment ago: seven times as fast as a deep copy
    values = [override for text, override in parsed if text not in chosen]
    ConfigLoaderImpl._apply_overrides_to_config(values, config)
    return Merged(config, choices)


@lru_cache(maxsize=512)
def _merge_shipped(name: str, overrides: tuple[str, ...]) -> tuple[bytes, Mapping[str, Any]]:
    """Merge shipped files alone, as Hydra does but without its own section, and return the result pickled.

    Callers modify their copy.
    """
    loader, files = _shipped_files()
    parsed = [parse_override(text) for text in overrides]
    defaults = create_defaults_list(files, name, parsed, prepend_hydra=False, skip_missing=False)
    config = loader._compose_config_from_defaults_list(defaults.defaults, files)
    OmegaConf.set_struct(config, True)  # an override of a key that is not there is refused
    return pickle.dumps(config), dict(defaults.overrides.known_choices)


class ReadOnce(CachingConfigRepository):
    """Files of a folder, parsed once; each caller gets a copy, since merging modifies it."""

    def __init__(self, delegate: IConfigRepository) -> None:
        super().__init__(delegate)
        self.packed: dict[str, bytes] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return a file's content and its defaults list, None if there is no such file."""
        if config_path not in self.packed:
            self.packed[config_path] = pickle.dumps(self.delegate.load_config(config_path))
        return pickle.loads(self.packed[config_path])  # type: ignore[no-any-return]  # as packed above


@cache
def _shipped_files() -> tuple[ConfigLoaderImpl, ReadOnce]:
    """Return Hydra's loader of shipped files, and the files."""
    with initialize_config_dir(str(_shipped()), version_base=HYDRA_VERSION_BASE):
        loader: Any = GlobalHydra.instance().config_loader()
    return loader, ReadOnce(loader.repository)


def _merge_files(folder: Path, name: str, overrides: tuple[str, ...]) -> Merged:
    """Have Hydra merge the files of a configuration and all overrides.

    Raises:
        ValueError: a file of the folder is no YAML, or grows beyond all bounds.
    """
    for path in [folder / f"{name}.yaml", *(path for group in GROUPS for path in (folder / group).glob("*.yaml"))]:
        if path.is_file() and not path.is_relative_to(_shipped()):
            _check_size(path, path.stat().st_mtime_ns)
    primary = folder / f"{name}.yaml"
    if primary.is_file():
        _check_hydra(primary, primary.stat().st_mtime_ns)
    with initialize_config_dir(str(folder), version_base=HYDRA_VERSION_BASE):
        merged = hydra_compose(name, list(overrides), return_hydra_config=True)
    if params := OmegaConf.select(merged, "hydra.sweeper.params"):
        raise InputError(_sweeper(f"{name}.yaml", params))
    choices = dict(merged.hydra.runtime.choices)
    OmegaConf.set_readonly(merged, False)
    OmegaConf.set_struct(merged, False)
    del merged["hydra"]
    OmegaConf.set_struct(merged, True)  # an override of a key that is not there is refused
    return Merged(merged, choices)


@lru_cache(maxsize=512)
def _check_hydra(path: Path, _modified: int) -> None:
    """Refuse Hydra's own settings in a file, which adamcmp would drop: it uses Hydra to compose only."""
    try:
        content = OmegaConf.load(path)
    except (OSError, ValueError, YAMLError, OmegaConfBaseException):
        return  # composing says so
    hydra = content.get("hydra") if isinstance(content, DictConfig) else None
    if not isinstance(hydra, DictConfig):
        return
    if params := OmegaConf.select(hydra, "sweeper.params"):
        raise InputError(_sweeper(path.name, params))
    if other_keys := [str(key) for key in hydra if key != "searchpath"]:
        raise InputError(f"{path.name}: hydra.{other_keys[0]} has no effect in adamcmp, which composes only; remove it")


def _sweeper(file: str, params: Any) -> str:
    content: Any = OmegaConf.to_container(params)
    key, value = next(iter(content.items()))
    return (
        f"{file}: hydra.sweeper.params is not read; write the sweep as study: grid: {{{key}: {json.dumps(value)}}}, or "
        f"on the command line as {shlex.quote(f'{key}={value}')}"
    )


@lru_cache(maxsize=512)
def _check_size(path: Path, _modified: int) -> None:
    """Refuse a file whose aliases stand for too many values, before Hydra writes them all out."""
    try:
        load_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: {one_line(error)}") from error


def _chooses_file(override: Override) -> bool:
    """Return whether an override names a file of a shipped group, and not a value: the rule is Hydra's."""
    return _is_group(override.key_or_group) and not isinstance(override.value(), dict)


@cache
def _is_group(key: str) -> bool:
    return (_shipped() / key).is_dir()


@cache
def _shipped() -> Path:
    return shipped_configs().resolve()


def _check_sections(source: ConfigSource, merged: DictConfig) -> None:
    lacking = [section for section in SECTIONS if section not in merged]
    if lacking:
        raise InputError(
            f"{source.name}: lacks {', '.join(lacking)}; your file has to start with "
            "`defaults: [config, _self_]`, or with another configuration instead of config"
        )


def _name(source: ConfigSource, group: str, merged: DictConfig, choice: str) -> str:
    """Return the name of a group's choice: its file, or the last part of a ``_target_`` that replaces the file's."""
    target = OmegaConf.select(merged, f"{group}._target_")
    if target is None:
        return choice
    path = find_file(source, f"{group}/{choice}")
    in_file = _target_in(path, path.stat().st_mtime_ns) if path else None
    replaced = (in_file is not None or group == "optimizer") and target != in_file
    return str(target).rpartition(".")[2] if replaced else choice


@lru_cache(maxsize=512)
def _target_in(path: Path, _modified: int) -> object:
    """Return the ``_target_`` of a YAML file, None if it has none; read again when the file has changed."""
    return OmegaConf.select(OmegaConf.load(path), "_target_")


def _missing(error: MissingConfigException, source: ConfigSource) -> str:
    missing = str(error.missing_cfg_file or source.name)
    group, _, name = missing.rpartition("/")
    return f"{group}={name}: no such {group}; {suggest_names(name, error.options or [])}" if group else one_line(error)


def _not_overridable(error: ConfigCompositionException, source: ConfigSource) -> str:
    match = re.search(r"Could not override '([^']+)'", str(error))
    if match is None:
        return f"{source.name}: {one_line(error)}; a configuration is a mapping of keys to values"
    key = match[1].partition("@")[0]
    paths = [path for path, _ in flatten(compose(source, []).values)]
    paths += [*SECTIONS, "search", "seed", "scale"]
    if any(path == key or path.startswith(f"{key}.") for path in paths):
        return f"{key}: cannot take this value; give its keys one by one, as {key}.name=…, new ones with + in front"
    return f"{key}: no such setting; {suggest_names(key, paths)} A new key of your own class is given as +{key}=…"
