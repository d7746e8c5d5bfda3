"""ViT: a Transformer on patches of an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adamcmp.errors import InputError
from adamcmp.models import arguments
from adamcmp.models.transformer import Block, check_sizes


class ViT(nn.Module):
    """x_BCHW → patches of P × P, linear → class token in front, + position → `depth` blocks → norm → its logits.

    T = (H/P)(W/P) + 1 positions. Parameters, with D the width, L the depth and K classes:
    (C·P² + 1)·D + D + T·D + L·(12·D² + 13·D) + 2·D + (D + 1)·K. Weights are drawn as torch does, class token and
    positions from N(0, 0.02²).

    Source: A. Dosovitskiy et al., An Image is Worth 16x16 Words, arXiv 2010.11929; the preset ``vit_tiny`` has the
    width, depth and heads of DeiT-Ti (H. Touvron et al., arXiv 2012.12877).

    Raises:
        InputError: if `input_shape` is not (C, H, W), for sizes < 1, a patch that does not divide H and W, a width that
            `heads` does not divide, dropout outside [0, 1), or inputs that are tokens.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: int,
        patch: int = 4,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        shape = arguments.picture_shape("vit", input_shape, num_classes)
        check_sizes(width, depth, heads, dropout)
        channels, rows, columns = shape
        if rows % arguments.size("patch", patch) or columns % patch:
            raise InputError(f"model.patch={patch}: must divide the height and width of the images, {rows}×{columns}")
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.position = nn.Parameter(torch.randn((rows // patch) * (columns // patch) + 1, width) * 0.02)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.blocks = nn.Sequential(*(Block(width, heads, causal=False, dropout=dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits_BK of x_BCHW, with K classes."""
        z_BTD = self.patches(arguments.floating(x, "vit")).flatten(2).transpose(1, 2)
        z_BTD = torch.cat([self.class_token.expand(len(z_BTD), -1, -1), z_BTD], dim=1)
        z_BTD = self.blocks(self.dropout(z_BTD + self.position))
        logits_BK: Tensor = self.head(self.norm(z_BTD[:, 0]))
        return logits_BK
