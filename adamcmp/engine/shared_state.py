"""Class attributes and global variables of custom modules, which the runs of one process share.

A model that counts its passes in ``type(self).passes``, or a loss that appends to a global list, would give one run
other numbers than the next. So trainings and checks set them back when they end, and a model whose forward pass changes
one is trained run by run.
"""

from __future__ import annotations

import pickle
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from adamcmp.config.source_hash import OUR_PACKAGES, is_installed
from adamcmp.plan.runs import Run

PLAIN_TYPES = (bool, int, float, str, type(None))
MUTABLE_TYPES = (list, dict, set, deque, Tensor)
MAX_BYTES = 1_000_000
"""Largest pickled value that is kept: larger ones are tables of constants."""


def targets_of(settings: Any) -> set[str]:
    """Return every ``target`` in settings: paths of custom classes and functions."""
    if isinstance(settings, Mapping):
        here = {str(settings["target"])} if settings.get("target") else set()
        return here.union(*map(targets_of, settings.values()))
    if isinstance(settings, list | tuple):
        return set[str]().union(*map(targets_of, settings))
    return set()


def modules_of(run: Run) -> list[str]:
    """Return the names of the modules that hold a run's custom classes and functions."""
    parts = [run.task.model, run.task.train, run.optimizer, run.schedule]
    paths = targets_of([part.model_dump() for part in parts]) | {
        metric for metric in run.task.train.metrics if "." in metric
    }
    return sorted({path.rpartition(".")[0] for path in paths})


def find_owners(modules: Sequence[str]) -> dict[str, object]:
    """Return the modules outside libraries and adamcmp, and the classes that they define, by name."""
    owners: dict[str, object] = {}
    for name in modules:
        module = sys.modules.get(name)
        if isinstance(module, ModuleType) and _is_custom(module):
            owners[name] = module
            classes = [var for var in vars(module).values() if isinstance(var, type) and var.__module__ == name]
            owners |= {f"{name}.{class_.__qualname__}": class_ for class_ in classes}
    return owners


def owner_values(owner: object) -> dict[str, Any]:
    """Return an owner's plain values and containers by name."""
    return {
        key: value
        for key, value in vars(owner).items()
        if not key.startswith("__") and (type(value) in PLAIN_TYPES or isinstance(value, MUTABLE_TYPES))
    }


@contextmanager
def restore_shared_state(run: Run) -> Iterator[None]:
    """Set class attributes and global variables of a run's modules, after the block, to their values before it."""
    owners = find_owners(modules_of(run))
    before = {
        name: {key: (value, _pickled(value)) for key, value in owner_values(o).items()} for name, o in owners.items()
    }
    try:
        yield
    finally:
        for name, owner in owners.items():
            for key, now in owner_values(owner).items():
                if key not in before[name]:
                    delattr(owner, key)
                    continue
                value, content = before[name][key]
                if content is None or (now is value and _pickled(now) == content):
                    continue
                with suppress(Exception):  # a read-only attribute cannot have changed
                    setattr(owner, key, _refill(value, pickle.loads(content)))


def _is_custom(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and module.__name__.partition(".")[0] not in OUR_PACKAGES and not is_installed(Path(file))


def _pickled(value: Any) -> bytes | None:
    """Return a value's bytes; None if it is large or cannot be pickled."""
    try:
        content = pickle.dumps(value)
    except Exception:  # containers may hold anything
        return None
    return content if len(content) <= MAX_BYTES else None


def _refill(value: Any, content: Any) -> Any:
    """Return a container with its former content; other modules may refer to it."""
    match value:
        case list() | deque() | set() | dict():
            value.clear()
            (value.extend if isinstance(value, list | deque) else value.update)(content)
        case Tensor():
            with torch.no_grad():
                value.data.copy_(content)
        case _:
            return content
    return value
