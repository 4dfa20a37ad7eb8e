"""The block of MobileNetV2, MobileNetV3 and ProxylessNAS."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from search_spaces.operators.base import NORM_EPS, Number, Operator, output_side


@dataclass(frozen=True)
class MBConv(Operator):
    """Inverted residual: [1x1 expansion], depthwise, [squeeze-excite], 1x1 projection; batch norm after each
    convolution.

    `expansion` is False where the block has no expansion convolution (then mid_channels == in_channels);
    `se_channels` is 0 without squeeze-excite. The input is added to the output when `residual`.
    """

    kind = "mbconv"

    mid_channels: Number
    kernel_size: Number
    stride: Number
    activation: str
    se_channels: Number
    expansion: bool
    residual: bool
    #: part of what the network computes, not of the work it takes, so it is no part of the key
    norm_eps: float = field(default=NORM_EPS, metadata={"free": True})

    @property
    def output_resolution(self) -> Number:
        return output_side(self.resolution, self.stride)

    def _layers(self) -> tuple[Number, Number, Number]:
        """Weights of expansion, depthwise and projection."""
        expansion = self.in_channels * self.mid_channels if self.expansion else 0
        return expansion, self.mid_channels * self.kernel_size**2, self.mid_channels * self.out_channels

    def macs(self) -> Number:
        expansion, depthwise, projection = self._layers()
        squeeze_excite = 2 * self.mid_channels * self.se_channels
        return expansion * self.resolution**2 + (depthwise + projection) * self.output_resolution**2 + squeeze_excite

    def weights(self) -> tuple[Number, Number]:
        squeeze_excite = self.se_channels > 0
        weights = sum(self._layers()) + 2 * self.mid_channels * self.se_channels
        biases = self.mid_channels * (1 + bool(self.expansion)) + self.out_channels
        return weights, biases + squeeze_excite * (self.se_channels + self.mid_channels)

    def params(self) -> Number:
        weights, biases = self.weights()
        norms = self.mid_channels * (1 + bool(self.expansion)) + self.out_channels
        return weights + biases + norms  # a norm has a scale beside the shift that folds into the bias

    def peak_elements(self) -> Number:
        block_input = self.in_channels * self.resolution**2
        expanded = self.mid_channels * self.resolution**2
        filtered = self.mid_channels * self.output_resolution**2
        output = self.out_channels * self.output_resolution**2
        held = block_input if self.residual else 0  # waits for the addition
        if self.expansion:
            peak = np.maximum(block_input + expanded, held + expanded + filtered)
        else:
            peak = block_input + filtered
        excite = (self.se_channels > 0) * (held + filtered + self.mid_channels + self.se_channels)
        return np.maximum(np.maximum(peak, excite), held + filtered + output)
