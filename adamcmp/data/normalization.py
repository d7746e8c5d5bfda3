"""Normalization of inputs and targets by the training part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from adamcmp.data.on_disk import DiskRows, to_memory
from adamcmp.data.raw import chunks, count_numbers
from adamcmp.errors import InputError


class Normalization(NamedTuple):
    """(x − mean) / std of examples that stay as they are, per channel (C, 1, …) or per feature."""

    mean: Tensor
    std: Tensor


FAR = 1e6
"""Standard deviations between zero and a feature's mean beyond which values are centred twice."""


def normalize_input(column: Sequence[Tensor | DiskRows], normalize: bool) -> tuple[Tensor | DiskRows, ...]:
    """Return one input of all splits as a model takes it, the training split first; tokens are left unchanged."""
    if column[0].dtype == torch.int64:
        return tuple(column)
    held = [to_memory(x) for x in column]
    return tuple(_normalized(held) if normalize else map(_scaled, held))


def measure_target_scale(y: Tensor, name: str) -> Normalization:
    """Return mean and standard deviation over the training part, float64 (D,); 1 for a quantity that does not vary."""
    std, mean = torch.std_mean(y.double(), dim=0, correction=0)
    if not bool(torch.isfinite(std).all()):
        raise InputError(f"data set {name}: train y is too large to be standardized; scale it before")
    return Normalization(mean, torch.where(std > 0, std, 1.0))


def measure_scale(x: Tensor | DiskRows, normalize: bool) -> Normalization:
    """Return one pass over the training part: float64 sums of distances to its first chunk's mean, and of their
    squares.
    """
    dtype = (
        torch.float64 if x.dtype == torch.float64 else torch.float32
    )  # large values are centred before they are rounded
    if not normalize:
        return Normalization(torch.tensor(0.0), torch.tensor(255.0 if x.dtype == torch.uint8 else 1.0))
    axes = [0, *range(2, x.ndim)]
    near_C: Tensor | None = None
    sum_C = squares_C = torch.zeros((), dtype=torch.float64)
    for chunk in chunks(x):
        near_C = chunk.double().mean(axes, keepdim=True)[0] if near_C is None else near_C
        distance = chunk - near_C
        sum_C = sum_C + distance.sum(axes, keepdim=True)[0]
        squares_C = squares_C + distance.square_().sum(axes, keepdim=True)[0]
    assert near_C is not None  # no part is empty
    counted = count_numbers(x) / x.shape[1]
    std_C = (squares_C / counted - (sum_C / counted).square()).clamp(min=0).sqrt()
    std_C = torch.where(std_C > 0, std_C, 1.0).masked_fill(std_C.isinf(), torch.nan)
    return Normalization((near_C + sum_C / counted).to(dtype), std_C.to(dtype))


def _normalized(xs: Sequence[Tensor]) -> list[Tensor]:
    """Return every part by the mean and std of the first, which is the training part."""
    xs = [x if x.dtype == torch.float64 else x.float() for x in xs]
    axes = [0, *range(2, xs[0].ndim)]
    std, mean = torch.std_mean(xs[0], dim=axes, correction=0, keepdim=True)
    if xs[0].dtype == torch.float64 and bool((mean.abs() > FAR * std).any()):  # sums of large numbers have lost digits
        xs = [x - mean for x in xs]
        std, mean = torch.std_mean(xs[0], dim=axes, correction=0, keepdim=True)
    # An infinite std would turn every value into 0; NaN makes the overflow seen.
    std = torch.where(std > 0, std, 1.0).masked_fill(std.isinf(), torch.nan)
    return [((x - mean) / std).float() for x in xs]


def _scaled(x: Tensor) -> Tensor:
    return x.float() / 255 if x.dtype == torch.uint8 else x.float()
