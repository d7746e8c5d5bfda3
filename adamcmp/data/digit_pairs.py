"""Two handwritten digits side by side, and which of the ten digits are there: several labels, no download."""

from __future__ import annotations

import torch
from torch import Tensor

from adamcmp.data.digits import digits
from adamcmp.data.raw import RawData
from adamcmp.errors import InputError

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
"""Shares of the 1,797 single digits per split: a digit occurs in pairs of one split only."""


def digit_pairs(pairs: int = 2000, seed: int = 0) -> RawData:
    """Generate images x uint8 (N, 1, 8, 16) of two digits of ``digits``, y 0 or 1 (N, 10): the digits that they show.

    Args:
        pairs: N over all parts, cut 60 : 20 : 20.
        seed: which digits go into which part, and which are paired.

    Raises:
        InputError: fewer than ten pairs.
    """
    if type(pairs) is not int or pairs < 10:
        raise InputError(f"data.pairs={pairs}: must be a whole number of at least 10")
    raw = digits()
    x, y = (torch.as_tensor(array) for array in raw["train"])
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=generator)
    parts: dict[str, tuple[Tensor, Tensor]] = {}
    start = 0
    for part, share in SHARES.items():
        part_order, start = order[start : start + round(share * len(y))], start + round(share * len(y))
        two_N2 = part_order[torch.randint(len(part_order), (round(share * pairs), 2), generator=generator)]
        left, right = two_N2.unbind(1)
        labels_NL = torch.zeros(len(two_N2), 10, dtype=torch.bool)
        parts[part] = torch.cat([x[left], x[right]], dim=-1), labels_NL.scatter(1, y[two_N2], value=True)
    return {**parts, "targets": "labels"}  # type: ignore[typeddict-item]  # train is among the parts
