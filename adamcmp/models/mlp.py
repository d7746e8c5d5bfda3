"""Multi-layer perceptron: the model for features and for small images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from adamcmp.models import arguments, mup

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


class MLP(nn.Module):
    """x_BI, flattened → [linear → activation → dropout] for each hidden size → linear → logits_BC.

    With `mup_base` the best learning rate is that of hidden layers so wide: see `models/mup.py`.

    An empty `hidden` makes it multinomial logistic regression. Parameters: Σ (n_i + 1) n_{i+1} over the sizes
    from the inputs to the classes.

    Raises:
        InputError: for sizes < 1, an unknown activation, dropout outside [0, 1), or inputs that are
            tokens.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: int,
        hidden: Sequence[int] = (32,),
        activation: str = "relu",
        dropout: float = 0.0,
        mup_base: int | None = None,
    ) -> None:
        super().__init__()
        inputs = math.prod(arguments.data_shape(input_shape, num_classes))
        act = ACTIVATIONS[arguments.choice("activation", activation, ACTIVATIONS)]
        arguments.probability("dropout", dropout)
        layers: list[nn.Module] = []
        for width in arguments.sizes("hidden", hidden):
            layers += [nn.Linear(inputs, width), act()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, num_classes))
        linear = [(f"layers.{i}", layer) for i, layer in enumerate(self.layers) if isinstance(layer, nn.Linear)]
        self.width_ratios = {f"{name}.weight": mup.ratio(layer.in_features, mup_base) for name, layer in linear[1:-1]}
        for name, linear_layer in linear[1:-1]:
            mup.as_at_base(linear_layer, self.width_ratios[f"{name}.weight"], weight=False)
        self.output_ratio = mup.ratio(inputs, mup_base) if len(linear) > 1 else 1.0
        mup.as_at_base(linear[-1][1], self.output_ratio, weight=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits_BC of x_BI, where I is any shape of `input_shape`'s size."""
        last_BD: Tensor = self.layers[:-1](arguments.floating(x, "mlp").flatten(1))
        logits_BC: Tensor = self.layers[-1](last_BD if self.output_ratio == 1 else last_BD / self.output_ratio)
        return logits_BC
