"""μP: at its base a model is the standard one, and beyond it the best learning rate stays where it is."""

from __future__ import annotations

import pytest
import torch

from adamcmp.config.lookup import find_config
from adamcmp.engine import vectorized
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.coefficients import build_coefficient_table, param_kind, schedule_of
from adamcmp.engine.loading import CPU, build_model, dataset_metadata, load_data
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.plan.expand import plan_study
from adamcmp.plan.runs import group_runs

CASES = {
    "mlp": ("digits", "model.hidden=[{0},{0}]", 32),
    "gpt": ("text", "model.width={0}", 32),
}
SMALL = {"mlp": ["model=mlp"], "gpt": ["data.context=16", "data.max_bytes=20000", "train.batch_size=8"]}


def planned(case, width, *more):
    config, sized, _ = CASES[case]
    data = {}

    def load(settings, _):
        dataset = load_data(settings)
        data[dataset.fingerprint] = dataset
        return dataset_metadata(dataset)

    runs = plan_study(find_config(config), [*SMALL[case], sized.format(width), *more], load).runs
    return runs, data


def outputs(run, x):
    return build_model(run.task, 0, CPU)(x)


@pytest.mark.parametrize("case", CASES)
def test_at_its_base_it_is_the_standard_model(case):
    base = CASES[case][2]
    (usual,), _ = planned(case, base)
    (scaled,), data = planned(case, base, f"model.mup_base={base}")
    assert usual.id != scaled.id
    (dataset,) = data.values()
    x = dataset.inputs(dataset.train.x[:4])
    assert torch.equal(outputs(usual, x), outputs(scaled, x))


@pytest.mark.parametrize(
    ("decay", "power"), [("lr_scaled", 0.5), ("cautious", 0.5), ("schedule_only", -0.5), ("lr_free", -0.5)]
)
def test_hidden_matrices_scale_and_nothing_else(decay, power):
    """At four times the base a quarter of the learning rate; twice λ, so that lr λ falls by half whatever scales it."""
    (run,), _ = planned("mlp", 128, "model.mup_base=32", "optimizer.lr=0.1", "optimizer.weight_decay=0.2")
    rule = run.optimizer.model_copy(update={"decay": decay})
    model = build_model(run.task, 0, CPU)
    found = {}
    for name, p in model.named_parameters():
        names, values = build_coefficient_table(rule, param_kind(rule, name, p, model), schedule_of(run), 0, 1)
        found[name] = dict(zip(names, values[0], strict=True))
    hidden = found.pop("layers.2.weight")
    (usual, *others) = found.values()
    assert all(each == usual for each in others)
    assert hidden["step_size"] == pytest.approx(usual["step_size"] / 4)
    assert hidden["decay"] == pytest.approx(usual["decay"] * 4**-0.5)


def best_lr(case, width, lrs, *more):
    """The learning rate with the least training loss at the end, over seeds."""
    runs, data = planned(case, width, f"optimizer.lr={','.join(map(str, lrs))}", *more)
    (run_group,) = group_runs(runs)
    shard = Shard.of(run_group, Strategy(engine="vectorised"))
    losses = {}
    for outcome in vectorized.train_shard(shard, data[run_group.task.facts.fingerprint], CPU, TrainingControl()):
        loss = outcome.evaluations[-1].train_loss if outcome.status == "completed" else float("inf")
        losses.setdefault(outcome.run.optimizer.lr, []).append(loss)
    means = {lr: sum(each) / len(each) for lr, each in losses.items()}
    return min(means, key=means.get)


WIDTHS = {"mlp": (32, 128, 512), "gpt": (32, 256)}
LENGTH = {"mlp": ["train.steps=60", "seed=0,1,2"], "gpt": ["train.steps=60", "seed=0"]}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_best_learning_rate_stays_put(case):
    """In steps of two: μP's moves by one at most while the width grows, the standard model's by two or more."""
    lrs = [2.0**-k for k in range(2, 12)]
    budget = [*LENGTH[case], "train.evaluations=1", "schedule=constant", "schedule.warmup_steps=5"]
    widths = WIDTHS[case]
    scaled = [best_lr(case, width, lrs, *budget, "model.mup_base=32") for width in widths]
    usual = [best_lr(case, width, lrs, *budget) for width in widths]
    assert max(scaled) / min(scaled) <= 2, (scaled, usual)
    assert max(usual) / min(usual) >= 4, (scaled, usual)
