"""Augmentation of a batch of images on its device, with a random generator of its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PADDING = 4


def flip_crop(x_BCHW: Tensor, seed: int) -> Tensor:
    """Shift each image by −4 … 4 pixels down and right, fill with zeros (the mean color), and mirror half of the
    images.

    The same seed draws the same on every device.

    Source: K. He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385, section 4.2; zeros after
    normalization as in the AdamW paper's code.
    """
    generator = torch.Generator().manual_seed(seed)
    count, _, height, width = x_BCHW.shape
    top_B1, left_B1 = torch.randint(2 * PADDING + 1, (2, count, 1), generator=generator).to(x_BCHW.device)
    mirrored_B1 = torch.randint(2, (count, 1), generator=generator).to(x_BCHW.device) == 1
    rows_BH = top_B1 + torch.arange(height, device=x_BCHW.device)
    across_W = torch.arange(width, device=x_BCHW.device)
    columns_BW = left_B1 + torch.where(mirrored_B1, across_W.flip(0), across_W)
    padded_BHWC = functional.pad(x_BCHW, (PADDING,) * 4).permute(0, 2, 3, 1)
    each_B11 = torch.arange(count, device=x_BCHW.device).view(-1, 1, 1)
    moved_BHWC = padded_BHWC[each_B11, rows_BH.unsqueeze(2), columns_BW.unsqueeze(1)]
    return moved_BHWC.permute(0, 3, 1, 2).contiguous()
