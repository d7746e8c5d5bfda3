"""Order examples so that test, validation and training parts can be cut off."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adamcmp.data.duplicates import example_ids
from adamcmp.data.raw import RawData, Split
from adamcmp.errors import InputError


def split_order(count: int, split_seed: int, contiguous: bool) -> Tensor:
    """Return examples in the order in which test, validation and training parts are cut off."""
    if contiguous:
        return torch.arange(count).flip(0)
    return torch.randperm(count, generator=torch.Generator().manual_seed(split_seed), device="cpu")


def example_groups(raw: RawData, train: Split, name: str, *, by_content: bool) -> Tensor | None:
    """Return a number per example of which equal ones stay together; None if all may be cut apart."""
    if "groups" in raw:
        groups_N = torch.as_tensor(raw["groups"])
        if tuple(groups_N.shape) != (len(train.y),) or groups_N.is_floating_point():
            raise InputError(f"data set {name}: groups has shape {tuple(groups_N.shape)}; give one integer per example")
        distinct: tuple[Tensor, Tensor] = torch.unique(groups_N, return_inverse=True)
        return distinct[1]
    return example_ids({"train": train})["train"] if by_content else None


def loses_class(y_N: Tensor, order_N: Tensor, cut: Mapping[str, float]) -> bool:
    """Return whether the examples left to train on lack a class that occurs."""
    count = sum(max(1, round(fraction * len(y_N))) for fraction in cut.values() if fraction)
    return bool(lost_classes(y_N, order_N[count:]))


def lost_classes(y_N: Tensor, left_n: Tensor) -> list[int]:
    """Return the classes that occur, but not among the examples left to train on."""
    present_classes = torch.unique(y_N[left_n])
    return [int(label) for label in torch.unique(y_N) if label not in present_classes]


def spread_by_class(order_N: Tensor, y_N: Tensor) -> Tensor:
    """Return an order of examples of which each stretch has the classes in nearly equal shares.

    An example's place is (k + 1/2) / n, the kth in the given order of the n of its class; the last one's is 1, so that
    the rest after the cuts has an example of each class.
    """
    place_N = torch.empty(len(y_N), dtype=torch.float64)
    for label in torch.unique(y_N):
        class_examples = order_N[y_N[order_N] == label]
        place_N[class_examples] = (torch.arange(len(class_examples), dtype=torch.float64) + 0.5) / len(class_examples)
        place_N[class_examples[-1]] = 1.0
    return order_N[torch.argsort(place_N[order_N], stable=True)]


def take_examples(split: Split, index_n: Tensor, contiguous: bool) -> Split:
    """Return some examples of a split; a view if they are contiguous."""
    if contiguous and len(index_n):
        return split.take(slice(int(index_n[-1]), int(index_n[0]) + 1))  # a view
    return split.take(index_n)
