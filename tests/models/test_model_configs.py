"""Every YAML under configs/model names a model, and shows all its own keywords with their defaults."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
import yaml
from torch import nn

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "model").glob("*.yaml"))


def test_there_are_configs():
    assert {path.stem for path in CONFIGS} >= {"mlp", "cnn", "modular_mlp"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_matches_its_model(path):
    text = path.read_text(encoding="utf-8")
    first = text.splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 20
    settings = yaml.safe_load(text)
    if "defaults" in settings:
        return  # a variant of another file
    module, _, name = settings.pop("_target_").rpartition(".")
    model = getattr(importlib.import_module(module), name)
    assert issubclass(model, nn.Module)
    parameters = inspect.signature(model).parameters
    facts = {"input_shape", "num_classes", "num_tokens", "mup_base"}  # the last is for those who ask for it
    assert list(parameters)[:2] == ["input_shape", "num_classes"]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    own = {key: p.default for key, p in parameters.items() if key not in facts}
    assert settings == {key: list(v) if isinstance(v, tuple) else v for key, v in own.items()}
