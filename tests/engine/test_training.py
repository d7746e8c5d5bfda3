"""The training that people run: losses, clipping, accumulation, averages, groups, schedules, models of several inputs.

Each against a loop that a reader would write with torch alone, and row r of a program against run r.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from adamcmp.config.schema import CustomLoss
from adamcmp.engine import sequential
from adamcmp.engine.check_before_training import check_before_training
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.loading import CPU, build_model
from adamcmp.engine.random_streams import batch_indices
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.engine.strategy.vectorizable import why_not_vectorizable
from adamcmp.errors import InputError
from adamcmp.plan.runs import group_runs

STEPS = 12
SHORT = (f"train.steps={STEPS}", "train.evaluations=3", "train.precision=fp64")
GRID = ("optimizer=adam,adamw_paper", "optimizer.lr=3e-3,3e-2", "seed=0,1")

RECIPES = {
    "label smoothing": ("digits", ["train.loss.label_smoothing=0.1"]),
    "balanced": ("digits", ["train.loss.class_weights=balanced"]),
    "class weights": ("digits", ["train.loss.class_weights=[1,2,1,1,1,1,1,1,1,0.5]"]),
    "regression": ("regression", []),
    "huber": ("regression", ["train.loss=huber", "train.loss.delta=0.3"]),
    "mae": ("regression", ["train.error=mae"]),
    "r2": ("regression", ["train.error=r2"]),
    "multilabel": ("multilabel", ["train.loss.label_smoothing=0.05"]),
    "f1": ("multilabel", ["train.error=f1", "train.loss.class_weights=balanced"]),
    "clipping": ("digits", ["train.clip_norm=0.5"]),
    "accumulation": ("digits", ["train.batch_size=25", "train.accumulate=4"]),
    "average": ("digits", ["train.ema=0.9"]),
    "all with dropout": (
        "digits", ["train.clip_norm=1", "train.batch_size=20", "train.accumulate=3", "train.ema=0.8",
                   "model.dropout=0.3", "seed=0"],
    ),
    "all with batch norm": (
        "digits", ["model=cnn", "model.width=4", "model.norm=batch", "train.batch_size=20", "train.accumulate=2",
                   "train.ema=0.8", "train.clip_norm=1", "train.steps=9", "seed=0"],
    ),
    "groups": (
        "digits",
        ["optimizer.groups=[{params:'*.bias',lr_scale:2,weight_decay:0},{params:'layers.2.*',lr_scale:0.1}]",
         "optimizer.weight_decay=0.1,0.3", "optimizer.decayed=no_bias_norm"],
    ),
    "linear": ("digits", ["schedule=linear", "schedule.warmup_steps=4"]),
    "stable": ("digits", ["schedule=warmup_stable_decay", "schedule.shape=linear,sqrt", "schedule.warmup_steps=3"]),
}  # fmt: skip


@pytest.mark.parametrize("case", RECIPES)
def test_a_row_of_a_program_is_the_run_alone(engines, case):
    config, overrides = RECIPES[case]
    grid = [each for each in GRID if each.partition("=")[0] not in {text.partition("=")[0] for text in overrides}]
    engines.same(*SHORT, *grid, *overrides, config=config)


@pytest.mark.needs("compiler")
@pytest.mark.parametrize(
    "case", ["all with dropout", *(pytest.param(each, marks=pytest.mark.slow) for each in ("f1", "huber", "groups"))]
)
def test_compiled_programs_do_the_same(engines, case):
    """Ten seconds on empty caches: a program with all that a training may have is compiled."""
    config, overrides = RECIPES[case]
    strategy = Strategy(engine="vectorised", compiled=True)
    engines.same(*SHORT, "optimizer=adam,adamw_paper", *overrides, config=config, strategy=strategy)


def trained(planned, *overrides, config="digits"):
    """The outcome of one run, its run, and its data in float64."""
    (run,), (dataset,) = (lambda runs, datasets: (runs, datasets.values()))(*planned(*SHORT, *overrides, config=config))
    (outcome,) = sequential.train_shard(Shard.of(group_runs([run])[0], Strategy()), dataset, CPU, TrainingControl())
    assert outcome.status == "completed", outcome.error
    return outcome, run, dataset


def seen(run, dataset):
    """The batches of a run, step by step."""
    indices = batch_indices((run.seed,), len(dataset.train.y), run.task.batch_size, CPU, 0)
    for _ in range(STEPS):
        index = next(indices)
        y = dataset.train.y[index]
        yield dataset.train.x[index].double(), y.double() if y.is_floating_point() else y


def by_hand(run, dataset, loss, *, groups=None, each=lambda *_: None, parts=1, clip=None, eta=None):
    """What torch does with the weights of the run's seed: AdamW under a cosine, as digits has it."""
    model = build_model(run.task, run.seed, CPU)
    optimizer = torch.optim.AdamW(groups(model) if groups else model.parameters(), lr=1e-3, weight_decay=0.01)
    peaks = [group["lr"] for group in optimizer.param_groups]
    for t, (x, y) in enumerate(seen(run, dataset)):
        factor = 0.5 * (1 + math.cos(math.pi * t / STEPS)) if eta is None else eta(t)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        optimizer.zero_grad()
        for few_x, few_y in zip(x.chunk(parts), y.chunk(parts), strict=True):
            (loss(model(few_x), few_y) / parts).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        each(model, t)
    return model


def norm(model):
    return math.sqrt(sum(p.square().sum().item() for p in model.parameters()))


def assert_ends_as(outcome, model, dataset, loss, error):
    """The last evaluation is that of the model: its weights, and loss and error on every part."""
    last = outcome.evaluations[-1]
    assert last.weight_norm == pytest.approx(norm(model), rel=1e-10)
    model.eval()
    with torch.no_grad():
        for part in ("train", "validation", "test"):
            x, y = getattr(dataset, part)
            y = y.double() if y.is_floating_point() else y
            assert getattr(last, f"{part}_loss") == pytest.approx(loss(model(x.double()), y).item(), rel=1e-9)
            assert getattr(last, f"{part}_error") == pytest.approx(error(model(x.double()), y), rel=1e-9, abs=1e-12)


def wrong(logits, y):
    return (logits.argmax(-1) != y).double().mean().item()


def test_label_smoothing_and_class_weights_train_and_the_plain_loss_is_measured(planned):
    weights = torch.arange(1.0, 11.0, dtype=torch.float64)
    settings = f"train.loss={{label_smoothing:0.2,class_weights:{weights.tolist()}}}"
    outcome, run, dataset = trained(planned, settings)
    criterion = nn.CrossEntropyLoss(weight=weights, label_smoothing=0.2)
    assert_ends_as(outcome, by_hand(run, dataset, criterion), dataset, nn.functional.cross_entropy, wrong)


def test_balanced_weights_are_those_of_scikit_learn(planned):
    from sklearn.utils.class_weight import compute_class_weight

    outcome, run, dataset = trained(planned, "train.loss.class_weights=balanced")
    balanced = compute_class_weight("balanced", classes=np.arange(10), y=dataset.train.y.numpy())
    criterion = nn.CrossEntropyLoss(weight=torch.tensor(balanced))
    assert_ends_as(outcome, by_hand(run, dataset, criterion), dataset, nn.functional.cross_entropy, wrong)


@pytest.mark.parametrize("error", ["rmse", "mae", "r2"])
def test_regression_is_told_in_the_unit_of_the_data(planned, error):
    from sklearn.datasets import load_diabetes
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    oracle = {"rmse": root_mean_squared_error, "mae": mean_absolute_error, "r2": r2_score}[error]
    outcome, run, dataset = trained(planned, f"train.error={error}", "optimizer.weight_decay=0.01", config="regression")
    y = load_diabetes().target
    scale = dataset.target_scale
    whole = torch.cat([dataset.train.y, dataset.validation.y, dataset.test.y]).double() * scale.std + scale.mean
    assert whole.flatten().sort().values.numpy() == pytest.approx(np.sort(y), rel=1e-5)

    def told(given, y):
        return oracle((y * scale.std + scale.mean).numpy(), (given * scale.std + scale.mean).numpy())

    model = by_hand(run, dataset, nn.functional.mse_loss)
    assert_ends_as(outcome, model, dataset, nn.functional.mse_loss, told)


def test_huber(planned):
    outcome, run, dataset = trained(planned, "train.loss=huber", "train.loss.delta=0.3", config="regression")
    huber = nn.HuberLoss(delta=0.3)
    model = by_hand(run, dataset, huber)
    std = dataset.target_scale.std
    assert_ends_as(outcome, model, dataset, huber, lambda given, y: ((given - y).square().mean().sqrt() * std).item())


@pytest.mark.parametrize("error", ["average_precision", "f1", "hamming_loss"])
def test_several_labels(planned, error):
    from sklearn.metrics import average_precision_score, f1_score, hamming_loss

    oracle = {
        "average_precision": lambda y, z: average_precision_score(y, z, average="macro"),
        "f1": lambda y, z: f1_score(y, z > 0, average="macro"),
        "hamming_loss": lambda y, z: hamming_loss(y, z > 0),
    }[error]
    outcome, run, dataset = trained(planned, f"train.error={error}", config="multilabel")
    bce = nn.functional.binary_cross_entropy_with_logits
    model = by_hand(run, dataset, bce)
    assert_ends_as(outcome, model, dataset, bce, lambda given, y: oracle(y.numpy().astype(int), given.numpy()))


def test_balanced_labels_weigh_what_is_rare(planned):
    outcome, run, dataset = trained(planned, "train.loss.class_weights=balanced", config="multilabel")
    count = dataset.train.y.double().sum(0)
    criterion = nn.BCEWithLogitsLoss(pos_weight=(len(dataset.train.y) - count) / count)
    assert outcome.evaluations[-1].weight_norm == pytest.approx(norm(by_hand(run, dataset, criterion)), rel=1e-10)


def test_gradients_are_clipped_as_torch_does(planned):
    outcome, run, dataset = trained(planned, "train.clip_norm=0.3")
    ce = nn.functional.cross_entropy
    assert_ends_as(outcome, by_hand(run, dataset, ce, clip=0.3), dataset, ce, wrong)
    free, *_ = trained(planned)
    assert outcome.evaluations[-1].train_loss != free.evaluations[-1].train_loss


def test_accumulated_batches_make_one_step(planned):
    outcome, run, dataset = trained(planned, "train.batch_size=25", "train.accumulate=4")
    assert (run.task.batch_size, run.task.steps_per_epoch) == (100, len(dataset.train.y) // 100)
    ce = nn.functional.cross_entropy
    assert_ends_as(outcome, by_hand(run, dataset, ce, parts=4), dataset, ce, wrong)
    whole, *_ = trained(planned, "train.batch_size=100")
    assert outcome.evaluations[-1][:-1] == pytest.approx(whole.evaluations[-1][:-1], rel=1e-9)
    assert outcome.run.id != whole.run.id


def test_the_average_is_that_of_all_weights_so_far(planned):
    beta, kept = 0.9, []
    outcome, run, dataset = trained(planned, f"train.ema={beta}")
    ce = nn.functional.cross_entropy
    model = by_hand(run, dataset, ce, each=lambda m, _: kept.append([p.detach().clone() for p in m.parameters()]))
    weights = torch.tensor([beta ** (STEPS - 1 - i) for i in range(STEPS)], dtype=torch.float64)
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            stacked = torch.stack([each[i] for each in kept])
            p.copy_(torch.tensordot(weights / weights.sum(), stacked, dims=1))
    assert_ends_as(outcome, model, dataset, ce, wrong)


def test_groups_have_their_own_learning_rate_and_decay(planned):
    groups = "optimizer.groups=[{params:[layers.0.weight,'*.nothing'],lr_scale:10},{params:'*.bias',weight_decay:0}]"
    outcome, run, dataset = trained(planned, groups)

    def by_torch(model):
        named = dict(model.named_parameters())
        return [
            {"params": [named["layers.0.weight"]], "lr": 1e-2},
            {"params": [p for name, p in named.items() if name.endswith("bias")], "weight_decay": 0.0},
            {"params": [named["layers.2.weight"]]},
        ]

    ce = nn.functional.cross_entropy
    assert_ends_as(outcome, by_hand(run, dataset, ce, groups=by_torch), dataset, ce, wrong)


def test_a_group_of_nothing_is_told(planned):
    runs, datasets = planned(*SHORT, "optimizer.groups=[{params:'*.biases'}]")
    with pytest.raises(InputError, match=r"no parameter belongs to \*\.biases .*trained are layers\.0\.weight"):
        check_before_training(group_runs(runs), datasets, CPU)


@pytest.mark.parametrize(
    ("schedule", "eta"),
    [
        ("linear", lambda t: 1 - t / STEPS),
        ("warmup_stable_decay", lambda t: min(1.0, (STEPS - t) / (0.2 * STEPS))),
    ],
)
def test_schedules(planned, schedule, eta):
    outcome, run, dataset = trained(planned, f"schedule={schedule}")
    ce = nn.functional.cross_entropy
    assert_ends_as(outcome, by_hand(run, dataset, ce, eta=eta), dataset, ce, wrong)


OWN = '''
import torch
from torch import nn


def inverse_root(step, steps, offset=1):
    """1/√(1 + step/offset)."""
    return (1 + step / offset) ** -0.5


def broken(step, steps):
    return float("nan") if step > 3 else 1.0


def focal(outputs, y, gamma=2.0):
    """(1 − p)^γ · cross-entropy."""
    ce = nn.functional.cross_entropy(outputs, y, reduction="none")
    return (1 - (-ce).exp()) ** gamma * ce


def branching(outputs, y):
    losses = nn.functional.cross_entropy(outputs, y, reduction="none")
    return 2 * losses if losses.sum().item() > 1 else losses


def mean(outputs, y):
    return nn.functional.cross_entropy(outputs, y)


class Scaled:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, outputs, y):
        return self.factor * nn.functional.cross_entropy(outputs, y, reduction="none")


def two_inputs():
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(0, 11, (200, 5), generator=generator)
    numbers = torch.randn(200, 3, generator=generator)
    y = (words[:, 0] > 5).long() + (numbers[:, 1] > 0).long()
    return {"train": ({"words": words, "numbers": numbers}, y)}


def a_pair():
    (x, y) = two_inputs()["train"]
    return {"train": (tuple(x.values()), y), "num_classes": 3}


class Both(nn.Module):
    """Takes words and numbers, and returns logits and what they were made of."""

    def __init__(self, input_shape, num_outputs, num_tokens):
        super().__init__()
        shapes = list(input_shape.values() if isinstance(input_shape, dict) else input_shape)
        self.embed = nn.Embedding(num_tokens, 4)
        self.head = nn.Linear(4 + shapes[1][0], num_outputs)

    def forward(self, words, numbers):
        hidden = torch.cat([self.embed(words).mean(1), numbers], dim=1)
        return self.head(hidden), hidden


class Named(Both):
    def forward(self, words, numbers):
        logits, hidden = super().forward(words, numbers)
        return {"hidden": hidden, "logits": logits}


class OneNumber(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.linear = nn.Linear(64, num_outputs)

    def forward(self, x):
        return self.scale * self.linear(x.flatten(1))


class Flat(nn.Module):
    """Gives one number an example, without an axis for it."""

    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.linear = nn.Linear(input_shape[0], 1)

    def forward(self, x):
        return self.linear(x).squeeze(1)
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_training.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_an_own_schedule_is_a_function_of_the_step(planned, own, engines):
    overrides = ["schedule._target_=own_training.inverse_root", "schedule.offset=5"]
    outcome, run, dataset = trained(planned, *overrides)
    ce = nn.functional.cross_entropy
    model = by_hand(run, dataset, ce, eta=lambda t: (1 + t / 5) ** -0.5)
    assert_ends_as(outcome, model, dataset, ce, wrong)
    engines.same(*SHORT, *GRID, *overrides, "schedule.warmup_steps=3")
    runs, datasets = planned(*SHORT, "schedule._target_=own_training.broken")
    with pytest.raises(InputError, match=r"own_training\.broken: gives nan at step 4 of 12; must be a finite number"):
        check_before_training(group_runs(runs), datasets, CPU)


def test_an_own_loss_is_trained_with_and_measured(planned, own, engines):
    overrides = ["train.loss._target_=own_training.focal", "train.loss.gamma=1.5"]
    outcome, run, dataset = trained(planned, *overrides)
    assert isinstance(run.task.train.loss, CustomLoss)

    def focal(logits, y):
        p = logits.log_softmax(-1).gather(1, y[:, None])[:, 0]
        return ((1 - p.exp()) ** 1.5 * -p).mean()

    assert_ends_as(outcome, by_hand(run, dataset, focal), dataset, focal, wrong)
    engines.same(*SHORT, *GRID, *overrides)
    outcome, run, dataset = trained(planned, "train.loss={_target_:own_training.Scaled,factor:3}")

    def three(logits, y):
        return 3 * nn.functional.cross_entropy(logits, y)

    assert_ends_as(outcome, by_hand(run, dataset, three), dataset, three, wrong)


def test_an_own_loss_without_a_value_for_each_example_is_told(planned, own):
    runs, datasets = planned(*SHORT, "train.loss._target_=own_training.mean")
    with pytest.raises(InputError, match=r"own_training\.mean gives one number for 2 examples; give a loss for each"):
        check_before_training(group_runs(runs), datasets, CPU)


@pytest.mark.parametrize("data", ["two_inputs", "a_pair"])
@pytest.mark.parametrize("model", ["Both", "Named"])
def test_models_of_several_inputs_that_return_more_than_logits(planned, own, engines, data, model):
    overrides = [f"data._target_=own_training.{data}", f"model._target_=own_training.{model}", "train.batch_size=20"]
    runs, datasets = planned(*SHORT, *overrides)
    check_before_training(group_runs(runs), datasets, CPU)
    (dataset,) = datasets.values()
    assert dataset.input_shape == ({"words": (5,), "numbers": (3,)} if data == "two_inputs" else ((5,), (3,)))
    assert dataset.num_tokens == 11
    numbers = dataset.train.x.parts[1]
    assert numbers.mean(0).abs().max() < 1e-6  # normalised as one input is
    assert why_not_vectorizable(group_runs(runs)[0], dataset, CPU) is None
    engines.same(*SHORT, *GRID, *overrides, "train.metrics=[calibration_error,hessian_eigenvalue]")


def test_a_full_batch_of_several_inputs(own, engines):
    overrides = ["data._target_=own_training.two_inputs", "model._target_=own_training.Both", "train.batch_size=full"]
    engines.same(*SHORT, *GRID, *overrides)


def test_parameters_may_be_single_numbers(own, engines):
    recipe = ["train.clip_norm=0.1", "train.ema=0.9", "optimizer.groups=[{params:scale,lr_scale:3,weight_decay:0.5}]"]
    engines.same(*SHORT, *GRID, "model._target_=own_training.OneNumber", *recipe)


def test_one_quantity_may_come_without_an_axis(planned, own, engines):
    flat = ["model._target_=own_training.Flat"]
    outcome, run, dataset = trained(planned, *flat, config="regression")
    model = by_hand(run, dataset, lambda given, y: nn.functional.mse_loss(given, y.squeeze(1)))
    assert outcome.evaluations[-1].weight_norm == pytest.approx(norm(model), rel=1e-10)
    runs, datasets = planned(*SHORT, *flat, config="regression")
    check_before_training(group_runs(runs), datasets, CPU)
    engines.same(*SHORT, *GRID, *flat, config="regression")


def test_a_model_of_one_input_tells_that_the_data_have_several(planned, own):
    runs, datasets = planned("data._target_=own_training.two_inputs")
    with pytest.raises(InputError, match=r"the model takes one input, the data have several: words, numbers"):
        check_before_training(group_runs(runs), datasets, CPU)


def test_a_loss_that_no_program_can_carry_is_trained_run_by_run_and_says_why(planned, own):
    runs, datasets = planned(*SHORT, "train.loss._target_=own_training.branching", "optimizer.lr=1e-3,1e-2")
    (run_group,), (dataset,) = group_runs(runs), datasets.values()
    check_before_training([run_group], datasets, CPU)
    assert "vmap" in str(why_not_vectorizable(run_group, dataset, CPU))


@pytest.mark.parametrize("config", ["regression", "multilabel"])
def test_bf16_trains_on_any_targets(engines, config):
    budget = ("train.steps=10", "train.evaluations=1", "train.precision=bf16", "optimizer=adam,adamw")
    alone, together = engines.both(*budget, config=config)
    engines.assert_same(alone, together, 0.05)


def test_metrics_on_request_are_in_the_unit_of_the_data(planned):
    from sklearn.metrics import mean_absolute_error

    outcome, run, dataset = trained(planned, "train.metrics=[mae,rmse]", config="regression")
    model = by_hand(run, dataset, nn.functional.mse_loss)
    scale = dataset.target_scale
    with torch.no_grad():
        given = model.eval()(dataset.test.x.double()) * scale.std + scale.mean
    expected = mean_absolute_error(dataset.test.y * scale.std + scale.mean, given)
    assert outcome.metrics["test_mae"] == pytest.approx(expected, rel=1e-6)
    assert outcome.metrics["test_rmse"] == pytest.approx(outcome.evaluations[-1].test_error, rel=1e-6)
    runs, datasets = planned(*SHORT, "train.metrics=[top5_error]", config="regression")
    with pytest.raises(
        InputError, match=r"top5_error is not for quantities, which diabetes has to predict; fitting: rmse"
    ):
        check_before_training(group_runs(runs), datasets, CPU)


@pytest.mark.parametrize(
    ("overrides", "config", "says"),
    [
        (["train.loss=mse"], "digits", r"train\.loss=mse: digits has classes to predict; fitting: cross_entropy"),
        (["train.error=r2"], "digits", r"train\.error=r2: digits has classes to predict; fitting: error_rate"),
        (["train.loss=hubber"], "regression", r"train\.loss\.name=hubber"),
        (
            ["train.loss.label_smoothing=0.1"],
            "regression",
            "label_smoothing and class_weights are for classes and labels",
        ),
        (["train.loss.class_weights=[1,2]"], "digits", "2 weights; digits has 10 classes"),
        (["train.batch_size=full", "train.accumulate=2"], "digits", "a full batch is one step"),
        (
            ["train.batch_size=600", "train.accumulate=2"],
            "digits",
            r"batch_size=600 × train\.accumulate=2: digits has 1079",
        ),
        (["train.ema=1"], "digits", r"train\.ema=1"),
        (["train.clip_norm=0"], "digits", r"train\.clip_norm=0"),
        (["train.loss.smoothing=0.1"], "digits", r"train\.loss\.smoothing: no such setting"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(planned, overrides, config, says):
    with pytest.raises(InputError, match=says) as caught:
        planned(*overrides, config=config)
    assert "\n" not in str(caught.value)
