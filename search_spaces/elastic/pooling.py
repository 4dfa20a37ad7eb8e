"""Pooling that stands between blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from search_spaces.elastic.base import ElasticBlock
from search_spaces.operators import MaxPool


class ElasticMaxPool(ElasticBlock):
    """Max pooling of the channels that arrive."""

    def __init__(self, operators: Sequence[MaxPool]) -> None:
        super().__init__()
        first = operators[0]
        assert {(op.kernel_size, op.stride) for op in operators} == {(first.kernel_size, first.stride)}
        self.pool = nn.MaxPool2d(first.kernel_size, first.stride, first.kernel_size // 2)

    def forward(self, x: Tensor, operator: MaxPool) -> Tensor:
        out: Tensor = self.pool(x)
        return out

    def slices(self, operator: MaxPool) -> Iterator[tuple[str, Tensor]]:
        return iter(())
