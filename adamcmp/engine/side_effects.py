"""Side effects of a forward pass: changed buffers, which a program can carry, and other changes.

Changes are found by identity and version: a tensor written in place keeps its identity and has a new version, one that
``self.mean = 0.9 * self.mean + …`` replaces has another identity.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from adamcmp.engine import shared_state

TORCH_ATTRIBUTES = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
"""Attributes of a module that are looked at by name, or never change."""
MAX_DEPTH = 6
"""Containers in containers that are looked into."""


class SideEffects(NamedTuple):
    """Changes by a forward pass."""

    buffers: tuple[str, ...]
    others: tuple[str, ...]
    """Names of changed parameters, and of plain attributes of modules and of their containers."""


def find_side_effects(model: nn.Module, forward: Callable[[], object]) -> SideEffects:
    """Return the changes of a model by ``forward``; they are not undone."""
    before = _state(model)
    forward()
    after = _state(model)
    changed = [name for name in {**before, **after} if _differ(before.get(name), after.get(name))]
    names = {name for name, _ in model.named_buffers()}
    return SideEffects(
        tuple(name for name in changed if name in names), tuple(name for name in changed if name not in names)
    )


@contextmanager
def restore_buffers(model: nn.Module) -> Iterator[None]:
    """Restore buffers after the block: the tensors before it, with their values."""
    bound = {name: (tensor, tensor.clone()) for name, tensor in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, (tensor, value) in bound.items():
                path, _, last = name.rpartition(".")
                model.get_submodule(path)._buffers[last] = tensor.copy_(value)


def shared_storage(model: nn.Module) -> tuple[str, ...]:
    """Return the names of tensors that lie in the memory of a parameter or buffer of another name.

    ``b.weight.data = a.weight.data`` or ``self.alias = a.weight.data`` make them; a parameter that two modules hold is
    one parameter, and is not among them.
    """
    owner: dict[int, str] = {}
    changes: list[str] = []
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.numel():
            first_name = owner.setdefault(tensor.untyped_storage().data_ptr(), name)
            changes += [name] if first_name != name else []
    seen: dict[int, Any] = {}
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            if key not in TORCH_ATTRIBUTES:
                leaves = _leaves(f"{path}.{key}".lstrip("."), value, seen, MAX_DEPTH)
                tensors = [(name, leaf[0]) for name, leaf in leaves if isinstance(leaf[0], Tensor) and leaf[0].numel()]
                changes += [name for name, tensor in tensors if tensor.untyped_storage().data_ptr() in owner]
    return tuple(dict.fromkeys(changes))


OPTIMIZER_ATTRIBUTES = {"param_groups", "state", "defaults"}
"""Attributes of an optimizer that its ``state_dict`` holds, or that never change."""


class TrackedAttributes:
    """Changes of plain attributes during a training: of a model's modules, an optimizer, a loss.

    A checkpoint needs them next to ``state_dict``, which holds parameters and persistent buffers alone.
    """

    def __init__(self, **holders: object) -> None:
        """Store the holders' attributes as of before the first step."""
        self._holders = holders
        saved = self._saved()
        self._before = {name: (value, _content(value, saved)) for name, value in self._values().items()}
        unknown = [(name, value) for name, (value, content) in self._before.items() if content is None]
        self._leaves = {name: dict(_leaves("", value, {}, MAX_DEPTH)) for name, value in unknown}

    def state(self) -> dict[str, Any]:
        """Return the changed attributes by name, ``unsaved`` those whose values no checkpoint can hold."""
        changed, unsaved, saved = {}, [], self._saved()
        for name, value in self._values().items():
            if self._is_changed(name, value, saved):
                if _is_plain(value, saved):
                    changed[name] = value
                else:
                    unsaved.append(name.partition(":")[2])
        return {"changed": changed, "unsaved": unsaved}

    def load(self, state: Mapping[str, Any]) -> None:
        """Set the attributes that ``state`` has returned."""
        for name, value in state["changed"].items():
            holder, _, path = name.partition(":")
            module, _, key = path.rpartition(".")
            owner = self._holders[holder]
            if isinstance(owner, nn.Module):
                device = next((p.device for p in owner.parameters()), None)
                value = tree_map(lambda leaf, to=device: leaf.to(to) if isinstance(leaf, Tensor) else leaf, value)
                module_owner: Any = owner.get_submodule(module)
                if key in module_owner._buffers:
                    module_owner._buffers[key] = value
                    continue
                owner = module_owner
            setattr(owner, key, value)

    def _values(self) -> dict[str, Any]:
        """Return every attribute, and every tensor that no ``state_dict`` saves, by holder, module and name.

        A checkpoint has the ``state_dict`` of the model alone: a loss's parameters and buffers are listed here.
        """
        content: dict[str, Any] = {}
        for holder, owner in self._holders.items():
            if (
                isinstance(owner, torch.optim.Optimizer)
                and type(owner).state_dict is not torch.optim.Optimizer.state_dict
            ):
                continue  # the class says itself what a checkpoint needs
            if isinstance(owner, nn.Module):
                for path, module in owner.named_modules():
                    attributes = {
                        k: v for k, v in vars(module).items() if k not in TORCH_ATTRIBUTES and k != "training"
                    }
                    names = module._non_persistent_buffers_set if holder == "model" else module._buffers
                    attributes |= {k: module._buffers[k] for k in names}
                    content |= {f"{holder}:{path}.{key}": value for key, value in attributes.items()}
            elif isinstance(owner, ModuleType | type):
                content |= {f"{holder}:.{key}": value for key, value in shared_state.owner_values(owner).items()}
            elif hasattr(owner, "__dict__"):
                attributes = {k: v for k, v in vars(owner).items() if k not in OPTIMIZER_ATTRIBUTES}
                content |= {f"{holder}:.{key}": value for key, value in attributes.items()}
        return content

    def _saved(self) -> dict[int, str]:
        """Return the names of the tensors that the model's ``state_dict`` saves, by identity."""
        model = self._holders.get("model")
        if not isinstance(model, nn.Module):
            return {}
        return {id(tensor): name for name, tensor in model.state_dict(keep_vars=True).items()}

    def _is_changed(self, name: str, value: Any, saved: Mapping[int, str]) -> bool:
        if isinstance(value, Iterator):
            return True  # it keeps its place where nobody sees it
        if name not in self._before:
            return True
        before, content = self._before[name]
        after = _content(value, saved)
        if content is not None and after is not None:
            return content != after
        if content is not None or type(before) is not type(value):
            return True
        was, now = self._leaves[name], dict(_leaves("", value, {}, MAX_DEPTH))
        return any(_differ(was.get(key), now.get(key)) for key in {**was, **now})


def _content(value: Any, saved: Mapping[int, str]) -> bytes | None:
    """Return bytes that differ if a value's content does; None if it cannot be pickled."""
    if type(value) in (bool, int, float, str, type(None)):
        return repr(value).encode()
    if type(value) in (dict, list, set, tuple, OrderedDict) and not value:
        return b"empty"
    return _digest(value, saved)


def _is_plain(value: Any, saved: Mapping[int, str]) -> bool:
    """Return whether a checkpoint can hold a value: numbers, text, tensors of its own, and containers of them."""
    if isinstance(value, Mapping):
        return type(value) is dict and all(_is_plain(k, saved) and _is_plain(v, saved) for k, v in value.items())
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(_is_plain(item, saved) for item in value)
    if isinstance(value, Tensor):
        return type(value) in (Tensor, nn.Parameter) and id(value) not in saved  # a copy would not be the parameter
    return value is None or type(value) in (bool, int, float, str)


def _state(model: nn.Module) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    seen: dict[int, Any] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        leaves[name] = _leaf(tensor)
    for name, owner in shared_state.find_owners([type(module).__module__ for module in model.modules()]).items():
        for key, value in shared_state.owner_values(owner).items():
            leaves |= _leaves(f"{name}.{key}", value, seen, MAX_DEPTH)
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            if key not in TORCH_ATTRIBUTES:
                leaves |= _leaves(f"{path}.{key}".lstrip("."), value, seen, MAX_DEPTH)
    return leaves


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
        for key, item in inside.items():
            yield from _leaves(f"{name}.{key}", item, seen, depth - 1)


def _leaf(value: Any) -> Any:
    """Return a value's fingerprint; it holds the object itself, so that no other one can have its identity."""
    if isinstance(value, Tensor):
        return value, value._version, value.data_ptr()
    if isinstance(value, torch.Generator):
        return value, value.get_state().tolist()
    if isinstance(value, random.Random):
        return value, value.getstate()
    if isinstance(value, list | dict | set):
        return value, len(value)
    return value, None if isinstance(value, PLAIN_TYPES) or hasattr(value, "__dict__") else _digest(value)


PLAIN_TYPES = (bool, int, float, str, bytes, tuple, frozenset, type(None))


class _Pickler(pickle.Pickler):
    """Pickle by value, but tensors of a ``state_dict`` by name."""

    def __init__(self, file: io.BytesIO, saved: Mapping[int, str]) -> None:
        super().__init__(file)
        self._saved = saved

    def persistent_id(self, value: Any) -> str | None:
        """Return the name of a tensor that a checkpoint saves anyway."""
        return self._saved.get(id(value)) if isinstance(value, Tensor) else None


def _digest(value: object, saved: Mapping[int, str] | None = None) -> bytes | None:
    """Return a hash of an object's content, but for the tensors in ``saved``; None if it cannot be pickled."""
    content = io.BytesIO()
    try:
        _Pickler(content, saved or {}).dump(value)
    except Exception:  # not everything can be pickled; then its identity has to do
        return None
    return hashlib.sha256(content.getbuffer()).digest()


def _differ(before: Any, after: Any) -> bool:
    if before is None or after is None:
        return True
    (old, *was), (new, *now) = before, after
    plain = isinstance(old, bool | int | float | str | bytes) and type(old) is type(new)
    return was != now or not (old is new or (plain and old == new))
