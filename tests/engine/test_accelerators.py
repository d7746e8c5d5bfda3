"""What accelerators are given, on fake ones: the CPU in the place of a device that has no float64, waits at every look
at a number, or replays what it has recorded."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from adamcmp.engine import batched_evaluation, cuda_graphs, sequential, vectorized
from adamcmp.engine.check_before_training import check_before_training
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.loading import CPU
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.errors import InputError
from adamcmp.metrics import functions
from adamcmp.plan.runs import group_runs

SHORT = ("train.steps=30", "train.evaluations=3")
GRID = ("optimizer=adam,adamw", "optimizer.lr=1e-2,1e30")


def shards(planned, *overrides):
    runs, datasets = planned(*SHORT, *overrides)
    (run_group,) = group_runs(runs)
    return Shard.of(run_group, Strategy()), datasets[run_group.task.facts.fingerprint]


def trained(engine, shard, data):
    return list(
        engine.train_shard(
            replace(shard, strategy=replace(shard.strategy, engine=engine.__name__)), data, CPU, TrainingControl()
        )
    )


class Narrow(TorchDispatchMode):
    """Refuses float64 as Apple's devices do, but in tensors that were taken to the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for each in torch.utils._pytree.tree_leaves(found):
            if isinstance(each, torch.Tensor) and each.dtype == torch.float64:
                raise TypeError(f"Cannot convert a MPS Tensor to float64 dtype ({func})")
        return found


@pytest.mark.parametrize("engine", [sequential, vectorized], ids=["sequential", "vectorised"])
def test_no_tensor_is_float64_where_there_is_none(planned, monkeypatch, engine):
    asked = "train.metrics=[top5_error,balanced_error,calibration_error,weight_norms,updates,hessian_eigenvalue]"
    shard, data = shards(planned, *GRID, asked)
    expected = trained(engine, shard, data)
    wide = []

    def to_host(x):  # as ``to_float64`` does on a device in ``DEVICES_WITHOUT_FLOAT64``
        with torch.utils._python_dispatch._disable_current_modes():
            wide.append(x)
            return x.float()

    for module in (functions, vectorized):
        monkeypatch.setattr(module, "to_float64", to_host)
    with Narrow():
        found = trained(engine, shard, data)
    assert wide
    for one, other in zip(expected, found, strict=True):
        assert (one.status, one.diverged_step, None) == (other.status, other.diverged_step, other.error)
        for a, b in zip(one.evaluations, other.evaluations, strict=True):
            assert a[:-1] == pytest.approx(b[:-1], rel=1e-4)


def test_what_is_summed_goes_to_the_host_where_the_device_has_no_float64(monkeypatch):
    monkeypatch.setattr(functions, "DEVICES_WITHOUT_FLOAT64", frozenset({"meta"}))
    moved = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: moved.append(self) or torch.ones(self.shape))
    assert functions.to_float64(torch.ones(3, device="meta")).dtype == torch.float64
    assert len(moved) == 1
    assert functions.to_float64(torch.ones(3)).dtype == torch.float64
    assert len(moved) == 1


def test_fp64_is_refused_where_there_is_none(planned, monkeypatch):
    runs, datasets = planned(*SHORT, "train.precision=fp64")
    monkeypatch.setattr(functions, "DEVICES_WITHOUT_FLOAT64", frozenset({"cpu"}))
    with pytest.raises(InputError, match=r"^train\.precision=fp64: cpu has no float64; give fp32"):
        check_before_training(group_runs(runs), datasets, CPU)


class Waiting(sequential._LossMonitor):
    """Looks as seldom as for an accelerator."""

    looks = 0

    def __init__(self, _):
        super().__init__(torch.device("cuda"))

    def lost(self):
        type(self).looks += 1
        return super().lost()


@pytest.mark.parametrize("lr", ["1e12", "1e-2", "3e2"])
@pytest.mark.parametrize("model", ["model=mlp", "model=mlp model.dropout=0.3"])
def test_looking_seldom_changes_nothing(planned, monkeypatch, lr, model):
    overrides = ("train.steps=200", "train.evaluations=2", "optimizer=sgd", f"optimizer.lr={lr}", *model.split())
    shard, data = shards(planned, *overrides)
    (expected,) = trained(sequential, shard, data)
    monkeypatch.setattr(sequential, "_LossMonitor", Waiting)
    Waiting.looks = 0
    (found,) = trained(sequential, shard, data)
    assert (found.status, found.diverged_step) == (expected.status, expected.diverged_step)
    assert found.evaluations == expected.evaluations
    assert Waiting.looks < 10


def test_an_error_of_weights_that_are_not_finite_is_a_divergence_still(planned, monkeypatch):
    shard, data = shards(planned, "train.steps=200", "optimizer=sgd", "optimizer.lr=1e12", "train.evaluations=1")
    (expected,) = trained(sequential, shard, data)
    build = sequential.build_model

    def picky(task, seed, device):
        model = build(task, seed, device)
        first = next(model.parameters())

        def refuse(*_):
            if not first.isfinite().all():
                raise ValueError("weights are not finite")

        model.register_forward_pre_hook(refuse)
        return model

    monkeypatch.setattr(sequential, "build_model", picky)
    monkeypatch.setattr(sequential, "_LossMonitor", Waiting)
    (found,) = trained(sequential, shard, data)
    assert (found.status, found.diverged_step, found.error) == ("diverged", expected.diverged_step, None)


class Recorder:
    """In the place of a CUDA graph: warms up, and repeats on the same tensors what it has recorded."""

    recordings = replays = 0

    def __call__(self, function, device):
        for _ in range(cuda_graphs.WARMUP_CALLS):
            losses = function()
        self.recordings += 1

        def replay():
            self.replays += 1
            losses.copy_(function())

        return replay, losses


@pytest.mark.parametrize("dropout", ["model.dropout=0", "model.dropout=0.3"])
@pytest.mark.parametrize("optimizers", ["optimizer=adam,adamw", "optimizer=sgd,sgdw"])
def test_recorded_steps_are_the_steps_that_were_recorded(planned, monkeypatch, optimizers, dropout):
    recorder = Recorder()
    monkeypatch.setattr(cuda_graphs, "record_cuda", recorder)
    shard, data = shards(planned, optimizers, "optimizer.lr=1e-2,1e-3,1e30", dropout)
    expected = trained(vectorized, shard, data)
    found = trained(vectorized, replace(shard, strategy=Strategy(graphs=True)), data)
    assert recorder.replays >= 30
    assert 1 <= recorder.recordings <= 2  # the second of the smaller program, where rows have diverged
    for one, other in zip(expected, found, strict=True):
        assert (one.status, one.diverged_step) == (other.status, other.diverged_step)
        assert one.evaluations == other.evaluations
    again = trained(vectorized, replace(shard, strategy=Strategy(graphs=True)), data)  # another stack, kept programs
    assert [each.evaluations for each in again] == [each.evaluations for each in expected]


def test_a_large_memory_shows_more_examples_at_once(planned, monkeypatch):
    shard, _ = shards(planned, *GRID)
    shard = replace(shard, strategy=Strategy(example_bytes=1_000_000))
    monkeypatch.setattr(batched_evaluation, "device_memory", lambda _: 80e9)
    assert batched_evaluation.chunk_examples(shard, CPU) == batched_evaluation.CPU_CHUNK_EXAMPLES
    assert batched_evaluation.chunk_examples(shard, torch.device("cuda")) == int(0.25 * 80e9 / (4 * 1_000_000))
    monkeypatch.setattr(batched_evaluation, "device_memory", lambda _: 1e6)
    assert batched_evaluation.chunk_examples(shard, torch.device("cuda")) == batched_evaluation.CPU_CHUNK_EXAMPLES
