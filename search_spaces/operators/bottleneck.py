"""The block of ResNet-50 and its relatives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from search_spaces.operators.base import NORM_EPS, Number, Operator, output_side


@dataclass(frozen=True)
class Bottleneck(Operator):
    """1x1 convolution to `mid_channels`, dense convolution with the stride, 1x1 convolution to `out_channels`, addition
    of the shortcut, activation; batch norm after each convolution, the activation after the first two as well.

    The shortcut is the input itself, or where `downsample`: average pooling over `stride` x `stride` (none at stride 1;
    windows over the edge average what is there), 1x1 convolution, batch norm (ResNet-D, https://arxiv.org/abs/1812.01187).
    """

    kind = "bottleneck"

    mid_channels: Number
    kernel_size: Number
    stride: Number
    activation: str
    downsample: bool
    #: part of what the network computes, not of the work it takes, so it is no part of the key
    norm_eps: float = field(default=NORM_EPS, metadata={"free": True})

    @property
    def output_resolution(self) -> Number:
        return output_side(self.resolution, self.stride)

    def _layers(self) -> tuple[Number, Number, Number, Number]:
        """Weights of the three convolutions and of the shortcut's."""
        shortcut = self.in_channels * self.out_channels if self.downsample else 0
        return (
            self.in_channels * self.mid_channels,
            self.mid_channels**2 * self.kernel_size**2,
            self.mid_channels * self.out_channels,
            shortcut,
        )

    def macs(self) -> Number:
        reduce, middle, expand, shortcut = self._layers()
        return reduce * self.resolution**2 + (middle + expand + shortcut) * self.output_resolution**2

    def weights(self) -> tuple[Number, Number]:
        biases = 2 * self.mid_channels + (1 + bool(self.downsample)) * self.out_channels
        return sum(self._layers()), biases

    def params(self) -> Number:
        weights, norms = self.weights()
        return weights + 2 * norms  # a norm has a scale beside the shift that folds into the bias

    def peak_elements(self) -> Number:
        block_input = self.in_channels * self.resolution**2  # waits for the shortcut
        reduced = self.mid_channels * self.resolution**2
        filtered = self.mid_channels * self.output_resolution**2
        output = self.out_channels * self.output_resolution**2
        peak = block_input + np.maximum(reduced + filtered, filtered + output)
        if self.downsample:  # after the three convolutions, so that their maps are gone
            pooled = self.in_channels * self.output_resolution**2
            peak = np.maximum(peak, (self.stride > 1) * (block_input + output + pooled))
            peak = np.maximum(peak, output + pooled + output)
        return peak
