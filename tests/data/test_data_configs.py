"""Every YAML under configs/data names a function, and shows all its keywords with their defaults."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
import yaml

from adamcmp.data import make_dataset

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "data").glob("*.yaml"))
COMMON = {
    name: p.default for name, p in inspect.signature(make_dataset).parameters.items() if name not in ("raw", "name")
}


def test_there_are_configs():
    assert {path.stem for path in CONFIGS} >= {"digits", "fashion_mnist", "mnist", "mnist1d", "modular_addition"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_matches_its_function(path):
    text = path.read_text(encoding="utf-8")
    first = text.splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 20
    settings = yaml.safe_load(text)
    if "defaults" in settings:
        return  # a variant of another file
    module, _, name = settings.pop("_target_").rpartition(".")
    function = getattr(importlib.import_module(module), name)
    own = {key: parameter.default for key, parameter in inspect.signature(function).parameters.items()}
    own.pop("targets", None)  # what `prepare` is told, this function is told too
    assert not own.keys() & COMMON.keys()
    assert {
        key: value for key, value in settings.items() if key not in {*COMMON, "augment", "official", "embedded"}
    } == own
    common = {key: value for key, value in settings.items() if key in COMMON}
    shown = {"normalize", "train_examples"} | ({"split_seed"} if "validation_fraction" in common else set())
    assert common.keys() >= shown
    for key in shown:
        assert common[key] == COMMON[key]
