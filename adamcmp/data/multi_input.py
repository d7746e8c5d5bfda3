"""Examples of several inputs: a tuple or a dict of tensors with one row per example, indexed as one tensor is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Plain = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
"""Inputs of a model: a tensor, or several as a tuple (by position) or a dict (by name)."""


@dataclass(frozen=True, eq=False)
class MultiInput:
    """Inputs that belong together: x of shape (N, …) each, N the same."""

    parts: tuple[Tensor, ...]
    names: tuple[str, ...] | None = None
    """Names of a dict's inputs; empty for a tuple."""

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, which: Tensor | slice) -> MultiInput:
        return self.each(lambda part: part[which])

    def to(self, device: torch.device | str) -> MultiInput:
        """Return the examples on ``device``."""
        return self.each(lambda part: part.to(device))

    def each(self, function: Callable[[Tensor], Tensor]) -> MultiInput:
        """Apply a function to each input."""
        return replace(self, parts=tuple(map(function, self.parts)))

    def plain(self) -> tuple[Tensor, ...] | dict[str, Tensor]:
        """Return the inputs as the model receives them."""
        return self.parts if self.names is None else dict(zip(self.names, self.parts, strict=True))

    def called(self, i: int) -> str:
        """Return a human-readable name of input i: ``x["age"]``, ``x[1]``."""
        return f"x[{i}]" if self.names is None else f'x["{self.names[i]}"]'
