"""Metrics that look into an optimizer: their numbers, and the same from both engines."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from adamcmp import instruments
from adamcmp.engine import sequential, vectorized
from adamcmp.engine.check_before_training import check_before_training
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.errors import InputError
from adamcmp.plan.runs import group_runs

from .conftest import DEVICE

NAMES = ("decay_rates", "gradient_norms", "largest_weight", "projections")
ALL = f"train.metrics=[updates,{','.join(f'adamcmp.instruments.{name}' for name in NAMES)}]"


BUDGET = ("train.steps=20", "train.evaluations=2")


def train(planned, engine, *overrides):
    runs, datasets = planned(*BUDGET, *overrides)
    (run_group,) = group_runs(runs)
    shard = Shard.of(run_group, Strategy(engine=engine.__name__.rpartition(".")[2]))
    return list(engine.train_shard(shard, datasets[run_group.task.facts.fingerprint], DEVICE, TrainingControl()))


def test_both_engines_see_the_same_state(planned):
    words = (ALL, "train.precision=fp64", "optimizer=adam_traced,adamw_traced", "optimizer.lr=1e-2,1e-3")
    alone, together = (train(planned, engine, *words) for engine in (sequential, vectorized))
    assert len(alone) == 4
    for one, row in zip(alone, together, strict=True):
        for ours, theirs in zip(row.evaluations, one.evaluations, strict=True):
            assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-8, abs=1e-10)


def test_adamw_takes_the_same_of_every_weight_and_l2_most_of_those_with_small_gradients(planned):
    words = (ALL, "schedule=constant", "optimizer.lr=1e-2", "optimizer.weight_decay=0.1")
    (adamw,), (adam,) = (
        train(planned, sequential, *words, f"optimizer={name}") for name in ("adamw_traced", "adam_traced")
    )
    layer = "decay_rates_layers.2.weight"
    assert [adamw.metrics[f"{layer}_rate_{k}"] for k in range(10)] == pytest.approx([1e-3] * 10, rel=1e-4)
    scales = [adam.metrics[f"{layer}_scale_{k}"] for k in range(10)]
    assert scales == sorted(scales)
    assert adam.metrics[f"{layer}_rate_9"] < 0.5 * adam.metrics[f"{layer}_rate_0"]


def test_states_are_those_of_our_kernel_where_torch_has_a_class(planned, tmp_path, monkeypatch):
    """A plain adam is trained by torch.optim alone, and its moments have the kernel's names all the same."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_moments.py").write_text(
        "def second(state):\n    return {n: float(s['v'].mean()) for n, s in state.items()}\n"
    )
    words = ("train.metrics=[own_moments.second]", "train.precision=fp64", "optimizer=adam")
    (alone,), (together,) = (train(planned, engine, *words) for engine in (sequential, vectorized))
    assert alone.metrics == pytest.approx(together.metrics, rel=1e-9)
    assert alone.metrics["second_layers.0.weight"] > 0


def test_a_record_that_is_not_kept_is_told_before_training(planned):
    runs, datasets = planned(*BUDGET, "train.metrics=[adamcmp.instruments.decay_rates]", "optimizer=adamw")
    with pytest.raises(InputError, match=r"adamcmp\.instruments\.decay_rates failed: KeyError: 'scale'"):
        check_before_training(group_runs(runs), datasets, DEVICE)


def test_words_are_told_by_how_rare_they_are():
    words = torch.tensor([[1, 2, 0], [1, 3, 0], [1, 2, 0], [1, 0, 0]])
    scale = torch.tensor([1.0, 0.5, 0.25, 0.125])[:, None].expand(4, 2)
    grad = torch.tensor([9.0, 2.0, 0.0, 4.0])[:, None].expand(4, 2)
    found = instruments.word_rates(words, {"table": {"scale": scale, "grad": grad}, "bias": {"scale": torch.ones(3)}})
    assert found["frequency_11"] == pytest.approx(1.0)
    assert (found["rate_11"], found["size_11"]) == (pytest.approx(2.0), pytest.approx(2.0))
    assert found["frequency_0"] == pytest.approx(0.25)
    assert (found["rate_0"], found["size_0"]) == (pytest.approx(8.0), pytest.approx(4.0))
    assert not any(key.endswith("_6") for key in found)  # word 2 is in half of the documents, and not in the batch


def test_shares_norms_and_the_largest_weight():
    before = {"w": torch.tensor([[1.0, 2.0], [0.0, 0.0]])}
    taken = torch.tensor([[0.1, 0.2], [0.0, 0.0]])
    state = {"w": {"scale": torch.ones(2, 2), "taken": taken, "grad": torch.tensor([[3.0, 0.0], [0.0, 4.0]])}}
    assert instruments.decay_rates(before, state)["w"] == pytest.approx(0.1)
    assert instruments.decay_rates({"w": torch.zeros(2, 2)}, state)["w"] == 0
    assert instruments.gradient_norms(state) == {"w": 5.0, "all": 5.0}
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -7.0]]))
        model.bias.fill_(2.0)
    assert instruments.largest_weight(model) == 7.0


def test_projections_tell_how_far_two_models_are_apart():
    torch.manual_seed(0)
    a, b = nn.Linear(50, 40), nn.Linear(50, 40)
    one, other = instruments.projections(a), instruments.projections(b)
    gap = math.sqrt(sum((one[str(i)] - other[str(i)]) ** 2 for i in range(8)) / 8)
    true = torch.cat([(p - q).flatten() for p, q in zip(a.parameters(), b.parameters(), strict=True)]).norm().item()
    assert gap == pytest.approx(true, rel=0.6)
    assert instruments.projections(a) == one


def test_a_scaled_loss_is_the_loss_times_a_factor():
    logits, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    plain = instruments.scaled_cross_entropy(logits, y)
    torch.testing.assert_close(instruments.scaled_cross_entropy(logits, y, factor=8.0), 8 * plain)
