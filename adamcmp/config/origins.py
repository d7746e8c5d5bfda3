"""Where each value of a configuration was set: the file, the command line or a default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from adamcmp.config.lookup import HYDRA_VERSION_BASE, ConfigSource, find_file
from adamcmp.config.overrides import GROUPS, parse_override
from adamcmp.config.presets import apply_preset, preset_model
from adamcmp.config.shorthands import drop_other_budget


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key and its value; an empty mapping counts as a value."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{path}.")
        else:
            yield path, value


def value_origins(source: ConfigSource, overrides: Sequence[str]) -> dict[str, str]:
    """Return the file, or ``command line``, that set each dotted key last."""
    with initialize_config_dir(str(source.folder), version_base=HYDRA_VERSION_BASE):
        loader = GlobalHydra.instance().config_loader()
        scale, chosen, remaining = apply_preset(source, overrides)
        remaining = drop_other_budget(remaining)
        defaults = loader.compute_defaults_list(chosen.name, [*remaining, *source.search_path], RunMode.RUN)
        origins: dict[str, str] = {}
        for default in defaults.defaults:
            if default.config_path is None or default.config_path.startswith("hydra/"):
                continue
            path = find_file(source, default.config_path)
            if path is None:
                continue
            package = f"{default.package}." if default.package else ""
            content = OmegaConf.to_container(OmegaConf.load(path))
            if isinstance(content, dict):
                origins |= {key: str(path) for key, _ in flatten({str(k): v for k, v in content.items()}, package)}
    path, smaller = preset_model(scale, source, str(defaults.overrides.known_choices.get("model")))
    origins |= dict.fromkeys(smaller, str(path))
    for text in remaining:
        key = parse_override(text).key_or_group
        if key not in (*GROUPS, "execute", "search") and "/" not in key:
            origins = {k: v for k, v in origins.items() if not k.startswith(f"{key}.")} | {key: "command line"}
    return origins
