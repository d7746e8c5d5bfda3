"""``scale=NAME``: a configuration in another's place, or laid over it, and what makes a large model small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from adamcmp.config.lookup import ConfigSource, group_files
from adamcmp.errors import InputError

NO_PRESET = "laptop"


class PresetConfig(NamedTuple):
    """A configuration and its overrides after ``scale=NAME``."""

    scale: str | None
    """None for ``laptop``, which is the configuration as it is."""
    source: ConfigSource
    overrides: list[str]


def apply_preset(source: ConfigSource, overrides: Sequence[str]) -> PresetConfig:
    """Apply a preset: ``scale/<configuration>/NAME.yaml`` replaces the configuration, ``scale/NAME.yaml`` is merged on
    top of any other.

    Raises:
        InputError: there is no such file.
    """
    names = [text.partition("=")[2] for text in overrides if text.partition("=")[0] == "scale"]
    rest = [text for text in overrides if text.partition("=")[0] != "scale"]
    if not names or names[-1] == NO_PRESET:
        return PresetConfig(None, source, rest)
    study_group = f"scale/{source.stem}"
    groups = ["scale", study_group] if "/" not in source.name else [study_group]  # Hydra lays nothing over a study
    presets = {path.stem: group for group in groups for path in group_files(source, group)}
    if names[-1] not in presets:
        preset_names = ", ".join(sorted({NO_PRESET, *presets}))
        raise InputError(f"scale={names[-1]}: no such scale of {source.stem}; give one of {preset_names}")
    if presets[names[-1]] == study_group:
        return PresetConfig(names[-1], replace(source, name=f"{study_group}/{names[-1]}"), rest)
    return PresetConfig(names[-1], source, [f"+scale@_global_={names[-1]}", *rest])


def preset_model(scale: str | None, source: ConfigSource, model: str) -> tuple[Path | None, dict[str, Any]]:
    """Return the settings of ``scale/model/<scale>/<model>.yaml``, and that file."""
    path = next((path for path in group_files(source, f"scale/model/{scale}") if path.stem == model), None)
    content = OmegaConf.to_container(OmegaConf.load(path)) if path else {}
    return path, {f"model.{key!s}": value for key, value in content.items()} if isinstance(content, dict) else {}
