"""Attention and pre-norm blocks of GPT and ViT. Shapes: B examples, T positions, D width, H heads."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from adamcmp.errors import InputError
from adamcmp.models import arguments


class Attention(nn.Module):
    """z_BTD → softmax(Q Kᵀ / √d) V in H heads of d = D/H, then a linear layer.

    `causal` lets position t see positions 0 … t alone. Dropout acts on the attention weights. `ratio` divides Q Kᵀ
    by its root once more (μP).

    Source: A. Vaswani et al., Attention Is All You Need, arXiv 1706.03762, section 3.2.
    """

    def __init__(
        self, width: int, heads: int, *, causal: bool, dropout: float = 0.0, bias: bool = True, ratio: float = 1.0
    ) -> None:
        super().__init__()
        self.heads, self.causal, self.dropout = heads, causal, dropout
        self.scale = None if ratio == 1 else (width // heads * ratio) ** -0.5
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, z_BTD: Tensor) -> Tensor:
        """Return mixed positions, (B, T, D)."""
        q_BHTd, k_BHTd, v_BHTd = (
            part.unflatten(-1, (self.heads, -1)).transpose(-2, -3) for part in self.qkv(z_BTD).chunk(3, dim=-1)
        )
        mixed_BHTd = functional.scaled_dot_product_attention(
            q_BHTd,
            k_BHTd,
            v_BHTd,
            is_causal=self.causal,
            dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale,
        )
        mixed_BTD: Tensor = self.out(mixed_BHTd.transpose(-2, -3).flatten(-2))
        return mixed_BTD


class Block(nn.Module):
    """z + attention(norm(z)), then z + mlp(norm(z)), with a hidden layer of 4·D and GELU.

    Source: pre-norm as in A. Radford et al., Language Models are Unsupervised Multitask Learners, 2019.
    """

    def __init__(self, width: int, heads: int, *, causal: bool, dropout: float, ratio: float = 1.0) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal=causal, dropout=dropout, ratio=ratio)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()

    def forward(self, z_BTD: Tensor) -> Tensor:
        """Return the next residual stream, (B, T, D)."""
        z_BTD = z_BTD + self.dropout(self.attention(self.norm_attention(z_BTD)))
        next_BTD: Tensor = z_BTD + self.dropout(self.mlp(self.norm_mlp(z_BTD)))
        return next_BTD


def check_sizes(width: int, depth: int, heads: int, dropout: float) -> None:
    """Refuse sizes that a Transformer cannot have.

    Raises:
        InputError: a size < 1, a width that heads do not divide, dropout outside [0, 1).
    """
    arguments.size("width", width)
    arguments.size("depth", depth)
    arguments.size("heads", heads)
    arguments.probability("dropout", dropout)
    if width % heads:
        raise InputError(f"model.heads={heads}: must divide model.width={width}")
