"""ResNets for small images: three stages of basic blocks, 6n + 2 layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from adamcmp.errors import InputError
from adamcmp.models import arguments

NORMS = ("batch", "group", "none")
GROUPS = 8
"""Groups of a group norm; fewer if they do not divide the channels."""


class ResNet(nn.Module):
    """x_BCHW → 3×3 convolution → 3·n blocks of two 3×3 convolutions → mean over H and W → linear → logits.

    `depth` is 6n + 2: 20, 32, 44, 56, 110. Stages have `width`, 2·`width` and 4·`width` channels; the second and third
    begin with stride 2, their shortcuts take every second pixel and pad channels with zeros (option A: no parameters).
    `norm`: ``batch`` as in the paper; ``group`` (Wu & He, arXiv 1803.08494) trains in one program with other runs at
    no cost in state; ``none`` scales each branch by a scalar that starts at 0 (De & Smith, arXiv 2002.10444).
    Convolutions are drawn from N(0, 2/(9·outputs)).

    Source: K. He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385, section 4.2: 0.27 M parameters
    for ResNet-20, 0.46 M for 32, 0.85 M for 56.

    Raises:
        InputError: if `input_shape` is not (C, H, W), for another depth, a width < 1, an unknown norm, or inputs that
            are tokens.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: int,
        depth: int = 20,
        width: int = 16,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        channels, *_ = arguments.picture_shape("resnet", input_shape, num_classes)
        if arguments.size("depth", depth) < 8 or depth % 6 != 2:
            raise InputError(f"model.depth={depth}: must be 6n + 2, such as 20, 32 or 56")
        arguments.size("width", width)
        arguments.choice("norm", norm, NORMS)
        self.stem = _conv(channels, width, 1, norm)
        blocks, inputs = [], width
        for stage, outputs in enumerate((width, 2 * width, 4 * width)):
            for i in range((depth - 2) // 6):
                blocks.append(Block(inputs, outputs, stride=2 if stage and not i else 1, norm=norm))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits_BK of x_BCHW, with K classes."""
        maps_BCHW: Tensor = self.blocks(functional.relu(self.stem(arguments.floating(x, "resnet"))))
        logits_BK: Tensor = self.head(maps_BCHW.mean(dim=(2, 3)))
        return logits_BK


class Block(nn.Module):
    """relu(shortcut(x) + conv(relu(conv(x)))), a norm behind each convolution."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, norm: str) -> None:
        super().__init__()
        self.branch = nn.Sequential(_conv(inputs, outputs, stride, norm), nn.ReLU(), _conv(outputs, outputs, 1, norm))
        self.scale = nn.Parameter(torch.zeros(())) if norm == "none" else None
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the next maps, (B, outputs, H/stride, W/stride)."""
        shortcut_BCHW = x_BCHW[:, :, :: self.stride, :: self.stride]
        if self.added:
            shortcut_BCHW = functional.pad(shortcut_BCHW, (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
        branch_BCHW = self.branch(x_BCHW)
        if self.scale is not None:
            branch_BCHW = self.scale * branch_BCHW
        return functional.relu(shortcut_BCHW + branch_BCHW)


def _conv(inputs: int, outputs: int, stride: int, norm: str) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=norm == "none")
    norms: dict[str, Callable[[], nn.Module]] = {
        "batch": lambda: nn.BatchNorm2d(outputs),
        "group": lambda: nn.GroupNorm(GROUPS if outputs % GROUPS == 0 else 1, outputs),
        "none": nn.Identity,
    }
    return nn.Sequential(conv, norms[norm]())
