"""Addition modulo p: the small task on which weight decay decides when a network generalizes (grokking)."""

from __future__ import annotations

import torch

from adamcmp.data.raw import RawData
from adamcmp.errors import InputError


def modular_addition(p: int = 59, train_fraction: float = 0.5, seed: int = 0) -> RawData:
    """Return all p² pairs: x int64 (p², 2) holds a and b, y = (a + b) mod p; num_classes is p.

    A permutation drawn from `seed` puts `train_fraction` of the pairs into train and half of the others each
    into validation and test.

    Source: A. Power et al., Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets,
    arXiv 2201.02177.

    Raises:
        InputError: if p < 2, the seed is negative or takes more than 32 bits, or one of the parts would be empty.
    """
    if p < 2 or p % 1:
        raise InputError(f"data.p={p}: must be ≥ 2 and whole")
    if not 0 <= seed < 2**32:  # torch's generator takes no more bits
        raise InputError(f"data.seed={seed}: must be ≥ 0 and < 2**32")
    if not 0 < train_fraction < 1:
        raise InputError(f"data.train_fraction={train_fraction}: must be > 0 and < 1")
    train_count = round(train_fraction * p * p)
    validation_count = (p * p - train_count) // 2
    if not (train_count and validation_count):
        raise InputError(
            f"data.train_fraction={train_fraction} with data.p={p}: one part of the {p * p} pairs is empty; "
            "take a larger p or a fraction nearer to 0.5"
        )

    x_N2 = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    y_N = x_N2.sum(dim=1) % p
    order_N = torch.randperm(p * p, generator=torch.Generator().manual_seed(seed), device="cpu")
    bounds = (train_count, train_count + validation_count)
    train, validation, test = ((x_N2[i], y_N[i]) for i in order_N.tensor_split(bounds))
    return {"train": train, "validation": validation, "test": test, "num_classes": p}
