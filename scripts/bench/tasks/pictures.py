"""Random images of the size and number of published ones: their arithmetic without a download."""

from __future__ import annotations

from typing import Any

import torch


def random_pictures(examples: int = 60_000, channels: int = 1, side: int = 28, classes: int = 10) -> dict[str, Any]:
    """Return images x, uint8 (N, C, H, W), and labels y, 0 to classes − 1, both drawn uniformly: nothing to learn."""
    generator = torch.Generator().manual_seed(0)
    x_NCHW = torch.randint(256, (examples, channels, side, side), generator=generator, dtype=torch.uint8)
    return {"train": (x_NCHW, torch.randint(classes, (examples,), generator=generator)), "num_classes": classes}
