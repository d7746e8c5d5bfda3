"""The recipes that ``adamcmp show RESULTS --best`` prints, executed: each trains as the run did, in float64."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from adamcmp.engine import sequential
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.loading import CPU, build_model
from adamcmp.engine.random_streams import batch_indices
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.execute.run_writer import Provenance, record_row
from adamcmp.plan.runs import group_runs
from adamcmp.report.code_recipes import FRAMEWORKS, training_code

STEPS = 12
BUDGET = (
    f"train.steps={STEPS}",
    "train.batch_size=300",
    "train.evaluations=1",
    "train.precision=fp64",
    "train.save=last",
)
RULES = ["adam", "adamw", "adamw_paper", "adamw_normalized", "rmsprop", "adagrad", "sgd", "sgd_paper", "sgdw",
         "sgdw_paper", "sgdw_normalized", "adam_m_only", "adam_v_only", "adamw_keras"]  # fmt: skip
NEWER = ["adamw_cautious", "adamc", "adamw_lr_free", "amsgrad", "nadam", "nadamw", "radam", "adamax",
         "lion", "adopt", "adan", "schedule_free", "lamb", "muon", "adafactor", "nesterov"]  # fmt: skip
ROUNDED = {f"optimizer={name}" for name in ("nadam", "nadamw", "schedule_free")}
"""torch keeps NAdam's product of momenta in float32; pytorch_optimizer finds the average from the trained weights."""
NOWHERE = {"adam_m_only", "adam_v_only", "adamw_cautious", "adam_fixed_norm", "adopt", "lamb", "muon"}
TORCH_ALONE = {"amsgrad", "nadam", "nadamw", "radam", "adan", "schedule_free", "adafactor"}
NOT_IN = {
    "torch": {*NOWHERE, "adamw_keras"},
    "optax": {*NOWHERE, *TORCH_ALONE, "adamw_keras", "adagrad"},
    "keras": {*NOWHERE, *TORCH_ALONE, "lion", "adamax", "adamc", "adamw_lr_free"},
}
RESTARTS = ["schedule=warm_restarts", "schedule.T_0=1", "schedule.warmup_steps=2"]
GROUPS = "optimizer.groups=[{params:'*.0.weight',lr_scale:3,weight_decay:0.4},{params:['*.2.bias'],lr_scale:0.5}]"
CASES = [
    *(pytest.param([f"optimizer={rule}"], id=rule) for rule in RULES + NEWER),
    pytest.param(["optimizer=adam_fixed_norm", "optimizer.weight_decay=0"], id="adam_fixed_norm"),
    *(pytest.param([f"optimizer={rule}", *RESTARTS], id=f"{rule} restarts")
      for rule in ("adam", "adamw_normalized", "sgdw")),
    *(pytest.param([f"optimizer={rule}", GROUPS, "optimizer.decayed=no_bias_norm", *RESTARTS], id=f"{rule} groups")
      for rule in RULES),
    *(pytest.param(["optimizer=adamw", f"schedule={name}", "schedule.warmup_steps=3"], id=name)
      for name in ("constant", "linear", "warmup_stable_decay", "drop_step", "cosine")),
    pytest.param(["optimizer=sgdw", "schedule=warmup_stable_decay", "schedule.shape=sqrt", "schedule.eta_min=0.1"],
                 id="square root"),
    pytest.param(["optimizer._target_=torch.optim.NAdam", "optimizer.momentum_decay=4e-3", GROUPS], id="own class"),
    pytest.param(["optimizer=sgd_paper", "optimizer.nesterov=true", "optimizer.decayed=no_bias_norm"], id="nesterov"),
    pytest.param(["optimizer=adamw_paper", "optimizer.decayed=no_bias_norm", "train.clip_norm=0.2"], id="clipping"),
    pytest.param(["optimizer=adamw", "train.batch_size=100", "train.accumulate=3", "train.ema=0.7"], id="accumulation"),
]  # fmt: skip


@pytest.fixture
def run_and_end(planned, tmp_path):
    """A run of some overrides, its record, and the weights that it ends with."""

    def make(overrides):
        kept = [each for each in BUDGET if each.partition("=")[0] not in {text.partition("=")[0] for text in overrides}]
        (run,), datasets = planned(*kept, "optimizer.weight_decay=0.05", "optimizer.lr=3e-3", *overrides)
        (dataset,) = datasets.values()
        shard = Shard.of(group_runs([run])[0], Strategy())
        (outcome,) = sequential.train_shard(shard, dataset, CPU, TrainingControl(weights=tmp_path))
        assert outcome.status == "completed", outcome.error
        end = copy.deepcopy(build_model(run.task, run.seed, CPU))
        from safetensors.torch import load_model

        load_model(end, tmp_path / f"{run.id}-last.safetensors")
        return run, dataset, pd.Series(record_row(outcome, Provenance.here("mine"))), end

    return make


def batches(run, dataset):
    indices = batch_indices((run.seed,), len(dataset.train.y), run.task.batch_size, CPU, 0)
    for _ in range(STEPS):
        index = next(indices)
        size = run.task.batch_size // run.task.train.accumulate
        yield list(zip(dataset.train.x[index].double().split(size), dataset.train.y[index].split(size), strict=True))


def executed(code):
    assert code.startswith("# mine\n# From adamcmp")
    namespace = {}
    exec(compile(code, "recipe", "exec"), namespace)
    return namespace


def is_lacking(framework, overrides):
    if "_target_" in overrides[0]:
        return framework != "torch"
    return overrides[0].removeprefix("optimizer=") in NOT_IN[framework]


def assert_same_weights(model, end, tolerance):
    for p, q in zip(model.parameters(), end.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)


def train_by_pytorch(code, run, dataset):
    """What the PyTorch recipe makes of the run's first weights and batches."""
    ours = executed(code)
    model = build_model(run.task, run.seed, CPU)
    average = copy.deepcopy(model)
    optimizer, scheduler = ours["optimizer_and_scheduler"](model)
    for step, parts in enumerate(batches(run, dataset)):
        few = iter(parts)

        def loss_of(model, few=few):
            x, y = next(few)
            return nn.functional.cross_entropy(model(x), y)

        ours["train_step"](model, optimizer, scheduler, loss_of, step)
        if "average_step" in ours:
            ours["average_step"](average, model, step)
    if hasattr(optimizer, "eval"):
        optimizer.eval()
    return average if "average_step" in ours else model


def train_by_optax(code, run, dataset):
    """What the optax recipe makes of them, with torch's gradients."""
    import jax
    import jax.numpy as jnp
    import optax

    def put(model, params):
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(torch.from_numpy(np.array(params[name])))

    with jax.enable_x64(True):
        ours = executed(code)
        model = build_model(run.task, run.seed, CPU)
        params = {name: jnp.asarray(p.detach().numpy()) for name, p in model.named_parameters()}
        average, optimizer = params, ours["optimizer"]
        state = optimizer.init(params)
        update = jax.jit(optimizer.update) if run.task.train.accumulate > 1 else optimizer.update
        for step, parts in enumerate(batches(run, dataset)):
            for x, y in parts:
                put(model, params)
                model.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                grads = {name: jnp.asarray(p.grad.numpy()) for name, p in model.named_parameters()}
                updates, state = update(grads, state, params)
                params = optax.apply_updates(params, updates)
            if "average_step" in ours:
                average = ours["average_step"](average, params, step)
        put(model, average if "average_step" in ours else params)
    return model


@pytest.mark.parametrize("overrides", CASES)
def test_recipes_end_with_the_weights_of_the_run(run_and_end, overrides):
    run, dataset, row, end = run_and_end(overrides)
    # optax clips without torch's 1e-6, and accumulates in float32
    rounded = any("clip" in each or "accumulate" in each for each in overrides)
    for framework, train, tolerance in (
        ("torch", train_by_pytorch, 1e-6 if overrides[0] in ROUNDED else 1e-10),
        ("optax", train_by_optax, 1e-5 if rounded else 1e-10),
    ):
        code = training_code(row, framework, "mine")
        if is_lacking(framework, overrides):
            assert FRAMEWORKS[framework] in code.splitlines()[-1]
            assert "import" not in code
        else:
            assert_same_weights(train(code, run, dataset), end, tolerance)
    by_keras = training_code(row, "keras", "mine")
    compile(by_keras, "recipe", "exec")
    lacking = is_lacking("keras", overrides) or "groups" in str(overrides)
    lacking |= "normalized" in overrides[0] and "schedule=warm_restarts" in overrides
    assert ("keras.optimizers" not in by_keras) == lacking


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_names_cannot_leave_their_comment(run_and_end, framework):
    _, _, row, _ = run_and_end(["optimizer=adamw"])
    code = training_code(row, framework, "mine\nimport os; os.remove('x')\r\nraise SystemExit")
    compile(code, "recipe", "exec")
    assert all("os.remove" not in line or line.startswith("# ") for line in code.splitlines())
