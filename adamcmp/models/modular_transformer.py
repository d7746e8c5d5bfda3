"""One-layer Transformer for pairs of numbers modulo p: the network in which grokking was taken apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adamcmp.errors import InputError
from adamcmp.models import arguments
from adamcmp.models.transformer import Attention, check_sizes


class ModularTransformer(nn.Module):
    """a, b, = → embedding + position → z + attention(z) → z + mlp(z), ReLU → at "=": linear → logits_BC.

    No norm, no biases in attention and the last layer, a hidden layer of 4·D. Parameters, with p classes:
    (p + 1)·D + 3·D + 4·D² + (8·D² + 5·D) + p·D; 226,688 for p = 113 and D = 128.

    Source: N. Nanda et al., Progress measures for grokking via mechanistic interpretability, arXiv 2301.05217,
    section 3, with p = 113, D = 128 and 4 heads; weights are drawn from N(0, 1/D), positions alike.

    Raises:
        InputError: if `input_shape` is not (2,), for sizes < 1, a width that `heads` does not divide, or inputs that
            are not tokens.
    """

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int, width: int = 128, heads: int = 4) -> None:
        super().__init__()
        shape = arguments.data_shape(input_shape, num_classes)
        if shape != (2,):
            raise InputError(f"model modular_transformer takes pairs of shape (2,), the data gives {shape}")
        check_sizes(width, 1, heads, 0.0)
        self.embedding = nn.Embedding(num_classes + 1, width)
        self.position = nn.Parameter(torch.empty(3, width))
        self.attention = Attention(width, heads, causal=True, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.head = nn.Linear(width, num_classes, bias=False)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits_BC of x_B2 int64."""
        if x.is_floating_point():
            raise InputError(f"model modular_transformer takes int64 pairs, the data gives {x.dtype}; take model=mlp")
        equals_B1 = torch.full_like(x[:, :1], self.embedding.num_embeddings - 1)
        z_BTD = self.embedding(torch.cat([x, equals_B1], dim=1)) + self.position
        z_BTD = z_BTD + self.attention(z_BTD)
        z_BD = z_BTD[:, -1]
        logits_BC: Tensor = self.head(z_BD + self.mlp(z_BD))
        return logits_BC
