"""Elastic layers: torch.nn layers that compute with a prefix of their own weights.

Slices, never masks: the cost is that of the smaller layer, and at full width the layer is the ordinary one, so
ordinary checkpoints load. The number of input channels is read from the input.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.elastic.functional import depthwise_conv2d, prefix_batch_norm, prefix_conv2d, prefix_conv_norm


class ElasticConv2d(nn.Conv2d):
    """Dense convolution with elastic input and output channels."""

    def weight_for(self, in_channels: int, out_channels: int) -> Tensor:
        return self.weight[:out_channels, :in_channels]

    def forward(self, x: Tensor, out_channels: int) -> Tensor:  # type: ignore[override]
        return prefix_conv2d(x, self.weight, self.bias, out_channels, self.stride, self.padding)


class ElasticDepthwiseConv2d(nn.Conv2d):
    """Depthwise convolution with elastic channels and kernel size.

    A smaller kernel is the centre of the next larger one times a learned matrix, shared by all channels and identity
    at the start (Cai et al., https://arxiv.org/abs/1908.09791, section 3.3): 7x7 -> 5x5 -> 3x3.
    """

    def __init__(self, channels: int, kernel_sizes: Sequence[int], stride: int) -> None:
        self.kernel_sizes = sorted(kernel_sizes, reverse=True)
        largest = self.kernel_sizes[0]
        super().__init__(channels, channels, largest, stride, largest // 2, groups=channels, bias=False)
        for larger, smaller in itertools.pairwise(self.kernel_sizes):
            self.register_parameter(f"transform_{larger}to{smaller}", nn.Parameter(torch.eye(smaller**2)))

    def weight_for(self, channels: int, kernel_size: int) -> Tensor:
        """(channels, 1, kernel_size, kernel_size)"""
        weight = self.weight[:channels]
        for larger, smaller in itertools.pairwise(self.kernel_sizes):
            if larger <= kernel_size:
                break
            edge = (larger - smaller) // 2
            centre = weight[:, :, edge : edge + smaller, edge : edge + smaller]
            matrix = getattr(self, f"transform_{larger}to{smaller}")
            weight = F.linear(centre.reshape(channels, smaller**2), matrix).view(channels, 1, smaller, smaller)
        return weight

    def forward(self, x: Tensor, kernel_size: int) -> Tensor:  # type: ignore[override]
        return depthwise_conv2d(x, self.weight_for(x.shape[1], kernel_size), self.stride)


class ElasticBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the channels that arrive; narrower subnets share the first entries of scale, shift and
    statistics.
    """

    def forward(self, x: Tensor) -> Tensor:
        return prefix_batch_norm(x, self)


def conv_norm(x: Tensor, conv: ElasticConv2d, norm: ElasticBatchNorm2d, out_channels: int) -> Tensor:
    """`norm(conv(x, out_channels))`, as one operation where that is less work in training. Hooks are not called."""
    return prefix_conv_norm(x, conv, norm, out_channels)
