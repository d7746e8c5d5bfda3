"""Metrics against other people's code: scikit-learn, torchmetrics, and torch's own Hessian."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics
import torch
from sklearn.metrics import top_k_accuracy_score
from torch import nn
from torch.func import functional_call
from torchmetrics.functional.classification import multiclass_calibration_error, multilabel_average_precision

from adamcmp.metrics import functions, losses


@pytest.fixture
def predictions():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(500, 12, generator=generator, dtype=torch.float64)
    return logits, (logits + torch.randn(500, 12, generator=generator)).argmax(-1)


def test_top5_error(predictions):
    logits, y = predictions
    expected = 1 - top_k_accuracy_score(y, logits, k=5, labels=np.arange(12))
    assert functions.top5_error(logits, y) == pytest.approx(expected)
    assert functions.top5_error(logits.view(50, 10, 12), y.view(50, 10)) == pytest.approx(expected)
    assert functions.top5_error(logits[:, :3], y.clamp(max=2)) == 0


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_calibration_error(predictions, bins):
    logits, y = predictions
    expected = multiclass_calibration_error(logits.softmax(-1), y, num_classes=12, n_bins=bins, norm="l1").item()
    assert functions.calibration_error(logits, y, bins) == pytest.approx(expected, abs=1e-6)


def test_calibration_error_of_what_is_sure_and_wrong_or_right():
    sure = torch.tensor([[100.0, 0.0], [100.0, 0.0]])
    assert functions.calibration_error(sure, torch.tensor([0, 0])) == pytest.approx(0, abs=1e-12)
    assert functions.calibration_error(sure, torch.tensor([1, 1])) == pytest.approx(1)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def test_weight_norms(net):
    found = functions.weight_norms(net)
    for name, p in net.named_parameters():
        assert found[name] == pytest.approx(np.linalg.norm(p.detach().numpy()))
    assert sum(found[f"{name}_share"] for name, _ in net.named_parameters()) == pytest.approx(1)


def test_updates(net):
    previous = {name: p.detach() + torch.randn_like(p) for name, p in net.named_parameters()}
    found = functions.updates(net, previous)
    assert set(found) == {"0.weight_ratio", "0.weight_angle", "2.weight_ratio", "2.weight_angle"}
    for name in ("0.weight", "2.weight"):
        now, before = net.get_parameter(name).detach().numpy().ravel(), previous[name].numpy().ravel()
        assert found[f"{name}_ratio"] == pytest.approx(np.linalg.norm(now - before) / np.linalg.norm(before))
        cosine = now @ before / np.linalg.norm(now) / np.linalg.norm(before)
        assert found[f"{name}_angle"] == pytest.approx(math.acos(cosine))


def test_small_angles_are_not_rounded_away(net):
    turned = {name: p.detach().clone() for name, p in net.named_parameters()}
    weight = turned["0.weight"]
    sideways = torch.randn_like(weight)
    sideways -= weight * (sideways * weight).sum() / weight.square().sum()
    turned["0.weight"] = weight + 1e-9 * weight.norm() / sideways.norm() * sideways
    assert functions.updates(net, turned)["0.weight_angle"] == pytest.approx(1e-9, rel=1e-5)


def test_the_largest_hessian_eigenvalue(net):
    x, y = torch.randn(20, 3, dtype=torch.float64), torch.randint(2, (20,))
    shapes = {name: p.shape for name, p in net.named_parameters()}

    def loss(flat):
        shards = flat.split([shape.numel() for shape in shapes.values()])
        weights = {name: shard.view(shape) for (name, shape), shard in zip(shapes.items(), shards, strict=True)}
        return losses.cross_entropy(functional_call(net, weights, (x,)), y, reduction="mean")

    flat = torch.cat([p.detach().flatten() for p in net.parameters()])
    eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat))
    largest = eigenvalues[eigenvalues.abs().argmax()].item()

    def objective():
        return losses.cross_entropy(net(x), y, reduction="mean")

    assert functions.hessian_eigenvalue(net, objective, iterations=300) == pytest.approx(largest, rel=1e-6)
    assert functions.hessian_eigenvalue(net, objective) == pytest.approx(largest, rel=0.05)


def test_bits_per_byte_of_the_uniform_prediction():
    assert functions.bits_per_byte(math.log(256), 1.0) == pytest.approx(8)
    assert functions.bits_per_byte(math.log(256), 2.0) == pytest.approx(4)


@pytest.fixture
def quantities():
    generator = torch.Generator().manual_seed(1)
    y = torch.randn(200, 3, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 10.0, 0.1]) + 5
    return y + torch.randn(200, 3, generator=generator), y


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("rmse", sklearn.metrics.root_mean_squared_error),
        ("mae", sklearn.metrics.mean_absolute_error),
        ("r2", sklearn.metrics.r2_score),
    ],
)
def test_errors_of_quantities(quantities, name, oracle):
    outputs, y = quantities
    assert getattr(functions, name)(outputs, y) == pytest.approx(oracle(y.numpy(), outputs.numpy()))
    constant = torch.cat([y, torch.ones(200, 1)], 1), torch.cat([y, torch.ones(200, 1)], 1)
    assert functions.r2(*constant) == 1
    assert functions.r2(constant[0] + 1, constant[1]) == pytest.approx(
        sklearn.metrics.r2_score(constant[1].numpy(), constant[0].numpy() + 1)
    )


@pytest.fixture
def labels():
    """Scores with many ties, and one label that never occurs."""
    generator = torch.Generator().manual_seed(2)
    y = (torch.rand(300, 6, generator=generator) < torch.tensor([0.5, 0.1, 0.02, 0.9, 0.3, 0.0])).double()
    return (y + 1.5 * torch.randn(300, 6, generator=generator) - 0.5).mul(4).round() / 4, y


def test_errors_of_labels(labels):
    logits, y = labels
    known, whole = slice(0, 5), y.long()
    average_precision = sklearn.metrics.average_precision_score(whole[:, known], logits[:, known], average="macro")
    assert functions.average_precision(logits, y) == pytest.approx(average_precision)
    by_torchmetrics = multilabel_average_precision(logits[:, known], whole[:, known], num_labels=5, average="macro")
    assert functions.average_precision(logits, y) == pytest.approx(by_torchmetrics.item(), rel=1e-5)
    expected = sklearn.metrics.f1_score(whole, logits > 0, average="macro", zero_division=0)
    assert functions.f1(logits, y) == pytest.approx(expected)
    assert functions.hamming_loss(logits, y) == pytest.approx(sklearn.metrics.hamming_loss(whole, logits > 0))


def test_errors_of_many_runs_at_once_are_those_of_each(labels, quantities):
    for name, (outputs, y) in {
        "average_precision": labels, "f1": labels, "hamming_loss": labels, "rmse": quantities, "r2": quantities,
    }.items():  # fmt: skip
        function = functions.METRIC_FUNCTIONS[name]
        runs = torch.stack([outputs, -outputs, outputs.flip(0)])
        together = function.error(torch.stack([function.statistics(each, y) for each in runs]), y)
        assert together.tolist() == pytest.approx([function(each, y) for each in runs])


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.0])
def test_huber_is_torchs(quantities, delta):
    outputs, y = quantities
    expected = nn.functional.huber_loss(outputs, y, delta=delta, reduction="none")
    torch.testing.assert_close(losses.huber(outputs, y, delta), expected)
