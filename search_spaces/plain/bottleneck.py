"""The block of ResNet-50 and its relatives."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.operators import Bottleneck
from search_spaces.plain.layers import ACTIVATIONS, convolution


class PlainBottleneck(nn.Module):
    """Bottleneck block. The shortcut comes last, so that no more maps are alive than must be."""

    def __init__(self, op: Bottleneck) -> None:
        super().__init__()
        self.downsamples, self.pools = bool(op.downsample), op.downsample and op.stride > 1
        self.reduce_conv = convolution(op.in_channels, op.mid_channels, 1)
        self.reduce_norm = nn.BatchNorm2d(op.mid_channels, op.norm_eps)
        self.reduce_act = ACTIVATIONS[op.activation]()
        self.middle_conv = convolution(op.mid_channels, op.mid_channels, op.kernel_size, op.stride)
        self.middle_norm = nn.BatchNorm2d(op.mid_channels, op.norm_eps)
        self.middle_act = ACTIVATIONS[op.activation]()
        self.expand_conv = convolution(op.mid_channels, op.out_channels, 1)
        self.expand_norm = nn.BatchNorm2d(op.out_channels, op.norm_eps)
        if self.pools:
            self.shortcut_pool = nn.AvgPool2d(op.stride, ceil_mode=True)
        if self.downsamples:
            self.shortcut_conv = convolution(op.in_channels, op.out_channels, 1)
            self.shortcut_norm = nn.BatchNorm2d(op.out_channels, op.norm_eps)
        self.act = ACTIVATIONS[op.activation]()

    def forward(self, x: Tensor) -> Tensor:
        out = self.reduce_act(self.reduce_norm(self.reduce_conv(x)))
        out = self.middle_act(self.middle_norm(self.middle_conv(out)))
        out = self.expand_norm(self.expand_conv(out))
        shortcut = self.shortcut_pool(x) if self.pools else x
        if self.downsamples:
            shortcut = self.shortcut_norm(self.shortcut_conv(shortcut))
        summed: Tensor = self.act(out + shortcut)
        return summed
