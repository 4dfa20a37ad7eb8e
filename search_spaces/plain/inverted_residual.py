"""The block of MobileNetV2, MobileNetV3 and ProxylessNAS."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.operators import MBConv
from search_spaces.plain.layers import ACTIVATIONS, convolution


class PlainSqueezeExcite(nn.Module):
    """Channel attention: pool, reduce, ReLU, expand, hard sigmoid, scale."""

    def __init__(self, channels: int, se_channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, se_channels, 1)
        self.act = nn.ReLU(inplace=True)
        self.expand = nn.Conv2d(se_channels, channels, 1)
        self.gate = nn.Hardsigmoid(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))


class PlainMBConv(nn.Module):
    """Inverted residual block."""

    def __init__(self, op: MBConv) -> None:
        super().__init__()
        self.residual = bool(op.residual)
        self.expands, self.excites = bool(op.expansion), op.se_channels > 0
        if self.expands:
            self.expand_conv = convolution(op.in_channels, op.mid_channels, 1)
            self.expand_norm = nn.BatchNorm2d(op.mid_channels, op.norm_eps)
            self.expand_act = ACTIVATIONS[op.activation]()
        self.depth_conv = convolution(
            op.mid_channels, op.mid_channels, op.kernel_size, op.stride, groups=op.mid_channels
        )
        self.depth_norm = nn.BatchNorm2d(op.mid_channels, op.norm_eps)
        self.depth_act = ACTIVATIONS[op.activation]()
        if self.excites:
            self.se = PlainSqueezeExcite(op.mid_channels, op.se_channels)
        self.project_conv = convolution(op.mid_channels, op.out_channels, 1)
        self.project_norm = nn.BatchNorm2d(op.out_channels, op.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        if self.expands:
            out = self.expand_act(self.expand_norm(self.expand_conv(out)))
        out = self.depth_act(self.depth_norm(self.depth_conv(out)))
        if self.excites:
            out = self.se(out)
        out = self.project_norm(self.project_conv(out))
        return x + out if self.residual else out
