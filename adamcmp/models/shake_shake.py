"""Shake-Shake ResNet 26 2xWd: the network of the AdamW paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from adamcmp.models import arguments

STAGES, BLOCKS, STEM = 3, 4, 16


class ShakeShake(nn.Module):
    """x_BCHW → 3×3 convolution of 16 channels → 3 stages of 4 blocks of two branches → mean → linear → logits.

    Stages have `width`, 2·`width` and 4·`width` channels; 26 layers with 4 blocks a stage. In training a block mixes
    its branches by α ~ U(0, 1) for each image, and passes gradients back by another draw β; evaluation takes one half
    of each ("Shake-Shake-Image").

    Source: X. Gastaldi, Shake-Shake regularization, arXiv 1705.07485. For 10 classes it has 11,653,978 parameters at
    `width` 64, where the AdamW paper says 11.6 M, and 26,192,922 at 96, where it says 25.6 M: that cannot be the same
    network, since the count grows with the square of the width, by 2.25 from 64 to 96, and 11.6 M · 2.25 is 26.1 M.

    Raises:
        InputError: if `input_shape` is not (C, H, W), for a width < 1, or inputs that are tokens.
    """

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int, width: int = 64) -> None:
        super().__init__()
        channels, *_ = arguments.picture_shape("shake_shake", input_shape, num_classes)
        arguments.size("width", width)
        self.stem = nn.Sequential(nn.Conv2d(channels, STEM, 3, padding=1, bias=False), nn.BatchNorm2d(STEM))
        blocks, inputs = [], STEM
        for stage in range(STAGES):
            outputs = width * 2**stage
            for i in range(BLOCKS):
                blocks.append(Block(inputs, outputs, stride=2 if stage and not i else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits_BK of x_BCHW, with K classes."""
        maps_BCHW: Tensor = functional.relu(self.blocks(self.stem(arguments.floating(x, "shake_shake"))))
        logits_BK: Tensor = self.head(maps_BCHW.mean(dim=(2, 3)))
        return logits_BK


class Block(nn.Module):
    """shortcut(x) + α f_1(x) + (1 − α) f_2(x), each branch relu → conv → norm → relu → conv → norm."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.first, self.second = _branch(inputs, outputs, stride), _branch(inputs, outputs, stride)
        if stride > 1:
            self.shortcut: nn.Module = Shifted(inputs, outputs)
        elif inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        else:
            self.shortcut = nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the next maps."""
        first, second = self.first(x_BCHW), self.second(x_BCHW)
        shortcut_BCHW: Tensor = self.shortcut(x_BCHW)
        return shortcut_BCHW + (shake(first, second) if self.training else (first + second) / 2)


def shake(first: Tensor, second: Tensor) -> Tensor:
    r"""Return α_b first_b + (1 − α_b) second_b, whose gradients are β_b and 1 − β_b times the incoming one.

    With s = β first + (1 − β) second, the value is s + (α − β)(first − second), and the second term is detached.
    """
    alpha_B111, beta_B111 = torch.rand(2, len(first), 1, 1, 1, device=first.device, dtype=first.dtype)
    passed: Tensor = second + beta_B111 * (first - second)
    moved: Tensor = ((alpha_B111 - beta_B111) * (first - second)).detach()
    return passed + moved


class Shifted(nn.Module):
    """A shortcut of stride 2: every second pixel, and every second pixel one further down and right, half the
    channels from each (the source's section 2.1).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.here = nn.Conv2d(inputs, outputs // 2, 1, bias=False)
        self.beside = nn.Conv2d(inputs, outputs - outputs // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return maps of half the height and width."""
        x_BCHW = functional.relu(x_BCHW)
        moved_BCHW = functional.pad(x_BCHW[:, :, 1:, 1:], (0, 1, 0, 1))
        both = torch.cat([self.here(x_BCHW[:, :, ::2, ::2]), self.beside(moved_BCHW[:, :, ::2, ::2])], dim=1)
        normed: Tensor = self.norm(both)
        return normed


def _branch(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
    )
