"""Network for pairs of numbers modulo p: embed both, concatenate, one hidden layer."""

from __future__ import annotations

from torch import Tensor, nn

from adamcmp.errors import InputError
from adamcmp.models import arguments


class ModularMLP(nn.Module):
    """x_B2 of tokens 0 to C−1 → one shared embedding (C, E) → concatenated (B, 2E) → ReLU layer → logits_BC.

    Both numbers come from the classes, so `num_classes` is also the size of the table. Two fully connected
    layers suffice for the task (A. Gromov, Grokking modular arithmetic, arXiv 2301.02679, on one-hot inputs);
    the shared embedding in front of them is this project's choice.

    Raises:
        InputError: if `input_shape` is not (2,), for sizes < 1, or inputs that are not tokens.
    """

    def __init__(
        self, *, input_shape: tuple[int, ...], num_classes: int, embedding: int = 64, hidden: int = 256
    ) -> None:
        super().__init__()
        shape = arguments.data_shape(input_shape, num_classes)
        if shape != (2,):
            raise InputError(
                f"model modular_mlp takes pairs of shape (2,), the data gives {shape}; "
                f"take model={'cnn or model=mlp' if len(shape) == 3 else 'mlp'}"
            )
        arguments.size("embedding", embedding)
        arguments.size("hidden", hidden)
        self.embedding = nn.Embedding(num_classes, embedding)
        self.layers = nn.Sequential(nn.Linear(2 * embedding, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits_BC of x_B2 int64."""
        if x.is_floating_point():
            raise InputError(f"model modular_mlp takes int64 pairs, the data gives {x.dtype}; take model=mlp")
        logits_BC: Tensor = self.layers(self.embedding(x).flatten(1))
        return logits_BC
