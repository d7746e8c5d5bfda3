"""Random pictures of MNIST's size and number: the arithmetic of MNIST without a download."""

from __future__ import annotations

from typing import Any

import torch


def random_pictures(examples: int = 60_000) -> dict[str, Any]:
    """Pictures x, uint8 (N, 1, 28, 28), and labels y, 0 to 9, both drawn uniformly: nothing to learn."""
    generator = torch.Generator().manual_seed(0)
    x_N1HW = torch.randint(256, (examples, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return {"train": (x_N1HW, torch.randint(10, (examples,), generator=generator)), "num_classes": 10}
