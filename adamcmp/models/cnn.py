"""Small convolutional network for pictures of any size and number of channels."""

from __future__ import annotations

from torch import Tensor, nn

from adamcmp.models import arguments

NORMS = ("group", "batch", "none")


class SmallCNN(nn.Module):
    """x_BCHW → three blocks of 3×3 convolution, norm, ReLU → mean over H and W → dropout → linear → logits.

    The blocks have `width`, 2·`width` and 4·`width` channels and strides 1, 2 and 2. Convolutions in front of
    a norm carry no bias, because the norm has its own.

    `norm`: ``group`` has groups of four channels (one group where four does not divide them; Wu & He, arXiv
    1803.08494). ``batch`` is torch's BatchNorm2d, with running averages when evaluating (Ioffe & Szegedy,
    arXiv 1502.03167): state that a forward pass writes. ``none`` leaves it out.

    Raises:
        InputError: if `input_shape` is not (C, H, W), for sizes < 1, an unknown norm, dropout outside
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
        inputs, *_ = arguments.picture_shape("cnn", input_shape, num_classes)
        arguments.size("width", width)
        arguments.choice("norm", norm, NORMS)
        arguments.probability("dropout", dropout)
        channels = [inputs, width, 2 * width, 4 * width]
        self.blocks = nn.Sequential(
            *(_block(channels[i], channels[i + 1], stride=stride, norm=norm) for i, stride in enumerate((1, 2, 2)))
        )
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.head = nn.Linear(channels[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """logits_BK of x_BCHW, with K classes."""
        maps_BCHW: Tensor = self.blocks(arguments.floating(x, "cnn"))
        logits_BK: Tensor = self.head(self.dropout(maps_BCHW.mean(dim=(2, 3))))
        return logits_BK


def _block(inputs: int, outputs: int, *, stride: int, norm: str) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=norm == "none")
    return nn.Sequential(conv, _norm(norm, outputs), nn.ReLU())


def _norm(norm: str, channels: int) -> nn.Module:
    if norm == "group":
        return nn.GroupNorm(channels // 4 if channels % 4 == 0 else 1, channels)
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.Identity()
