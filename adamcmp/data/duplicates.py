"""Duplicate examples: if they occur in several splits, a test error also measures memorization."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adamcmp.data.on_disk import DiskRows
from adamcmp.data.raw import Split, chunks, inputs_of

SPLIT_PRIORITY = ("test", "validation", "train")
"""In the order in which one of several equal examples is kept."""


def example_ids(parts: Mapping[str, Split]) -> dict[str, Tensor]:
    """Return a number for each example of each part, the same for equal ones: by a hash of its bytes, whatever its
    label.
    """
    numbers: dict[bytes, int] = {}
    return {
        part: torch.tensor([numbers.setdefault(digest, len(numbers)) for digest in _digests(split)])
        for part, split in parts.items()
    }


def _digests(split: Split) -> list[bytes]:
    return [
        hashlib.blake2b(b"".join(row.data for row in rows), digest_size=12).digest()
        for rows in zip(*map(_row_bytes, inputs_of(split.x)), strict=True)
    ]


def _row_bytes(x: Tensor | DiskRows) -> Iterator[npt.NDArray[np.uint8]]:
    """Return the bytes of each example."""
    return (row for chunk in chunks(x) for row in chunk.contiguous().view(len(chunk), -1).view(torch.uint8).numpy())


def drop_duplicates(parts: Mapping[str, Split], *, within: bool) -> dict[str, Split]:
    """Return parts without the examples that stand in an earlier one of test, validation and train.

    Args:
        parts: some of these.
        within: an example stands once in its own part too.
    """
    ids = example_ids(parts)
    seen = torch.empty(0, dtype=torch.int64)
    kept: dict[str, Split] = {}
    for part in (part for part in SPLIT_PRIORITY if part in parts):
        part_ids = ids[part]
        keep = ~torch.isin(part_ids, seen)
        if within:
            keep &= _is_first(part_ids)
        kept[part] = parts[part] if bool(keep.all()) else parts[part].take(keep.nonzero().squeeze(1))
        seen = torch.cat([seen, part_ids])
    return {part: kept[part] for part in parts}


def _is_first(own_N: Tensor) -> Tensor:
    """Return which numbers occur for the first time."""
    order_N = torch.argsort(own_N, stable=True)
    ordered_N = own_N[order_N]
    first_N = torch.ones_like(own_N, dtype=torch.bool)
    first_N[order_N[1:]] = ordered_N[1:] != ordered_N[:-1]
    return first_N


def group_duplicates(order_N: Tensor, own_N: Tensor) -> Tensor:
    """Return an order of examples with equal ones next to each other, where the first of them stood."""
    place_N = torch.empty_like(order_N)
    place_N[order_N] = torch.arange(len(order_N))
    first = torch.full((int(own_N.max()) + 1,), len(order_N)).scatter_reduce(0, own_N, place_N, "amin")
    return order_N[torch.argsort(first[own_N[order_N]], stable=True)]


def split_boundary(count: int, order_N: Tensor, own_N: Tensor) -> int:
    """Return where to cut at ``count`` examples, or after them, so that equal ones stay in one part."""
    while 0 < count < len(order_N) and own_N[order_N[count]] == own_N[order_N[count - 1]]:
        count += 1
    return count


def duplicate_warning(name: str, parts: Mapping[str, Split]) -> str | None:
    """Return a warning about examples that occur in several splits; None if there are none."""
    ids = example_ids(parts)
    held_out = {part: torch.unique(ids[part]) for part in ("test", "validation")}
    shared = {part: int(torch.isin(part_ids, ids["train"]).sum()) for part, part_ids in held_out.items()}
    counts = [f"{shared[part]:,} of {len(held_out[part]):,} distinct {part}" for part in shared if shared[part]]
    if not counts:
        return None
    return (
        f"{name}: {' and '.join(counts)} examples also occur in training; data.duplicates=group keeps equal ones in "
        "one split, drop removes copies"
    )
