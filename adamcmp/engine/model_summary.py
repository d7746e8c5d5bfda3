"""Model summary: parameters, how many of them are trained, its outputs, and layers that training cannot reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

MAX_LISTED_LAYERS = 3


def summarize_model(model: nn.Module, outputs: Any) -> str:
    """Return the sizes of a model in one line.

    Args:
        model: as it is trained.
        outputs: for two examples.
    """
    total = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    shape = " × ".join(map(str, outputs.shape[1:])) or "1" if isinstance(outputs, Tensor) else type(outputs).__name__
    share = "all trained" if trained == total else f"{trained:,} of them trained"
    return f"{total:,} parameters, {share}; outputs {shape}"


def hidden_layers(model: nn.Module) -> list[str]:
    """Return attributes that hold layers or parameters in a plain list, tuple or dict, which are not trained."""
    own_ids = {id(part) for part in (*model.modules(), *model.parameters())}
    layers: list[str] = []
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name.startswith("_") or not isinstance(value, list | tuple | dict):
                continue
            lost = [leaf for leaf in _leaves(value) if id(leaf) not in own_ids]
            if lost:
                layers.append(f"{path}.{name}" if path else name)
    return layers


def _leaves(value: Any) -> Iterator[nn.Module | nn.Parameter]:
    if isinstance(value, nn.Module | nn.Parameter):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
