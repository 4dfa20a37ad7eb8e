"""A dense convolution with what follows it, alone or as a residual."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from search_spaces.elastic.activations import elastic_activation
from search_spaces.elastic.base import ElasticBlock, norm_slices
from search_spaces.elastic.layers import ElasticBatchNorm2d, ElasticConv2d, conv_norm
from search_spaces.operators import Conv


class ElasticConvBlock(ElasticBlock):
    """Convolution, batch norm, activation."""

    def __init__(self, operators: Sequence[Conv]) -> None:
        super().__init__()
        first = operators[0]
        widest = max(op.out_channels for op in operators)
        assert all(
            (op.kernel_size, op.stride, op.activation) == (first.kernel_size, first.stride, first.activation)
            for op in operators
        )
        in_channels = max(op.in_channels for op in operators)
        self.conv = ElasticConv2d(
            in_channels, widest, first.kernel_size, first.stride, first.kernel_size // 2, bias=False
        )
        self.norm = ElasticBatchNorm2d(widest, first.norm_eps)
        self.act = elastic_activation(first.activation)

    def forward(self, x: Tensor, operator: Conv) -> Tensor:
        out: Tensor = self.act(conv_norm(x, self.conv, self.norm, operator.out_channels))
        return out

    def slices(self, operator: Conv) -> Iterator[tuple[str, Tensor]]:
        yield "conv.weight", self.conv.weight_for(operator.in_channels, operator.out_channels)
        yield from norm_slices("norm", self.norm, operator.out_channels)


class ElasticResidualConv(ElasticConvBlock):
    """Convolution, batch norm, activation, addition of the input."""

    def __init__(self, operators: Sequence[Conv]) -> None:
        super().__init__(operators)
        self.drop_path = nn.Identity()

    def forward(self, x: Tensor, operator: Conv) -> Tensor:
        return x + self.drop_path(super().forward(x, operator))
