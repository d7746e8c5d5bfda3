"""``scale=NAME``: a study's own sizes, composed like any other part."""

from __future__ import annotations

import pytest

from adamcmp.config.build import typed
from adamcmp.config.compose import compose, locate, origins, shipped_configs
from adamcmp.errors import InputError

STUDIES = sorted(path.stem for path in (shipped_configs() / "study").glob("*.yaml"))


def config(*overrides, study="figure2"):
    source = locate(study)
    return typed(compose(source, overrides), source)


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_has_every_scale(study):
    folder = shipped_configs() / "scale" / study
    assert {path.stem for path in folder.glob("*.yaml")} == {"smoke", "laptop", "paper"}
    assert config("scale=laptop", study=study) == config(study=study)
    assert {config(f"scale={name}", study=study).study.name for name in ("smoke", "paper")} == {
        f"{study}_smoke",
        f"{study}_paper",
    }


def test_the_paper_s_scale_is_the_paper_s():
    paper = config("scale=paper")
    assert (paper.data.name, paper.model.name, paper.model.arguments["width"]) == ("cifar10", "shake_shake", 64)
    assert (paper.train.epochs, paper.train.steps, paper.train.batch_size) == (100, None, 128)
    assert paper.data.augment == "flip_crop"


def test_the_command_line_has_the_last_word():
    assert config("scale=paper", "model=resnet", "train.epochs=3").train.epochs == 3
    assert config("model=resnet", "scale=paper").model.name == "resnet"
    assert config("scale=paper", "train.steps=7").train.epochs is None
    assert origins(locate("figure2"), ["scale=paper"])["train.epochs"].endswith("paper.yaml")


def test_an_own_study_has_scales_beside_it(tmp_path):
    (tmp_path / "scale" / "mine").mkdir(parents=True)
    (tmp_path / "scale" / "mine" / "tiny.yaml").write_text("# @package _global_\ntrain: {steps: 3}\n")
    (tmp_path / "scale" / "mine" / "large.yaml").write_text("# @package _global_\ntrain: {steps: 900}\n")
    (tmp_path / "mine.yaml").write_text("defaults: [digits, _self_, /scale/mine@_global_: tiny]\n")
    mine = str(tmp_path / "mine.yaml")
    assert config(study=mine).train.steps == 3
    assert config("scale=large", study=mine).train.steps == 900


@pytest.mark.parametrize(
    ("study", "scale", "message"),
    [
        ("figure2", "papr", r"^scale=papr: no such scale of figure2; give one of laptop, paper, smoke"),
        ("digits", "smoke", r"^scale=smoke: digits has one scale only"),
    ],
)
def test_unknown_scales_are_refused(study, scale, message):
    with pytest.raises(InputError, match=message):
        config(f"scale={scale}", study=study)
