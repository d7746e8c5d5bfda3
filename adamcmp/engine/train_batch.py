"""The engine for its own sake: many runs of a model of the user in one program, without a study or files."""

from __future__ import annotations

import copy
import inspect
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from adamcmp.config.compose import compose
from adamcmp.config.lookup import find_config
from adamcmp.config.schema import Config, Data, ExecutionSettings, Model
from adamcmp.config.validate import validate_config
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.line_parser import to_number
from adamcmp.engine.loading import choose_device, dataset_metadata, load_data
from adamcmp.engine.rule_optimizer import optimizer_settings
from adamcmp.engine.run_result import Evaluation, RunResult
from adamcmp.engine.strategy.types import Shard, Strategy, split_into_shards
from adamcmp.engine.strategy.vectorizable import why_not_vectorizable
from adamcmp.engine.train import train_shard
from adamcmp.errors import InputError
from adamcmp.plan.build_task import build_task
from adamcmp.plan.run_ids import rule_identity, run_id
from adamcmp.plan.runs import Run, RunGroup, group_runs
from adamcmp.storage.records import weights_path

_objects: dict[str, Callable[..., Any]] = {}
"""Callables of a call, found under a name of this module, as configurations name classes."""


def __getattr__(name: str) -> Any:
    """Return a callable of a call that is in progress."""
    try:
        return _objects[name]
    except KeyError:
        raise AttributeError(name) from None


@dataclass(frozen=True)
class BatchResult:
    """Results of ``train_batch``.

    >>> x = torch.randn(200, 4)
    >>> batch = train_batch(nn.Linear(4, 2), (x, (x[:, 0] > 0).long()), [{"lr": 1e-2}], steps=20)
    >>> batch.records["status"].tolist(), sorted(batch.weights[0])
    (['completed'], ['bias', 'weight'])
    """

    records: pd.DataFrame
    """One row per run, in the order of the settings: they, ``status``, and the final loss and error of each split."""
    curves: pd.DataFrame
    """One row per evaluation, with the index of its run in the column ``run``."""
    weights: list[dict[str, Tensor]] = field(repr=False, default_factory=list)
    """State dictionary of each run after the last step; empty if it has not completed."""

    def _repr_html_(self) -> str:
        return str(self.records.to_html(index=False))


def train_batch(
    model: nn.Module | Callable[..., nn.Module],
    data: Any,
    settings: Sequence[Mapping[str, Any]],
    *,
    steps: int,
    batch_size: int | Literal["full"] = 100,
    schedule: str = "constant",
    loss: str = "auto",
    evaluations: int = 10,
    normalize: bool = False,
    compile: bool = False,  # noqa: A002  # torch's word
    device: str = "auto",
    precision: Literal["fp32", "bf16", "fp64"] = "fp32",
) -> BatchResult:
    """Train many runs of a model, which differ in optimizer settings and seeds, in as few programs as possible.

    Runs whose optimizers share a rule are one program. A model that cannot be vectorized is trained run by run.

    Args:
        model: a class or function that returns a module, called with ``input_shape`` and ``num_classes`` if it takes
            them, with weights from the seed; or a module, whose weights all runs start from.
        data: ``(x, y)``, of which parts are cut for validation and test, or a mapping of ``train``, ``validation`` and
            ``test`` to such pairs; tensors or arrays, examples first.
        settings: one mapping per run: ``optimizer`` (a name, by default ``adamw``), ``lr``, ``weight_decay``, ``seed``
            and other settings of the optimizer.
        steps: T, steps of every run.
        batch_size: B, or ``full``.
        schedule: name of a schedule configuration.
        loss: name of a loss; ``auto`` is cross-entropy of classes and squared error of numbers.
        evaluations: number of evaluations, evenly spread.
        normalize: standardize inputs by the training split.
        compile: compile each program.
        device: ``cpu``, ``cuda``, … or ``auto``.
        precision: of weights and products.

    Raises:
        adamcmp.errors.InputError: a setting, the data or the model cannot be used.

    >>> import torch
    >>> x = torch.randn(200, 4); y = (x.sum(1) > 0).long()
    >>> runs = [{"lr": lr, "seed": seed} for lr in (1e-3, 1e-2) for seed in (0, 1)]
    >>> train_batch(torch.nn.Linear(4, 2), (x, y), runs, steps=50, batch_size=20).records["status"].tolist()
    ['completed', 'completed', 'completed', 'completed']
    """
    if isinstance(settings, Mapping | str) or not settings or not all(isinstance(row, Mapping) for row in settings):
        raise InputError("train_batch: settings are a list with a mapping per run, such as [{'lr': 1e-3, 'seed': 0}]")
    settings = [{k: v.item() if isinstance(v, Tensor) else v for k, v in row.items()} for row in settings]
    names = {"data": f"data_{id(data)}", "model": f"model_{id(model)}"}
    where = choose_device(device)
    if not isinstance(data, Mapping) and not (isinstance(data, tuple | list) and len(data) == 2):
        raise InputError("train_batch: data is a pair (x, y), or a mapping of train, validation and test to pairs")
    parts = data if isinstance(data, Mapping) else {"train": tuple(data)}
    _objects[names["data"]] = lambda: dict(parts)
    _objects[names["model"]] = _builder(model)
    try:
        options = {
            "steps": steps, "epochs": None, "batch_size": batch_size, "evaluations": evaluations,
            "precision": precision, "save": "last", "loss": {"name": loss},
        }  # fmt: skip
        config = _config(names, schedule, options, normalize=normalize, device=device)
        dataset = load_data(config.data)
        task, made_schedule = build_task(config, lambda _: dataset_metadata(dataset))
        runs = []
        for i, row in enumerate(settings):
            values = dict(row)
            seed, name = _seed(values.pop("seed", 0)), str(values.pop("optimizer", "adamw"))
            optimizer = optimizer_settings(name, **values)
            id_ = run_id(task, rule_identity(optimizer), rule_identity(made_schedule), seed)
            runs.append(Run(f"{id_}{i:04x}", optimizer.label, task, optimizer, made_schedule, seed))
        with tempfile.TemporaryDirectory() as folder:
            results: dict[str, RunResult] = {}
            for group in group_runs(runs):
                refusal = why_not_vectorizable(group, dataset, where)
                for shard in _shards(group, refusal, compiled=compile):
                    control = TrainingControl(weights=Path(folder))
                    for outcomes in train_shard(shard, dataset, where, control):
                        results |= {outcome.run.id: outcome for outcome in outcomes}
            ordered = [results[run.id] for run in runs]
            if len(errors := {r.error for r in ordered}) == 1 and all(r.status == "failed" for r in ordered):
                raise InputError(f"train_batch: every run failed: {errors.pop()}")
            weights = [_weights(Path(folder), result) for result in ordered]
    finally:
        for key in names.values():
            _objects.pop(key, None)
    return _as_frames(settings, ordered, weights)


MAX_SEED = 2.0**53
"""Whole numbers that a float64 holds."""


def _seed(value: Any) -> int:
    """Return a seed.

    Raises:
        InputError: it is no whole number from 0 to 2^53.
    """
    number = to_number(value)
    if number is None or not 0 <= number < MAX_SEED or number != int(number):
        raise InputError(f"train_batch: seed={value!r}: must be a whole number, 0 or larger")
    return int(number)


def _builder(model: nn.Module | Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Return a function that builds a model; of a module it copies its weights."""
    if isinstance(model, nn.Module):
        return lambda: copy.deepcopy(model)
    if not callable(model):
        raise InputError(f"train_batch: model is a {type(model).__name__}; give a module, or a class of modules")
    try:
        inspect.signature(model)
    except (TypeError, ValueError):
        return lambda: model()
    return model


def _config(
    names: Mapping[str, str], schedule: str, train: Mapping[str, Any], *, normalize: bool, device: str
) -> Config:
    """Return the configuration of the task."""
    source = find_config("config")
    composed = compose(source, [f"schedule={schedule}"])
    values = {**composed.values, "train": {**composed.values["train"], **train}}
    config = validate_config(type(composed)(values, composed.choices, False), source)
    targets = {key: f"{__name__}.{name}" for key, name in names.items()}
    data = Data(name="data", target=targets["data"], source=None, arguments={}, normalize=normalize)
    return config.model_copy(
        update={
            "data": data,
            "model": Model(name="model", target=targets["model"], source=None, arguments={}, extra_outputs=True),
            "execute": ExecutionSettings(device=device),
        }
    )


def _shards(group: RunGroup, refusal: str | None, *, compiled: bool) -> list[Shard]:
    if refusal is not None:
        strategy = Strategy(engine="sequential", reason=refusal, threads=torch.get_num_threads(), update="adamcmp")
        return split_into_shards(group, strategy)
    rows = len(group.runs)
    strategy = Strategy(engine="vectorised", rows=rows, compiled=compiled, threads=torch.get_num_threads())
    return split_into_shards(group, strategy)


def _weights(folder: Path, result: RunResult) -> dict[str, Tensor]:
    path = weights_path(folder, result.run.id, "last")
    return dict(load_file(path)) if path.is_file() else {}


def _as_frames(
    settings: Sequence[Mapping[str, Any]], results: Sequence[RunResult], weights: list[dict[str, Tensor]]
) -> BatchResult:
    records, curves, none = [], [], dict.fromkeys(Evaluation._fields, math.nan)
    for i, (row, result) in enumerate(zip(settings, results, strict=True)):
        measured = result.evaluations[-1]._asdict() if result.evaluations else none
        final = {name: value for name, value in measured.items() if name not in ("step", "metrics")}
        how = {"status": result.status, "error": result.error, "engine": result.strategy.engine}
        records.append({"optimizer": result.run.optimizer.name, **row, **how, **final, "seconds": result.seconds})
        curves += [{"run": i, **e._asdict()} for e in result.evaluations]
    columns = ["run", *(name for name in Evaluation._fields if name != "metrics")]
    return BatchResult(pd.DataFrame(records), pd.DataFrame(curves, columns=columns), weights)
