"""GPT: a causal Transformer that predicts the next token at every position."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from adamcmp.errors import InputError
from adamcmp.models import arguments, mup
from adamcmp.models.transformer import Block, check_sizes


class GPT(nn.Module):
    """tokens_BT → embedding + position → `depth` pre-norm blocks → norm → logits_BTV by the embedding's transpose.

    V is `vocabulary`, or the number of tokens that the data has; T is the data's context. Parameters, with D the width
    and L the depth: V·D + T·D + L·(12·D² + 13·D) + 2·D, 124,439,808 for GPT-2's V = 50,257, T = 1,024, D = 768, L = 12.

    Weights are drawn from N(0, 0.02²), those that end a residual branch from N(0, 0.02²/(2L)); biases are 0. With
    `tied` false the last layer has weights of its own. With `mup_base` the best learning rate is that of a model so
    wide: see `models/mup.py`.

    Source: A. Radford et al., Language Models are Unsupervised Multitask Learners, 2019, and OpenAI's gpt-2 code.

    Raises:
        InputError: if `input_shape` is not (T,), for sizes < 1, a width that `heads` does not divide, dropout outside
            [0, 1), a vocabulary smaller than the data's, or inputs that are not tokens.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: int,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
        tied: bool = True,
        vocabulary: int | None = None,
        mup_base: int | None = None,
    ) -> None:
        super().__init__()
        shape = arguments.data_shape(input_shape, num_classes)
        if len(shape) != 1:
            raise InputError(f"model gpt takes sequences of shape (T,), the data gives {shape}; take data=text")
        check_sizes(width, depth, heads, dropout)
        if vocabulary is not None and arguments.size("vocabulary", vocabulary) < num_classes:
            raise InputError(f"model.vocabulary={vocabulary}: the data has {num_classes} tokens; give at least so many")
        tokens = vocabulary or num_classes
        self.ratio = mup.ratio(width, mup_base)
        self.embedding = nn.Embedding(tokens, width)
        self.position = nn.Parameter(torch.empty(shape[0], width))
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        made = (Block(width, heads, causal=True, dropout=dropout, ratio=self.ratio) for _ in range(depth))
        self.blocks = nn.Sequential(*made)
        self.norm = nn.LayerNorm(width)
        self.head = None if tied else nn.Linear(width, tokens, bias=False)
        self._initialise(depth)
        hidden = [name for name, p in self.blocks.named_parameters(prefix="blocks") if p.ndim == 2]
        self.width_ratios = dict.fromkeys(hidden, self.ratio)

    def _initialise(self, depth: int) -> None:
        nn.init.normal_(self.position, std=0.02)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                ends_branch = name.endswith(("attention.out", "mlp.2"))
                std = 0.02 / math.sqrt(2 * depth) if ends_branch else 0.02
                nn.init.normal_(module.weight, std=std / math.sqrt(self.ratio) if name.startswith("blocks") else std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return logits_BTV of tokens_BT int64."""
        if tokens_BT.is_floating_point():
            raise InputError(f"model gpt takes int64 tokens, the data gives {tokens_BT.dtype}; take data=text")
        z_BTD = self.dropout(self.embedding(tokens_BT) + self.position)
        z_BTD = self.norm(self.blocks(z_BTD))
        z_BTD = z_BTD if self.ratio == 1 else z_BTD / self.ratio
        logits_BTV: Tensor = functional.linear(z_BTD, self.embedding.weight) if self.head is None else self.head(z_BTD)
        return logits_BTV
