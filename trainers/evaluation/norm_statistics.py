"""Means and variances of channels over any number of images, added chunk by chunk in float64.

Chunks are taken in blocks that fit a core's cache: what is computed from a block (its deviations, their squares) is
then read from there, which is several times faster than a pass over memory for each.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from search_spaces.elastic.functional.rows import product_over_rows, sum_of_rows

#: numbers in a block on a CPU: 4 MiB of float32, the threads share it
_BLOCK = 2**20


class Moments(Protocol):
    """Takes in chunks of values, then tells the statistics of a BN layer's input."""

    def add(self, x: Tensor) -> None:
        """Take in a chunk (B, C) or (B, C, H, W)."""

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """Mean and biased variance per channel, float64 (C,) each."""


class ChannelMoments:
    """Of the values themselves. Every block's own mean and variance are joined with those before (Chan et al. 1979)."""

    def __init__(self) -> None:
        self._count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, x: Tensor) -> None:
        for rows in blocks(x):
            # the kernel of batch norm itself: two passes over a block, on all threads
            mean, variance = (t.double() for t in torch.batch_norm_update_stats(rows, None, None, 0.0))
            count = self._count + len(rows)
            if self._mean is None or self._squares is None:
                self._mean, self._squares = mean, variance * len(rows)
            else:
                difference, share = mean - self._mean, len(rows) / count
                self._mean += difference * share
                self._squares += variance * len(rows) + difference.square() * (self._count * share)
            self._count = count

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        assert self._mean is not None and self._squares is not None
        return self._mean, (self._squares / self._count).clamp(min=0)


class PointwiseMoments:
    """Of what a 1x1 convolution makes of the values, without running it: from their mean and covariance.

    y = W x + b has mean W E[x] + b and variances diag(W Cov[x] W'). Where a convolution has more outputs than inputs
    this is several times less work than computing its outputs, and nothing as large as these is ever held.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        self._convolution = convolution
        self._count = 0
        self._scratch = _Scratch()
        self._shift: Tensor | None = None
        self._sum: Tensor | None = None
        self._products: Tensor | None = None

    def add(self, x: Tensor) -> None:
        for rows in blocks(x):
            if self._shift is None or self._sum is None or self._products is None:
                self._shift = rows.mean(dim=0)
                self._sum = torch.zeros_like(self._shift, dtype=torch.float64)
                self._products = self._sum.new_zeros((rows.shape[1], rows.shape[1]))
            deviations = self._scratch.deviations(rows, self._shift)
            self._sum += sum_of_rows(deviations)
            self._products += product_over_rows(deviations, deviations)
            self._count += len(rows)

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        assert self._shift is not None and self._sum is not None and self._products is not None
        weight = self._convolution.weight.detach()[:, :, 0, 0].double()
        mean = self._sum / self._count
        covariance = self._products / self._count - torch.outer(mean, mean)
        variance = ((weight @ covariance) * weight).sum(dim=1).clamp(min=0)
        outputs = weight @ (self._shift + mean)
        bias = self._convolution.bias
        return outputs if bias is None else outputs + bias.detach().double(), variance


class _Scratch:
    """Memory for one block, used again for every block."""

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def deviations(self, rows: Tensor, shift: Tensor) -> Tensor:
        if self._memory is None or len(self._memory) < len(rows):
            self._memory = torch.empty_like(rows, memory_format=torch.contiguous_format)
        return torch.sub(rows, shift, out=self._memory[: len(rows)])


def blocks(x: Tensor) -> tuple[Tensor, ...]:
    """The chunk as rows of channels, in blocks."""
    rows = x if x.ndim == 2 else x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    return rows.split(max(1, _BLOCK // rows.shape[1])) if rows.device.type == "cpu" else (rows,)
