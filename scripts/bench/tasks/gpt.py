"""A small language model and its data, as a user would bring them: nothing here knows of adamcmp.

Shapes: N sequences, B in a batch, T tokens, D width, H heads, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """z + attention(norm(z)), then z + mlp(norm(z)): pre-norm, causal."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, z_BTD: Tensor) -> Tensor:
        """z_BTD of z_BTD."""
        qkv_BTD = self.qkv(self.norm_attention(z_BTD)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(-2, -3) for part in qkv_BTD)
        mixed_BHTd = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        z_BTD = z_BTD + self.out(mixed_BHTd.transpose(-2, -3).flatten(-2))
        return z_BTD + self.mlp(self.norm_mlp(z_BTD))


class GPT(nn.Module):
    """tokens_BT → embedding + position → blocks → norm → linear → logits_BTV; V is the data's number of classes."""

    def __init__(
        self, *, input_shape: tuple[int, ...], num_classes: int, width: int = 64, heads: int = 4, layers: int = 2
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_classes, width)
        self.position = nn.Parameter(0.02 * torch.randn(input_shape[0], width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """logits_BTV of tokens_BT."""
        z_BTD = self.embedding(tokens_BT) + self.position
        logits_BTV: Tensor = self.head(self.norm(self.blocks(z_BTD)))
        return logits_BTV


def running_sums(sequences: int = 4096, tokens: int = 32, vocabulary: int = 64) -> dict[str, Any]:
    """Random tokens x_NT; y_NT is their sum so far modulo the vocabulary: something to learn at every position."""
    x_NT = torch.randint(vocabulary, (sequences, tokens), generator=torch.Generator().manual_seed(0))
    return {"train": (x_NT, x_NT.cumsum(1) % vocabulary), "num_classes": vocabulary}
