"""From the last feature map to logits."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.operators import Classifier, PoolClassifier, PoolConv
from search_spaces.plain.layers import ACTIVATIONS, convolution


class PlainPoolConv(nn.Module):
    """Global average pooling, 1x1 convolution, activation."""

    def __init__(self, op: PoolConv) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = convolution(op.in_channels, op.out_channels, 1)
        self.act = ACTIVATIONS[op.activation]()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.conv(self.pool(x)))
        return out


class PlainClassifier(nn.Module):
    """Flatten, dropout, linear."""

    def __init__(self, op: Classifier) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(op.dropout)
        self.linear = nn.Linear(op.in_channels, op.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.dropout(self.flatten(x)))
        return out


class PlainPoolClassifier(PlainClassifier):
    """Global average pooling, flatten, dropout, linear."""

    def __init__(self, op: PoolClassifier) -> None:
        super().__init__(op)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.pool(x))
