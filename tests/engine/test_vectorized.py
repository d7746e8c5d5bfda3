"""Row r of a program is the sequential run r."""

from dataclasses import replace

import pytest
import torch

from adamcmp.engine import sequential, vectorized
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.loading import to_device
from adamcmp.engine.strategy.types import RowLayout, Shard, Strategy
from adamcmp.plan.runs import group_runs

from .conftest import DEVICE

ADAPTIVE = "optimizer=adam,adamw,adamw_paper,adamw_normalized,adam_m_only,adam_v_only,rmsprop,adagrad"
MOMENTUM = "optimizer=sgd,sgd_paper,sgdw,sgdw_paper,sgdw_normalized"
FP64 = "train.precision=fp64"
SHORT = ("train.steps=24", "train.evaluations=4", FP64)


@pytest.mark.parametrize(
    ("optimizers", "schedule"),
    [(ADAPTIVE, "cosine"), (ADAPTIVE, "warm_restarts"), (MOMENTUM, "constant"), (MOMENTUM, "drop_step"),
     (MOMENTUM, "warm_restarts")],
)  # fmt: skip
def test_every_optimizer_under_every_schedule(engines, optimizers, schedule):
    overrides = [*SHORT, optimizers, f"schedule={schedule}", "schedule.warmup_steps=3", "optimizer.weight_decay=0,0.02"]
    engines.same(*overrides, "optimizer.lr=3e-2")


on_cuda = pytest.mark.skipif(DEVICE.type == "cuda", reason="its fused kernel of one model draws other masks")


@pytest.mark.parametrize("dropout", ["0", pytest.param("0.4", marks=on_cuda)])
@pytest.mark.parametrize("optimizers", [ADAPTIVE, MOMENTUM])
def test_dropout_masks_are_those_of_the_run_alone(engines, optimizers, dropout):
    engines.same(*SHORT, optimizers, f"model.dropout={dropout}", "optimizer.lr=3e-3")


def test_parameters_spared_from_decay(engines):
    engines.same(*SHORT, ADAPTIVE, "optimizer.decayed=no_bias_norm,all", "optimizer.weight_decay=0.1")


@pytest.mark.parametrize("schedules", ["schedule=constant,cosine,warm_restarts"])
def test_schedules_share_a_program(engines, schedules):
    engines.same(*SHORT, schedules, "optimizer=adam,adamw_normalized")


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
@pytest.mark.parametrize("optimizers", ["optimizer=adam,adamw", "optimizer=sgd,sgdw"])
def test_convolutions_and_norms(engines, optimizers, norm):
    overrides = ["model=cnn", "model.width=4", f"model.norm={norm}", "train.batch_size=16", "train.steps=6"]
    engines.same(*overrides, optimizers, "train.evaluations=3", FP64, "optimizer.lr=1e-3", "seed=0,1")


def test_tokens_and_a_full_batch(engines):
    overrides = ["train.steps=12", "train.evaluations=3", FP64, "optimizer=adam,adamw"]
    engines.same(*overrides, config="modular_addition")


NEW = {
    "gpt": ("text", "data.context=8", "data.max_bytes=6000", "model.width=16"),
    "gpt dropout": ("text", "data.context=8", "data.max_bytes=6000", "model.width=16", "model.dropout=0.3"),
    "vit": ("digits", "model=vit", "model.patch=2", "model.width=16", "model.depth=2"),
    "vit dropout": ("digits", "model=vit", "model.width=16", "model.depth=2", "model.dropout=0.3"),
    "resnet batch": ("digits", "model=resnet", "model.depth=8", "model.width=4"),
    "resnet none": ("digits", "model=resnet", "model.depth=8", "model.width=4", "model.norm=none"),
    "shake-shake": ("digits", "model=shake_shake", "model.width=4"),
    "modular transformer": ("modular_addition", "data.p=11", "model=modular_transformer", "model.width=16"),
    "words": ("sparse_words", "data.documents=200", "data.vocabulary=50"),
}


def without_norm(outcome):
    return replace(outcome, evaluations=tuple(e._replace(weight_norm=0.0) for e in outcome.evaluations))


@pytest.mark.parametrize("case", [pytest.param(each, marks=on_cuda if "dropout" in each else []) for each in NEW])
def test_models_of_every_kind(engines, case):
    config, *overrides = NEW[case]
    budget = ["train.batch_size=8", "train.steps=4", "train.evaluations=2", "schedule.warmup_steps=2", FP64]
    grid = ["optimizer=adam,adamw", "optimizer.lr=1e-2", "train.eval_examples=64"]
    alone, together = engines.both(*budget, *overrides, *grid, config=config)
    if case.startswith(("gpt", "vit")):
        # softmax does not feel a key's bias: its gradient is rounding alone, which Adam makes into steps of any size
        alone, together = (list(map(without_norm, outcomes)) for outcomes in (alone, together))
    engines.assert_same(alone, together)
    assert {outcome.status for outcome in together} == {"completed"}


def test_augmentation_is_drawn_by_seed_and_step(engines):
    budget = ["train.batch_size=16", "train.steps=6", "train.evaluations=2", FP64, "seed=0,1"]
    model = ["model=cnn", "model.width=4", "optimizer=adam,adamw"]
    alone, together = engines.both(*budget, *model, "+data.augment=flip_crop")
    engines.assert_same(alone, together)
    plain, _ = engines.both(*budget, *model)
    assert plain[0].run.id != alone[0].run.id
    assert plain[0].evaluations[0].train_loss != alone[0].evaluations[0].train_loss


@pytest.mark.parametrize("normalize", ["true", "false"])
def test_pictures_that_stay_uint8_train_alike(engines, monkeypatch, normalize):
    overrides = [f"data.normalize={normalize}", "train.steps=6", "train.evaluations=2", FP64, "optimizer=adam,adamw"]
    floats, _ = engines.both(*overrides)
    monkeypatch.setattr("adamcmp.data.dataset.LARGE_BYTES", 0)
    alone, together = engines.both(*overrides)
    engines.assert_same(alone, together)
    for one, other in zip(floats, alone, strict=True):
        assert one.run.id == other.run.id
        assert one.evaluations[-1][:-1] == pytest.approx(other.evaluations[-1][:-1], rel=1e-4)


def test_seeds_share_a_program_even_with_unequal_numbers_of_runs(planned, engines):
    runs, datasets = planned(*SHORT, "optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2", "seed=0,1,5")
    (run_group,) = group_runs(runs)
    some = replace(run_group, runs=tuple(run for run in runs if run.seed != 1 or run.optimizer.lr == 1e-2)[1:])
    data = datasets[run_group.task.facts.fingerprint]
    alone = list(sequential.train_shard(Shard.of(some, Strategy()), data, DEVICE, TrainingControl()))
    together = list(
        vectorized.train_shard(Shard.of(some, Strategy(engine="vectorised")), data, DEVICE, TrainingControl())
    )
    engines.assert_same(alone, together)


def test_a_row_that_diverges_touches_no_other(engines):
    alone, together = engines.both(*SHORT, "optimizer=adam,adamw,adagrad", "optimizer.lr=1e-2,1e200")
    engines.assert_same(alone, together)
    assert {o.status for o in together} == {"completed", "diverged"}


@pytest.fixture
def shrunk(monkeypatch):
    """Numbers of rows after each evaluation at which a program was laid out anew."""
    sizes = []
    shrink = vectorized.BatchedTraining._shrink

    def noted(training):
        done = shrink(training)
        if done:
            sizes.append(len(training.rows))
        return done

    monkeypatch.setattr(vectorized.BatchedTraining, "_shrink", noted)
    return sizes


def test_rows_that_have_ended_leave_the_program(engines, shrunk):
    alone, together = engines.both(*SHORT, "optimizer=adamw", "optimizer.lr=1e-2,1e200,1e201,1e202", "seed=0,1")
    engines.assert_same(alone, together)
    assert shrunk == [2]


def test_a_program_that_would_be_no_smaller_stays(planned, shrunk):
    """One seed keeps all of its rows, so that the layout of three seeds by four stays twelve rows."""
    runs, datasets = planned(*SHORT, "optimizer=adamw", "optimizer.lr=1e-2,2e-2,3e-2,1e200", "seed=0,1,2")
    (run_group,) = group_runs(runs)
    some = replace(run_group, runs=tuple(r for r in runs if r.seed == 0 or r.optimizer.lr in (1e-2, 1e200)))
    some = replace(some, runs=tuple(r for r in some.runs if not (r.seed == 0 and r.optimizer.lr == 1e200)))
    data = datasets[run_group.task.facts.fingerprint]
    outcomes = list(
        vectorized.train_shard(Shard.of(some, Strategy(engine="vectorised")), data, DEVICE, TrainingControl())
    )
    assert {o.status for o in outcomes} == {"completed", "diverged"}
    assert shrunk == []


def train(run_group, runs, datasets):
    shard = Shard.of(replace(run_group, runs=tuple(runs)), Strategy(engine="vectorised"))
    data = datasets[run_group.task.facts.fingerprint]
    return {o.run.id: o.evaluations for o in vectorized.train_shard(shard, data, DEVICE, TrainingControl())}


def test_order_and_company_change_no_row(planned):
    runs, datasets = planned(*SHORT, "optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2", "seed=0,1")
    (run_group,) = group_runs(runs)
    whole, fewer = train(run_group, runs, datasets), train(run_group, runs[:5], datasets)
    backwards = train(run_group, reversed(runs), datasets)
    for run in runs:
        for mine, other in zip(whole[run.id], backwards[run.id], strict=True):
            assert mine[:-1] == pytest.approx(other[:-1], rel=1e-12, abs=1e-12)
    for key, evaluations in fewer.items():
        for mine, other in zip(whole[key], evaluations, strict=True):
            assert mine[:-1] == pytest.approx(other[:-1], rel=1e-12, abs=1e-12)
    assert len({values[-1].train_loss for values in whole.values()}) == len(runs)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 5e-2)])
def test_ten_steps_in_low_precision(engines, precision, tolerance):
    overrides = ["train.steps=10", "train.evaluations=1", f"train.precision={precision}", "optimizer=adam,adamw"]
    alone, together = engines.both(*overrides, "optimizer.lr=1e-3")
    for one, row in zip(alone, together, strict=True):
        assert row.evaluations[-1].train_loss == pytest.approx(one.evaluations[-1].train_loss, rel=tolerance)
        assert row.evaluations[-1].weight_norm == pytest.approx(one.evaluations[-1].weight_norm, rel=tolerance)


def test_bf16_rounds_products_and_not_weights(planned, engines):
    (full,), _ = engines.both("train.steps=10", "train.evaluations=1")
    (rounded,), _ = engines.both("train.steps=10", "train.evaluations=1", "train.precision=bf16")
    difference = abs(full.evaluations[-1].train_loss - rounded.evaluations[-1].train_loss)
    assert 0 < difference < 0.05
    runs, datasets = planned("train.precision=bf16", "train.steps=2")
    (run_group,) = group_runs(runs)
    shard = Shard.of(run_group, Strategy(engine="vectorised"))
    data = to_device(datasets[run_group.task.facts.fingerprint], "bf16", DEVICE)
    training = vectorized.BatchedTraining(shard, data, DEVICE, TrainingControl())
    tensors = [*training.stack.params.values(), *(t for own in training.stack.state.values() for t in own.values())]
    assert {t.dtype for t in tensors} == {torch.float32}


SCALED = """
import torch

class Scaled(torch.nn.Module):
    def __init__(self, **_):
        super().__init__()
        self.scale, self.linear = torch.nn.Parameter(torch.tensor(0.5)), torch.nn.Linear(64, 10)

    def forward(self, x):
        return self.scale * self.linear(x.flatten(1))
"""


def test_parameters_may_be_single_numbers(engines, tmp_path, monkeypatch):
    (tmp_path / "scaled_here.py").write_text(SCALED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    overrides = ["model._target_=scaled_here.Scaled", "optimizer=adam,adamw,sgd", "optimizer.lr=1e-2,1e-3"]
    alone, together = engines.both(*SHORT, *overrides)
    engines.assert_same(alone, together)
    assert {outcome.parameters for outcome in together} == {64 * 10 + 10 + 1}


def test_parameters_that_the_loss_does_not_reach_are_left_alone(planned):
    class Idle(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)

        def forward(self, x):
            return self.used(x)

    ((run,), _) = planned("train.precision=fp32")
    found = vectorized.param_names(Idle(), Shard.of(group_runs([run])[0], Strategy()), torch.ones(2, 3))
    assert found.trained == ("used.weight", "used.bias")


compiles = pytest.mark.needs("compiler")


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("dropout", ["0", "0.4"])
@pytest.mark.parametrize("optimizers", [ADAPTIVE, MOMENTUM])
def test_compiled_programs_are_the_same(engines, optimizers, dropout):
    """All rules; test_training.py compiles Adam's program in the fast tests."""
    overrides = [*SHORT, optimizers, f"model.dropout={dropout}", "model.hidden=[20,12]", "optimizer.lr=3e-3"]
    engines.same(*overrides, strategy=Strategy(engine="vectorised", compiled=True))


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_compiled_convolutions_are_the_same(engines, norm):
    overrides = ["model=cnn", "model.width=4", f"model.norm={norm}", "train.batch_size=16", "train.steps=6"]
    strategy = Strategy(engine="vectorised", compiled=True)
    engines.same(*overrides, FP64, "train.evaluations=2", "optimizer.lr=1e-3,1e-4", strategy=strategy)


@pytest.mark.slow
@compiles
def test_a_compiled_program_of_several_seeds_is_the_same(engines):
    overrides = ["train.steps=8", "train.evaluations=2", FP64, "optimizer=adam,adamw", "seed=0,1"]
    engines.same(*overrides, strategy=Strategy(engine="vectorised", compiled=True))


@pytest.mark.parametrize("layout", [RowLayout(1, 4), RowLayout(2, 3), RowLayout(3, 4)], ids=str)
def test_rows_that_fill_up_a_layout_change_nothing(planned, layout, engines):
    seeds = "seed=0,1" if layout.seeds > 1 else "seed=3"
    runs, datasets = planned(*SHORT, "optimizer=adam,adamw", seeds, "optimizer.lr=3e-3")
    (run_group,) = group_runs(runs)
    data = datasets[run_group.task.facts.fingerprint]
    shard = replace(Shard.of(run_group, Strategy(engine="vectorised")), layout=layout)
    engines.assert_same(
        list(sequential.train_shard(Shard.of(run_group, Strategy()), data, DEVICE, TrainingControl())),
        list(vectorized.train_shard(shard, data, DEVICE, TrainingControl())),
    )
