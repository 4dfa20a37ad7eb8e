"""Pooling that stands between blocks."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.operators.base import Number, Operator, output_side


@dataclass(frozen=True)
class MaxPool(Operator):
    """Max pooling with padding kernel_size // 2."""

    kind = "maxpool"

    kernel_size: Number
    stride: Number

    @property
    def output_resolution(self) -> Number:
        return output_side(self.resolution, self.stride)

    def macs(self) -> Number:
        return 0

    def params(self) -> Number:
        return 0

    def weights(self) -> tuple[Number, Number]:
        return 0, 0

    def peak_elements(self) -> Number:
        return self.in_channels * self.resolution**2 + self.out_channels * self.output_resolution**2
