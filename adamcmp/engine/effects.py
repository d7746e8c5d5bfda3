"""What a forward pass changes beside its result: buffers, which a program can carry, and what it cannot.

Changes are found by identity and version: a tensor written in place keeps its identity and has a new version, one that
``self.mean = 0.9 * self.mean + …`` binds anew has another identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

OF_TORCH = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
"""Attributes of a module that are looked at by name, or never change."""
DEEPEST = 6
"""Containers in containers that are looked into."""


class Effects(NamedTuple):
    """What a pass has changed."""

    buffers: tuple[str, ...]
    others: tuple[str, ...]
    """Parameters, and plain attributes of modules and of what they hold."""


def effects(model: nn.Module, forward: Callable[[], object]) -> Effects:
    """What ``forward`` changes of a model; it stays changed."""
    before = _state(model)
    forward()
    after = _state(model)
    changed = [name for name in {**before, **after} if _differ(before.get(name), after.get(name))]
    names = {name for name, _ in model.named_buffers()}
    return Effects(
        tuple(name for name in changed if name in names), tuple(name for name in changed if name not in names)
    )


@contextmanager
def undone(model: nn.Module) -> Iterator[None]:
    """Buffers, after the block, are the tensors that they were before it, with the values that they had."""
    bound = {name: (tensor, tensor.clone()) for name, tensor in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, (tensor, value) in bound.items():
                path, _, last = name.rpartition(".")
                model.get_submodule(path)._buffers[last] = tensor.copy_(value)


def _state(model: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {}
    seen: dict[int, Any] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        found[name] = _leaf(tensor)
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            if key not in OF_TORCH:
                found |= _leaves(f"{path}.{key}".lstrip("."), value, seen, DEEPEST)
    return found


def _leaves(name: str, value: Any, seen: dict[int, Any], depth: int) -> Iterator[tuple[str, Any]]:
    yield name, _leaf(value)
    if depth == 0 or id(value) in seen:
        return
    inside: Mapping[Any, Any] = {}
    if isinstance(value, Mapping):
        inside = value
    elif isinstance(value, list | tuple | set | frozenset):
        inside = dict(enumerate(value))
    elif hasattr(value, "__dict__") and not isinstance(
        value, Tensor | nn.Module | type | ModuleType | FunctionType | MethodType | BuiltinFunctionType
    ):
        inside = vars(value)
    if inside:
        seen[id(value)] = value
        for key, each in inside.items():
            yield from _leaves(f"{name}.{key}", each, seen, depth - 1)


def _leaf(value: Any) -> Any:
    """What tells whether it has changed; it holds the object itself, so that no other can have its identity."""
    if isinstance(value, Tensor):
        return value, value._version, value.data_ptr()
    if isinstance(value, torch.Generator):
        return value, value.get_state().tolist()
    return value, len(value) if isinstance(value, list | dict | set) else None


def _differ(before: Any, after: Any) -> bool:
    if before is None or after is None:
        return True
    (old, *was), (new, *now) = before, after
    plain = isinstance(old, bool | int | float | str | bytes) and type(old) is type(new)
    return was != now or not (old is new or (plain and old == new))
