"""``scale=NAME``: a study's own sizes, composed like any other part."""

from __future__ import annotations

import pytest

from adamcmp.config.compose import compose
from adamcmp.config.lookup import find_config, list_group, shipped_configs
from adamcmp.config.origins import value_origins
from adamcmp.config.validate import validate_config
from adamcmp.errors import InputError

STUDIES = sorted(path.stem for path in (shipped_configs() / "study").glob("*.yaml"))


def config(*overrides, study="figure2"):
    source = find_config(study)
    return validate_config(compose(source, overrides), source)


@pytest.mark.parametrize("study", [each for each in STUDIES if each.startswith("claims_")])
def test_studies_of_claims_have_a_smoke_scale(study):
    assert config("scale=smoke", study=study).study.name == f"{study}_smoke"


@pytest.mark.parametrize("study", [each for each in STUDIES if not each.startswith("claims_")])
def test_every_study_has_every_scale(study):
    assert config("scale=laptop", study=study) == config(study=study)
    names = {config(f"scale={name}", study=study).study.name for name in ("smoke", "paper")}
    assert names == {f"{study}_smoke", f"{study}_paper"}


@pytest.mark.parametrize("name", [name for name in list_group("") if name not in ("config", "script", "function")])
def test_every_configuration_has_a_smoke_scale(name):
    laptop, smoke = config(study=name), config("scale=smoke", study=name)
    assert smoke.study.name == f"{name}_smoke"
    assert smoke.train.steps <= 400
    assert config("scale=laptop", study=name) == laptop
    assert smoke.model.name == laptop.model.name


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [("shake_shake", "width", 8), ("gpt_124m", "depth", 2), ("resnet_56", "depth", 20), ("cnn", "width", 16)],
)
def test_models_are_small_at_smoke(model, key, value):
    assert config("scale=smoke", f"model={model}", study="cifar10").model.arguments[key] == value
    assert config("scale=smoke", f"model={model}", f"model.{key}=3", study="cifar10").model.arguments[key] == 3


@pytest.mark.parametrize(
    ("name", "model", "steps", "epochs"),
    [
        ("cifar10", "shake_shake", None, 1800),
        ("text", "gpt_124m", 600_000, None),
        ("modular_addition", "modular_transformer", 40_000, None),
    ],
)
def test_published_experiments_have_a_paper_scale(name, model, steps, epochs):
    paper = config("scale=paper", study=name)
    assert (paper.model.name, paper.train.steps, paper.train.epochs) == (model, steps, epochs)
    assert paper.study.name == f"{name}_paper"


def test_the_paper_s_scale_is_the_paper_s():
    paper = config("scale=paper")
    assert (paper.data.name, paper.model.name, paper.model.arguments["width"]) == ("cifar10", "shake_shake", 64)
    assert (paper.train.epochs, paper.train.steps, paper.train.batch_size) == (100, None, 128)
    assert paper.data.augment == "flip_crop"


def test_the_command_line_has_the_last_word():
    assert config("scale=paper", "model=resnet", "train.epochs=3").train.epochs == 3
    assert config("model=resnet", "scale=paper").model.name == "resnet"
    assert config("scale=paper", "train.steps=7").train.epochs is None
    assert value_origins(find_config("figure2"), ["scale=paper"])["train.epochs"].endswith("paper.yaml")


def test_an_own_configuration_has_scales_beside_it(tmp_path):
    (tmp_path / "scale" / "mine").mkdir(parents=True)
    (tmp_path / "scale" / "mine" / "large.yaml").write_text(
        "# @package _global_\ndefaults: [/mine, _self_]\ntrain: {steps: 900}\n"
    )
    (tmp_path / "mine.yaml").write_text("defaults: [digits, _self_]\nstudy: {name: own}\n")
    mine = str(tmp_path / "mine.yaml")
    large = config("scale=large", study=mine)
    assert (large.train.steps, large.study.name) == (900, "own_large")
    assert config("scale=large", "study.name=other", study=mine).study.name == "other_large"
    assert config("scale=smoke", study=mine).train.steps == 200
    assert config(study=mine).train.steps == 500


@pytest.mark.parametrize(
    ("study", "scale", "message"),
    [
        ("figure2", "papr", r"^scale=papr: no such scale of figure2; give one of demo, laptop, paper, smoke"),
        ("digits", "paper", r"^scale=paper: no such scale of digits; give one of laptop, smoke"),
    ],
)
def test_unknown_scales_are_refused(study, scale, message):
    with pytest.raises(InputError, match=message):
        config(f"scale={scale}", study=study)
