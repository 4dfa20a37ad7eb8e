"""Pooling that stands between blocks."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.operators import MaxPool


class PlainMaxPool(nn.Module):
    """Max pooling."""

    def __init__(self, op: MaxPool) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(op.kernel_size, op.stride, op.kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pool(x)
        return out
