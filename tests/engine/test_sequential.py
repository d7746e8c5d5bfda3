import hashlib
import math
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from adamcmp.data.dataset import Split
from adamcmp.engine import sequential, weights
from adamcmp.engine.check_before_training import check_before_training
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.evaluation import CHUNK_EXAMPLES, evaluate, measure_split, reduce_measures, subsample
from adamcmp.engine.loading import CPU, build_model, choose_device
from adamcmp.engine.objective import Objective
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.errors import InputError
from adamcmp.metrics import functions, losses
from adamcmp.models.mlp import MLP
from adamcmp.plan.runs import InitWeights, group_runs

LINEAR = ("model._target_=torch.nn.Linear", "~model.hidden", "~model.activation", "~model.dropout")
SHORT = ("train.steps=30", "train.evaluations=3", "train.eval_examples=2000")


def outcomes(runs, datasets, on_steps=lambda *_: None):
    return [
        outcome
        for run_group in group_runs(runs)
        for outcome in sequential.train_shard(
            Shard.of(run_group, Strategy()), datasets[run_group.task.facts.fingerprint], CPU, TrainingControl(on_steps)
        )
    ]


def drawn_from(seed, name, index=0):
    """The seed of a stream, as docs/explanation/selection.md tells it: nothing of the engine's own."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}/{index}".encode()).digest()[:8], "little") >> 1 & 0xFFFFFFFF


def moved(x_BCHW, seed):
    """Pictures moved by up to four pixels, zeros moving in, and mirrored: one by one, as windows of a wider picture."""
    generator = torch.Generator().manual_seed(seed)
    top_B, left_B = torch.randint(9, (2, len(x_BCHW), 1), generator=generator).flatten(1).tolist()
    mirrored_B = torch.randint(2, (len(x_BCHW), 1), generator=generator).flatten().tolist()
    height, width = x_BCHW.shape[2:]
    wide = nn.functional.pad(x_BCHW, (4, 4, 4, 4))
    windows = (x[:, y : y + height, z : z + width] for x, y, z in zip(wide, top_B, left_B, strict=True))
    return torch.stack([w.flip(-1) if flip else w for w, flip in zip(windows, mirrored_B, strict=True)])


@pytest.mark.parametrize("augment", ["null", "flip_crop"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("seed", [0, 3])
def test_a_run_is_the_loop_that_a_reader_would_write(planned, seed, dropout, augment):
    """AdamW with a cosine, by hand: the whole training equals the engine's, bit for bit."""
    asked = (f"seed={seed}", f"model.dropout={dropout}", f"+data.augment={augment}")
    ((run,), datasets) = planned(*SHORT, "optimizer.lr=1e-2", "train.precision=fp64", *asked)
    (dataset,) = datasets.values()
    (outcome,) = outcomes([run], datasets)
    torch.manual_seed(drawn_from(seed, "init"))
    model = MLP(input_shape=(1, 8, 8), num_classes=10, dropout=dropout).double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.01, fused=True)
    steps_per_epoch = len(dataset.train.y) // 100
    for t in range(30):
        epoch, place = divmod(t, steps_per_epoch)
        generator = torch.Generator().manual_seed(drawn_from(seed, "batches", epoch))
        batch = torch.randperm(len(dataset.train.y), generator=generator)[100 * place : 100 * (place + 1)]
        x = dataset.train.x[batch].double()
        x = moved(x, drawn_from(seed, "augment", t)) if augment == "flip_crop" else x
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * 0.5 * (1 + math.cos(math.pi * t / 30))
        optimizer.zero_grad()
        torch.manual_seed(drawn_from(seed, "dropout", t))
        nn.functional.cross_entropy(model(x), dataset.train.y[batch]).backward()
        optimizer.step()
    model.eval()
    final = outcome.evaluations[-1]
    with torch.no_grad():
        for part in ("train", "validation", "test"):
            x, y = getattr(dataset, part)
            logits = model(x.double())
            assert getattr(final, f"{part}_loss") == pytest.approx(
                nn.functional.cross_entropy(logits, y).item(), rel=1e-12
            )
            assert getattr(final, f"{part}_error") == (logits.argmax(1) != y).double().mean().item()
    assert [e.step for e in outcome.evaluations] == [10, 20, 30]


@pytest.mark.parametrize("model", ["model.dropout=0.5", "model.dropout=0"])
def test_a_seed_gives_the_same_run_whatever_else_is_trained_and_drawn(planned, model):
    runs, datasets = planned(*SHORT, model, "optimizer=adam,sgd", "seed=0,1")
    together = {o.run.id: o.evaluations for o in outcomes(runs, datasets)}
    torch.manual_seed(99)
    alone = {o.run.id: o.evaluations for run in reversed(runs) for o in outcomes([run], datasets)}
    assert together == alone
    assert len({evaluations[-1].train_loss for evaluations in together.values()}) == len(runs)


def test_training_leaves_the_global_random_state_alone(planned):
    runs, datasets = planned(*SHORT, "model.dropout=0.5")
    before = torch.get_rng_state()
    outcomes(runs, datasets)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_seed_gives_every_optimizer_the_same_weights(planned):
    runs, _ = planned(*SHORT, "optimizer=adam,sgd", "seed=3")
    first, second = (build_model(run.task, run.seed, CPU).state_dict() for run in runs)
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = build_model(runs[0].task, 4, CPU).state_dict()
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_progress_adds_up_to_all_steps(planned):
    runs, datasets = planned(*SHORT, "optimizer=sgd", "optimizer.lr=0.1,1e9")
    steps = []
    ended = outcomes(runs, datasets, lambda n, _: steps.append(n))
    assert [o.status for o in ended] == ["completed", "diverged"]
    assert sum(steps) == 60


def test_a_run_that_diverges_says_at_which_step_and_stops(planned):
    runs, datasets = planned("train.steps=200", "optimizer=sgd", "optimizer.lr=1e12", "train.evaluations=200")
    (outcome,) = outcomes(runs, datasets)
    assert outcome.status == "diverged"
    assert outcome.diverged_step is not None
    assert 1 < outcome.diverged_step < 200
    assert len(outcome.evaluations) < outcome.diverged_step
    assert outcome.error is None


def test_an_error_strikes_its_own_run_alone(planned, monkeypatch):
    runs, datasets = planned(*SHORT, "seed=0,1,2")
    build = sequential.build_model

    def breaks(task, seed, device):
        if seed == 1:
            raise RuntimeError("no\nmemory")
        return build(task, seed, device)

    monkeypatch.setattr(sequential, "build_model", breaks)
    ended = outcomes(runs, datasets)
    assert [o.status for o in ended] == ["completed", "failed", "completed"]
    assert ended[1].error == "RuntimeError: no memory"


def test_full_batches_have_no_order(planned):
    runs, datasets = planned(*SHORT, "train.batch_size=full")
    (outcome,) = outcomes(runs, datasets)
    assert outcome.status == "completed"
    assert outcome.run.task.epochs == 30


def test_evaluation_averages_over_chunks_and_examples(planned):
    ((run,), _) = planned(*SHORT, "train.precision=fp64")

    class Constant(nn.Module):
        def forward(self, x):
            return x

    n = CHUNK_EXAMPLES + 7
    logits = torch.randn(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.arange(n) % 4
    objective = Objective(run.task, CPU)
    measures = measure_split(Constant(), Split(logits, y), torch.clone, objective, keeps_outputs=True)
    assert torch.equal(measures.outputs, logits)
    loss, error = reduce_measures(measures, y, objective)
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, y).item(), rel=1e-12)
    assert error == (logits.argmax(1) != y).double().mean().item()


def test_metrics_take_sequences_too():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([[0, 1, 2], [3, 4, 0]])
    expected = nn.functional.cross_entropy(logits.reshape(6, 5), y.reshape(6))
    torch.testing.assert_close(losses.cross_entropy(logits, y, reduction="mean"), expected)
    assert losses.cross_entropy(logits, y).shape == (2, 3)
    assert functions.error_rate(logits, y) == (logits.argmax(-1) != y).double().mean()


def test_training_error_is_measured_on_examples_evenly_spread(planned):
    runs, datasets = planned(*SHORT, "train.eval_examples=50")
    (dataset,) = datasets.values()
    model = build_model(runs[0].task, 0, CPU)
    few = subsample(dataset, runs[0].task.evaluations.before)
    assert [len(part.y) for part in (few.train, few.validation, few.test)] == [50, 50, 50]
    index = torch.arange(50) * len(dataset.train.y) // 50
    x, y = dataset.train.x[index], dataset.train.y[index]
    criterion = Objective(runs[0].task, CPU)
    measures = measure_split(model, Split(x, y), torch.clone, criterion)
    assert evaluate(model, few, criterion, 0)[0][1:3] == reduce_measures(measures, y, criterion)
    last = subsample(dataset, runs[0].task.evaluations.last)
    assert len(last.train.y) == 50
    assert torch.equal(last.test.x, dataset.test.x)


def test_dropout_is_off_while_measuring_and_on_again_afterwards(planned):
    runs, datasets = planned(*SHORT, "model.dropout=0.5")
    (dataset,) = datasets.values()
    model = build_model(runs[0].task, 0, CPU).train()
    criterion = Objective(runs[0].task, CPU)
    assert evaluate(model, dataset, criterion, 0)[0] == evaluate(model, dataset, criterion, 0)[0]
    assert model.training


def test_an_infinite_test_loss_is_no_divergence(planned, monkeypatch):
    runs, datasets = planned(*SHORT)
    measured = sequential.evaluate

    def infinite(*args, **how):
        evaluation, measures = measured(*args, **how)
        return evaluation._replace(test_loss=math.inf), measures

    monkeypatch.setattr(sequential, "evaluate", infinite)
    (outcome,) = outcomes(runs, datasets)
    assert outcome.status == "completed"


def test_a_model_that_fails_later_fails_its_runs_alone(planned, monkeypatch):
    runs, datasets = planned(*SHORT, "seed=0,1")
    build = sequential.build_model

    def breaks(task, seed, device):
        model = build(task, seed, device)
        model.register_forward_pre_hook(lambda *_: 1 / 0)
        return model

    monkeypatch.setattr(sequential, "build_model", breaks)
    assert [o.status for o in outcomes(runs, datasets)] == ["failed", "failed"]


def test_a_strategy_sets_the_threads_and_gives_them_back(planned):
    runs, datasets = planned(*SHORT)
    threads = torch.get_num_threads()
    during = []
    outcomes(runs, datasets, lambda *_: during.append(torch.get_num_threads()))
    assert set(during) == {1}
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ([*LINEAR, "+model.in_features=65", "+model.out_features=10"], "does not take the examples of digits"),
        (["model=resnet", "data=mnist1d"], "C, H, W"),
        (["model=modular_mlp"], "modular"),
        (["model.hidden=[0]"], "model.hidden"),
        (["model.activation=rellu"], "relu"),
        (["model._target_=torch.nn.Identity"], "no parameters"),
        (["model._target_=builtins.dict"], "must be a torch nn.Module"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_found_before_training(planned, overrides, says):
    runs, datasets = planned(*SHORT, *overrides)
    with pytest.raises(InputError, match=says) as caught:
        check_before_training(group_runs(runs), datasets, CPU)
    assert "\n" not in str(caught.value)


def test_a_model_with_too_few_outputs_is_found_before_training(planned, monkeypatch):
    runs, datasets = planned(*SHORT)
    task = replace(runs[0].task, facts=replace(runs[0].task.facts, num_outputs=9))
    with pytest.raises(InputError, match=r"needs logits of shape \(2, 10\)"):
        check_before_training(group_runs([replace(runs[0], task=task)]), datasets, CPU)


def test_devices_are_chosen_by_name():
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in {"cpu", "cuda", "mps", "xpu"}
    with pytest.raises(InputError, match=r"execute\.device=nonsense"):
        choose_device("nonsense")


FOURIER = '''
import torch
from torch import nn


class Fourier(nn.Module):
    """A complex parameter and a complex buffer, as Fourier layers and rotary embeddings have them."""

    def __init__(self):
        super().__init__()
        self.filter = nn.Parameter(torch.polar(torch.ones(33), torch.linspace(0, 3, 33)))
        self.register_buffer("turn", torch.polar(torch.ones(33), torch.linspace(0, 6, 33)))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        assert self.filter.is_complex() and self.turn.is_complex()
        assert self.turn.dtype == self.filter.dtype == x.dtype.to_complex()
        return self.head(torch.fft.irfft(torch.fft.rfft(x.flatten(1)) * self.filter * self.turn, n=64))
'''


@pytest.mark.parametrize("optimizer", ["adamw", "sgdw", "rmsprop", "adagrad", "lion", "adamw_cautious", "nadam"])
@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_complex_parameters_stay_complex_and_are_trained_as_pairs(planned, tmp_path, monkeypatch, optimizer, precision):
    (tmp_path / "fourier.py").write_text(FOURIER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ("model._target_=fourier.Fourier", f"optimizer={optimizer}", f"train.precision={precision}")
    runs, datasets = planned(*words, "train.steps=8", "train.evaluations=2", "optimizer.lr=1e-2")
    (run_group,) = group_runs(runs)
    data = datasets[run_group.task.facts.fingerprint]
    control = TrainingControl(weights=tmp_path)
    runs = tuple(replace(run, task=replace(run.task, train=run.task.train.model_copy(update={"save": "last"})))
                 for run in run_group.runs)  # fmt: skip
    shard = replace(Shard.of(run_group, Strategy()), task=runs[0].task, runs=runs)
    (outcome,) = sequential.train_shard(shard, data, CPU, control)
    assert outcome.status == "completed", outcome.error
    assert outcome.evaluations[-1].train_loss < outcome.evaluations[0].train_loss + 0.5
    path = next(tmp_path.glob("*.safetensors"))
    model, again = (build_model(runs[0].task, 1, CPU) for _ in range(2))
    weights.load_weights(InitWeights(str(path), "0" * 16), again)
    assert again.filter.dtype == (torch.complex128 if precision == "fp64" else torch.complex64)
    assert not torch.equal(again.filter, model.filter)
    assert again.filter.imag.abs().max() > 0
    del sys.modules["fourier"]
