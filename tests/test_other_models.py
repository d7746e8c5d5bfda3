"""Models as libraries build them: their outputs, lazy layers, builders with any keyword, configuration objects."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from adamcmp.config.instantiate import build_nested, nested_targets
from adamcmp.engine.model_summary import hidden_layers, summarize_model
from adamcmp.engine.objective import outputs
from adamcmp.errors import InputError

from .execute.conftest import CommandLine

LOGITS = torch.ones(2, 3)


class WithLogits:
    logits = LOGITS


@dataclasses.dataclass
class Output:
    loss: torch.Tensor | None
    prediction: torch.Tensor


@pytest.mark.parametrize(
    "result",
    [
        LOGITS,
        (LOGITS, None),
        (torch.tensor(0.5), LOGITS),
        (None, LOGITS, LOGITS + 1),
        {"logits": LOGITS, "loss": torch.tensor(1.0)},
        {"loss": torch.tensor(1.0), "scores": LOGITS},
        WithLogits(),
        Output(None, LOGITS),
        Output(torch.tensor(1.0), LOGITS),
        [{"loss": torch.tensor(1.0), "out": (LOGITS,)}],
    ],
)
def test_predictions_are_found_in_every_kind_of_output(result):
    assert outputs(result) is LOGITS


class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 2)
        self.blocks = [nn.Linear(2, 2), {"deep": (nn.Linear(2, 2),)}]
        self.known = [self.head]


def test_layers_in_a_plain_list_are_named():
    model = Hidden()
    assert hidden_layers(model) == ["blocks"]
    model.head.bias.requires_grad_(False)
    assert summarize_model(model, LOGITS) == "6 parameters, 4 of them trained; outputs 3"


def test_nested_targets_are_built():
    values = {"config": {"_target_": "collections.Counter", "a": 2}, "list": [{"_target_": "builtins.dict", "b": 1}]}
    assert build_nested(values, "model") == {"config": {"a": 2}, "list": [{"b": 1}]}
    assert nested_targets(values) == ["collections.Counter", "builtins.dict"]
    assert build_nested({"_target_": "builtins.dict", "_partial_": True, "b": 1}, "model")(c=2) == {"b": 1, "c": 2}
    with pytest.raises(InputError, match=r"model.config._target_=nowhere.Here"):
        build_nested({"config": {"_target_": "nowhere.Here"}}, "model")


MODELS = """
import torch
from torch import nn


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(10))

    def forward(self, x):
        return self.layers(x)


def builder(width=8, **kwargs):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, kwargs.get("num_classes", 1000)))


def inner(**kwargs):
    return Fixed(**kwargs)


class Fixed(nn.Module):
    def __init__(self, outputs=1000):
        super().__init__()
        self.head = nn.Linear(64, outputs)

    def forward(self, x):
        return self.head(x.flatten(1))


class LightningModule(nn.Module):
    pass


class Mine(LightningModule):
    pass
"""


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    (tmp_path / "other_models.py").write_text(MODELS)
    return CommandLine(tmp_path, monkeypatch, capsys)


def test_models_of_other_styles_are_built_or_refused_in_one_line(cli):
    def shown(name, *words):
        ended = cli("show-data", "digits", f"model._target_=other_models.{name}", *words)
        return ended.code, ended.out + ended.err

    assert "outputs 10" in shown("Lazy")[1]
    assert "outputs 10" in shown("builder")[1]
    code, text = shown("inner")
    assert code == 2
    assert "has 1,000 outputs for 10 classes of digits; build it with num_classes=10, or set model" in text
    assert "outputs 1000" in shown("inner", "model.extra_outputs=true")[1]
    code, text = shown("Mine")
    assert code == 2
    assert "is a LightningModule" in text
