"""YAML files and overrides in; a plain dictionary, the chosen files and the origin of every value out.

A configuration is found by name (``digits``, ``figure2``) or by path (``my/study.yaml``). The search path is the
folder of that file, then ``--config-dir``, then the configurations that adamcmp ships, so that an own
``optimizer/lion.yaml`` is found beside ours and an own file may start from ``defaults: [config]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from adamcmp.config.scales import model_at, scaled
from adamcmp.config.schema import Data, OnRay, OnSlurm, Search, Train
from adamcmp.config.sources import Source, file
from adamcmp.config.sweeps import GROUPS, parse_override
from adamcmp.errors import InputError, closest, one_line

KEPT: dict[str, frozenset[str]] = {
    "model": frozenset(),
    "optimizer": frozenset({"lr"}),
    "data": frozenset({"validation_fraction", "test_fraction", "split_seed", "normalize", "train_examples"}),
    "schedule": frozenset({"warmup_steps"}),
}
"""What a section keeps of its file where the command line gives a ``_target_``: nothing that another class may not
take."""
KNOWN = {
    "search": set(Search.model_fields),
    "data": set(Data.model_fields) - {"name", "target", "source", "arguments"},
    "train": set(Train.model_fields),
    "study": {"name", "seeds", "confirm.seeds", "margin", "reference", "extend"},
}
EXECUTE = {f"{name}.{key}" for name, kind in (("ray", OnRay), ("slurm", OnSlurm)) for key in kind.model_fields}
FREE = {
    "optimizer.groups",
    "optimizer.width_lr",
    "optimizer.width_decay",
    "model.mup_base",
    "init",
    "log",
    *(f"execute.{key}" for key in EXECUTE),
}
"""Settings that files may leave out."""
FROM_INSIDE = (AttributeError, KeyError, AssertionError)
"""What Hydra raises where a file replaces its own section."""
SECTIONS = (*GROUPS, "train", "study", "execute")
HYDRA_VERSION_BASE = "1.3"


@dataclass(frozen=True)
class Composed:
    """A merged configuration, not yet typed."""

    values: Mapping[str, Any]
    choices: Mapping[str, str]
    """The file chosen in each group: ``{"optimizer": "adamw", …}``."""
    has_interpolations: bool
    """Some value was computed from another one, so that values cannot be replaced one by one."""
    scale: str | None = None
    """What ``scale=`` chose, where it is not the configuration as it is: a part of the study's name."""


def compose(source: Source, overrides: Sequence[str]) -> Composed:
    """Merge a configuration's files and single-valued overrides (33–50 ms).

    Raises:
        InputError: an unknown group option or key (with the closest names), or a broken YAML file.
    """
    try:
        with initialize_config_dir(str(source.folder), version_base=HYDRA_VERSION_BASE):
            scale, chosen, given = scaled(source, overrides)
            own = _own_keys(given)
            every = [*one_budget(_free(_named_loss(given), own)), *_search(source)]
            merged = hydra_compose(chosen.name, every, return_hydra_config=True)
            _, smaller = model_at(scale, source, str(merged.hydra.runtime.choices.get("model")))
            if smaller:
                before = [f"{key}={json.dumps(value)}" for key, value in smaller.items()]
                merged = hydra_compose(chosen.name, [*before, *every], return_hydra_config=True)
        _check_sections(chosen, merged)
        choices = {group: _name(source, group, merged) for group in GROUPS}
        OmegaConf.set_readonly(merged, False)
        OmegaConf.set_struct(merged, False)
        del merged["hydra"]
        interpolated = "${" in OmegaConf.to_yaml(merged, resolve=False)
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
    sections = {str(key): value for key, value in values.items()} | _own_sections(own, values)
    return Composed(sections, choices, interpolated, scale)


def _own_keys(overrides: Sequence[str]) -> dict[str, set[str]]:
    """The keys that the command line gives in each section that it makes an own class's by ``_target_``."""
    keys = [(text, *parse_override(text).key_or_group.partition(".")[::2]) for text in overrides]
    own = {group for text, group, key in keys if key == "_target_" and group in KEPT and not text.startswith("~")}
    return {group: {key.partition(".")[0] for _, section, key in keys if section == group and key} for group in own}


def _free(overrides: Sequence[str], own: Mapping[str, set[str]]) -> list[str]:
    """Settings that adamcmp knows need no ``+`` in front where a file leaves them out; nor do keys of an own class."""
    return [
        f"++{text}" if text[0] not in "+~" and _is_free(text.partition("=")[0], own) else text for text in overrides
    ]


def _is_free(key: str, own: Mapping[str, set[str]]) -> bool:
    section, _, name = key.partition(".")
    return (
        section in own or key in FREE or (section in KNOWN and name in KNOWN[section]) or key.startswith("train.loss.")
    )


def _named_loss(overrides: Sequence[str]) -> list[str]:
    """``train.loss=huber`` is ``train.loss.name=huber``, so that other settings of it may follow."""
    return [re.sub(r"^(\+*)train\.loss=(\w+)$", r"\1train.loss.name=\2", text) for text in overrides]


def _own_sections(own: Mapping[str, set[str]], values: Mapping[Any, Any]) -> dict[str, Any]:
    """What is left of a file's section where the command line names a class in its place."""
    return {
        group: {key: value for key, value in values[group].items() if key in keys or key in KEPT[group]}
        for group, keys in own.items()
    }


def _check_sections(source: Source, merged: DictConfig) -> None:
    lacking = [section for section in SECTIONS if section not in merged]
    if lacking:
        raise InputError(
            f"{source.name}: lacks {', '.join(lacking)}; an own file is a mapping that starts with "
            "`defaults: [config, _self_]`, or with another configuration in the place of config"
        )


def _name(source: Source, group: str, merged: DictConfig) -> str:
    """What a group's choice is called: its file, or the last word of a ``_target_`` that replaces the file's own."""
    choice = str(merged.hydra.runtime.choices.get(group))
    path = file(source, f"{group}/{choice}")
    in_file = OmegaConf.select(OmegaConf.load(path), "_target_") if path else None
    target = OmegaConf.select(merged, f"{group}._target_")
    replaced = target is not None and (in_file is not None or group == "optimizer") and target != in_file
    return str(target).rpartition(".")[2] if replaced else choice


def one_budget(overrides: Sequence[str]) -> list[str]:
    """A budget given in epochs takes the place of one in steps, and the other way round."""
    given = {text.partition("=")[0].lstrip("+") for text in overrides}
    other = {"train.epochs": "train.steps", "train.steps": "train.epochs"}
    return [*overrides, *(f"{other[key]}=null" for key in other if key in given and other[key] not in given)]


def _search(source: Source) -> list[str]:
    return [f"hydra.searchpath=[{source.extra.as_uri()}]"] if source.extra else []


def _missing(error: MissingConfigException, source: Source) -> str:
    missing = str(error.missing_cfg_file or source.name)
    group, _, name = missing.rpartition("/")
    return f"{group}={name}: no such {group}; {closest(name, error.options or [])}" if group else one_line(error)


def _not_overridable(error: ConfigCompositionException, source: Source) -> str:
    match = re.search(r"Could not override '([^']+)'", str(error))
    if match is None:
        return f"{source.name}: {one_line(error)}; a configuration is a mapping of keys to values"
    key = match[1].partition("@")[0]
    known = [path for path, _ in leaves(compose(source, []).values)]
    if any(path == key or path.startswith(f"{key}.") for path in known):
        return f"{key}: cannot take this value; give its keys one by one, as {key}.name=…, new ones with + in front"
    return f"{key}: no such setting; {closest(key, known)} A new key of an own class is given as +{key}=…"


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key and its value; an empty mapping counts as a value."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def origins(source: Source, overrides: Sequence[str]) -> dict[str, str]:
    """For every dotted key, the file (or ``command line``) that had the last word on it."""
    with initialize_config_dir(str(source.folder), version_base=HYDRA_VERSION_BASE):
        loader = GlobalHydra.instance().config_loader()
        scale, chosen, given = scaled(source, overrides)
        given = one_budget(given)
        defaults = loader.compute_defaults_list(chosen.name, [*given, *_search(source)], RunMode.RUN)
        found: dict[str, str] = {}
        for default in defaults.defaults:
            if default.config_path is None or default.config_path.startswith("hydra/"):
                continue
            path = file(source, default.config_path)
            if path is None:
                continue
            package = f"{default.package}." if default.package else ""
            content = OmegaConf.to_container(OmegaConf.load(path))
            if isinstance(content, dict):
                found |= {key: str(path) for key, _ in leaves({str(k): v for k, v in content.items()}, package)}
    path, smaller = model_at(scale, source, str(defaults.overrides.known_choices.get("model")))
    found |= dict.fromkeys(smaller, str(path))
    for text in given:
        key = parse_override(text).key_or_group
        if key not in (*GROUPS, "execute", "search") and "/" not in key:
            found = {k: v for k, v in found.items() if not k.startswith(f"{key}.")} | {key: "command line"}
    return found
