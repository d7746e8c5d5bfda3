"""Small convolutional network for images of any size and signals of any length, with any number of channels."""

from __future__ import annotations

from torch import Tensor, nn

from adamcmp.models import arguments

NORMS = ("group", "batch", "none")


class SmallCNN(nn.Module):
    """x_BCHW or x_BCL → three blocks of convolution, norm, ReLU → mean over places → dropout → linear → logits.

    The blocks have `width`, 2·`width` and 4·`width` channels. On images convolutions are 3×3 with strides 1, 2 and 2;
    on signals they are 5 long with stride 2, as in the CNN of MNIST-1D (Greydanus & Kobak, arXiv 2011.14439).
    Convolutions in front of a norm carry no bias, because the norm has its own.

    `norm`: ``group`` has groups of four channels (one group where four does not divide them; Wu & He, arXiv
    1803.08494). ``batch`` is torch's BatchNorm, with running averages when evaluating (Ioffe & Szegedy,
    arXiv 1502.03167): state that a forward pass writes. ``none`` leaves it out.

    Raises:
        InputError: if `input_shape` is neither (C, H, W) nor (C, L), for sizes < 1, an unknown norm, dropout outside
            [0, 1), or inputs that are tokens.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: int,
        width: int = 16,
        norm: str = "group",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inputs, *places = arguments.channels_first("cnn", input_shape, num_classes)
        arguments.size("width", width)
        arguments.choice("norm", norm, NORMS)
        arguments.probability("dropout", dropout)
        channels = [inputs, width, 2 * width, 4 * width]
        kernel, strides = (3, (1, 2, 2)) if len(places) == 2 else (5, (2, 2, 2))
        self.blocks = nn.Sequential(
            *(
                _block(channels[i], channels[i + 1], axes=len(places), kernel=kernel, stride=stride, norm=norm)
                for i, stride in enumerate(strides)
            )
        )
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.head = nn.Linear(channels[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits_BK of x_BCHW or x_BCL, with K classes."""
        maps: Tensor = self.blocks(arguments.floating(x, "cnn"))
        logits_BK: Tensor = self.head(self.dropout(maps.flatten(2).mean(dim=2)))
        return logits_BK


def _block(inputs: int, outputs: int, *, axes: int, kernel: int, stride: int, norm: str) -> nn.Sequential:
    layer = nn.Conv2d if axes == 2 else nn.Conv1d
    conv = layer(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=norm == "none")
    return nn.Sequential(conv, _norm(norm, outputs, axes), nn.ReLU())


def _norm(norm: str, channels: int, axes: int) -> nn.Module:
    if norm == "group":
        return nn.GroupNorm(channels // 4 if channels % 4 == 0 else 1, channels)
    if norm == "batch":
        return nn.BatchNorm2d(channels) if axes == 2 else nn.BatchNorm1d(channels)
    return nn.Identity()
