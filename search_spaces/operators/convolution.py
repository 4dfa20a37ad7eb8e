"""A dense convolution with what follows it, alone or as a residual."""

from __future__ import annotations

from dataclasses import dataclass, field

from search_spaces.operators.base import NORM_EPS, Number, Operator, output_side


@dataclass(frozen=True)
class Conv(Operator):
    """Convolution, batch norm, activation."""

    kind = "conv"

    kernel_size: Number
    stride: Number
    activation: str
    #: part of what the network computes, not of the work it takes, so it is no part of the key
    norm_eps: float = field(default=NORM_EPS, metadata={"free": True})

    @property
    def output_resolution(self) -> Number:
        return output_side(self.resolution, self.stride)

    def macs(self) -> Number:
        return self.weights()[0] * self.output_resolution**2

    def params(self) -> Number:
        return self.weights()[0] + 2 * self.out_channels

    def weights(self) -> tuple[Number, Number]:
        return self.in_channels * self.out_channels * self.kernel_size**2, self.out_channels

    def peak_elements(self) -> Number:
        return self.in_channels * self.resolution**2 + self.out_channels * self.output_resolution**2


@dataclass(frozen=True)
class ResidualConv(Conv):
    """Convolution, batch norm, activation, and then the addition of the input: stride 1, as many channels out as in."""

    kind = "residualconv"
