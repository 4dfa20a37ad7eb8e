"""From the last feature map to logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from search_spaces.elastic.activations import elastic_activation
from search_spaces.elastic.base import ElasticBlock
from search_spaces.elastic.functional import prefix_linear
from search_spaces.elastic.layers import ElasticConv2d
from search_spaces.operators import Classifier, PoolClassifier, PoolConv


class ElasticPoolConv(ElasticBlock):
    """Global average pooling, 1x1 convolution, activation."""

    def __init__(self, operators: Sequence[PoolConv]) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        in_channels, out_channels = (
            max(getattr(op, name) for op in operators) for name in ("in_channels", "out_channels")
        )
        self.conv = ElasticConv2d(in_channels, out_channels, 1, bias=False)
        self.act = elastic_activation(operators[0].activation)

    def forward(self, x: Tensor, operator: PoolConv) -> Tensor:
        out: Tensor = self.act(self.conv(self.pool(x), operator.out_channels))
        return out

    def slices(self, operator: PoolConv) -> Iterator[tuple[str, Tensor]]:
        yield "conv.weight", self.conv.weight_for(operator.in_channels, operator.out_channels)


class ElasticClassifier(ElasticBlock):
    """Dropout and linear layer over the features that arrive."""

    def __init__(self, operators: Sequence[Classifier]) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(operators[0].dropout)
        self.linear = nn.Linear(max(op.in_channels for op in operators), operators[0].out_channels)

    def forward(self, x: Tensor, operator: Classifier) -> Tensor:
        x = self.dropout(self.flatten(x))
        return prefix_linear(x, self.linear.weight, self.linear.bias, self.linear.out_features)

    def slices(self, operator: Classifier) -> Iterator[tuple[str, Tensor]]:
        yield "linear.weight", self.linear.weight[:, : operator.in_channels]
        yield "linear.bias", self.linear.bias


class ElasticPoolClassifier(ElasticClassifier):
    """Global average pooling, dropout and linear layer over the features that arrive."""

    def __init__(self, operators: Sequence[PoolClassifier]) -> None:
        super().__init__(operators)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor, operator: Classifier) -> Tensor:
        return super().forward(self.pool(x), operator)
