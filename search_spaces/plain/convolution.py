"""A dense convolution with what follows it, alone or as a residual."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.operators import Conv
from search_spaces.plain.layers import ACTIVATIONS, convolution


class PlainConv(nn.Module):
    """Convolution, batch norm, activation."""

    def __init__(self, op: Conv) -> None:
        super().__init__()
        self.conv = convolution(op.in_channels, op.out_channels, op.kernel_size, op.stride)
        self.norm = nn.BatchNorm2d(op.out_channels, op.norm_eps)
        self.act = ACTIVATIONS[op.activation]()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out


class PlainResidualConv(PlainConv):
    """Convolution, batch norm, activation, addition of the input."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)
