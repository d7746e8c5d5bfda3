"""adamcmp: compare optimizers on your model and data, with confidence intervals.

Data flow one way, one package per arrow::

    config → plan → data, models, optim → engine ← execute → storage
                                                   storage → analysis → report, figures

``config`` turns Hydra's YAML into typed settings, and ``plan`` turns a study into runs. ``data``, ``models`` and
``optim`` are the parts of a training, ``metrics`` its losses and metrics, and ``engine`` trains. ``execute`` schedules
runs and writes results, ``storage`` is the file format. ``analysis``, ``report`` and ``figures`` work from stored files
without torch. ``studies`` and ``claims`` are what ``adamcmp reproduce`` offers, ``conformance`` checks other libraries,
and ``cli`` is the command line. docs/explanation/architecture.md has the map.

The public API::

    study = adamcmp.sweep("mnist1d", {"optimizer": ["adam", "adamw"], "study.seeds": 5})
    records, curves = adamcmp.load("results/figure2")
    optimizer = adamcmp.optimizer("lion", model.named_parameters(), lr=1e-4)
    adamcmp.compare(frame, optimizer="opt", seed="seed", metric="test_acc").verdicts
    adamcmp.train_batch(model, (x, y), [{"lr": 1e-3}, {"lr": 1e-2}], steps=500).records
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamcmp import renamed

if TYPE_CHECKING:
    import torch

    from adamcmp.engine.train_batch import BatchResult, train_batch
    from adamcmp.engine.trial import Trial
    from adamcmp.errors import InputError
    from adamcmp.optim.rule import Rule
    from adamcmp.python_api import Recommended, compare, recommend, sweep
    from adamcmp.storage.records import Results
    from adamcmp.study import Study

renamed.install()

__all__ = [
    "BatchResult",
    "InputError",
    "Recommended",
    "Results",
    "Rule",
    "Study",
    "Trial",
    "compare",
    "load",
    "optimizer",
    "recommend",
    "sweep",
    "train_batch",
]
_LAZY = {
    "BatchResult": "adamcmp.engine.train_batch",
    "InputError": "adamcmp.errors",
    "Recommended": "adamcmp.python_api",
    "Results": "adamcmp.storage.records",
    "Rule": "adamcmp.optim.rule",
    "Study": "adamcmp.study",
    "Trial": "adamcmp.engine.trial",
    "compare": "adamcmp.python_api",
    "recommend": "adamcmp.python_api",
    "sweep": "adamcmp.python_api",
    "train_batch": "adamcmp.engine.train_batch",
}
"""Modules of public names that are imported when they are first used, so that ``adamcmp --help`` answers at once."""


def __getattr__(name: str) -> Any:
    """Import a public name."""
    if name not in _LAZY:
        raise AttributeError(f"module 'adamcmp' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted({*globals(), *_LAZY})


def load(results: str | Path) -> Results:
    """Return the stored runs of a study, or of all studies below a folder, as two pandas frames.

    Args:
        results: ``results/<study>``, or the folder above it; or the URL of one.

    Returns:
        ``records``, one row per run, and ``curves``, one row per evaluation; docs/reference/records.md lists the
        columns.

    Raises:
        adamcmp.errors.InputError: nothing is stored there, or a file is damaged or not ours.

    >>> import adamcmp, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> changes = {"optimizer.lr": [1e-3, 1e-2], "train.steps": 20, "study.confirm.seeds": 0}
    >>> study = adamcmp.sweep("digits", changes, results_dir=folder, quiet=True)
    >>> records, curves = load(folder)
    >>> records["lr"].tolist()
    [0.001, 0.01]
    """
    from adamcmp.storage.backend import open_path
    from adamcmp.storage.records import (  # imported here, so that `adamcmp --help` answers at once
        find_studies,
        read_all,
    )

    return read_all(find_studies(open_path(results)))


def optimizer(
    name: str,
    params: Any,
    *,
    lr: float | None = None,
    weight_decay: float | None = None,
    steps: int | None = None,
    **settings: Any,
) -> torch.optim.Optimizer:
    """Return one of adamcmp's optimizers for a training loop of your own.

    Where torch has the rule with the same steps, the result is an instance of its class.

    Args:
        name: an optimizer configuration, as ``adamcmp list optimizers`` lists them.
        params: ``model.named_parameters()``, parameters, or groups with ``params``, ``lr`` and ``weight_decay``.
        lr: peak learning rate α; None: that of the configuration. A scheduler may change it at every step.
        weight_decay: λ, in the convention of the configuration; None: that of the configuration.
        steps: T, the steps of the training, which ``decay=normalized`` needs.
        settings: other settings of the configuration, such as ``betas``.

    Raises:
        adamcmp.errors.InputError: an unknown name or setting, a wrong value, or no parameters.

    >>> import torch
    >>> model = torch.nn.Linear(4, 2)
    >>> optimizer("lion", model.named_parameters(), lr=1e-4, weight_decay=0.1).param_groups[0]["lr"]
    0.0001
    """
    from adamcmp.engine.line_parser import to_number
    from adamcmp.engine.rule_optimizer import make_torch_optimizer, optimizer_settings
    from adamcmp.errors import InputError

    if steps is not None and ((count := to_number(steps)) is None or not 1 <= count < float("inf") or count % 1):
        raise InputError(f"optimizer {name}: steps={steps!r} must be a positive whole number")
    numbers = {"lr": lr, "weight_decay": weight_decay}
    changes = {key: value for key, value in numbers.items() if value is not None} | settings
    return make_torch_optimizer(optimizer_settings(name, **changes), params, steps=steps)
