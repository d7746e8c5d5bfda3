"""Bag of words: a classifier whose gradients are sparse, as most words are absent from a batch."""

from __future__ import annotations

from torch import Tensor, nn

from adamcmp.errors import InputError
from adamcmp.models import arguments


class BagOfWords(nn.Module):
    """Words w_BL, 0 for none → the mean of their embeddings_BD → linear → logits_BC.

    Rows of the table that a batch does not name have a gradient of 0: adaptive methods give rare words larger steps,
    L2 in the gradient moves absent words by its normalized size alone, and decoupled decay shrinks all rows alike.
    Parameters, with V tokens: V·D + (D + 1)·C.

    Source: the model of A. Joulin et al., Bag of Tricks for Efficient Text Classification, arXiv 1607.01759, without
    n-grams.

    Raises:
        InputError: if `input_shape` is not (L,), for a width < 1, or inputs that are not tokens.
    """

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int, num_tokens: int = 0, width: int = 32) -> None:
        super().__init__()
        shape = arguments.data_shape(input_shape, num_classes)
        if len(shape) != 1 or not num_tokens:
            kind = f"words of shape {shape}" if num_tokens else f"floating inputs of shape {shape}"
            raise InputError(f"model bag_of_words takes words of shape (L,), the data gives {kind}; take model=mlp")
        self.embedding = nn.Embedding(num_tokens, arguments.size("width", width))
        self.head = nn.Linear(width, num_classes)

    def forward(self, words_BL: Tensor) -> Tensor:
        """Return logits_BC of words_BL int64."""
        is_word_BL1 = (words_BL > 0).unsqueeze(-1).to(self.embedding.weight.dtype)
        sum_BD = (self.embedding(words_BL) * is_word_BL1).sum(1)
        logits_BC: Tensor = self.head(sum_BD / is_word_BL1.sum(1).clamp(min=1))
        return logits_BC
