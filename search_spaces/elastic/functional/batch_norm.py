"""Batch norm by a prefix of a larger one's parameters."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from search_spaces.elastic.functional.gradients import adds_in_place, gradient_target, trains_in_float32
from search_spaces.elastic.functional.rows import as_rows, is_channels_last, product_over_rows, sum_of_rows


def prefix_batch_norm(x_BCHW: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Batch norm by the first C entries of the scale, shift and statistics of `norm`, in its mode."""
    channels = x_BCHW.shape[1]
    assert norm.running_mean is not None and norm.running_var is not None
    statistics = norm.running_mean[:channels], norm.running_var[:channels]
    momentum = norm.momentum or 0.0
    if norm.training and trains_in_float32(x_BCHW, norm.weight):
        y: Tensor = _PrefixNorm.apply(x_BCHW, norm.weight, norm.bias, statistics, momentum, norm.eps, adds_in_place())
        return y
    weight, bias = norm.weight[:channels], norm.bias[:channels]
    return F.batch_norm(x_BCHW, *statistics, weight, bias, norm.training, momentum, norm.eps)


class _PrefixNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        statistics: tuple[Tensor, Tensor],
        momentum: float,
        eps: float,
        in_place: bool,
    ) -> Tensor:
        scale = weight[: x.shape[1]]
        y, mean, deviation = torch.native_batch_norm(x, scale, bias[: x.shape[1]], *statistics, True, momentum, eps)
        ctx.save_for_backward(x, scale, mean, deviation)
        ctx.weight, ctx.bias, ctx.eps, ctx.in_place = weight, bias, eps, in_place
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, mean, deviation = ctx.saved_tensors
        if is_channels_last(x):
            gradient = gradient.contiguous(memory_format=torch.channels_last)
        mask = ctx.needs_input_grad[:3]
        if _shares_cache_lines(x):
            x_gradient, *found = _gradients(gradient, x, scale, mean, deviation)
        else:
            x_gradient, *found = torch.ops.aten.native_batch_norm_backward(
                gradient, x, scale, None, None, mean, deviation, True, ctx.eps, mask
            )
        given: list[Tensor | None] = [None, None]
        for number, parameter in enumerate((ctx.weight, ctx.bias)):
            if mask[1 + number]:
                target, given[number] = gradient_target(parameter, in_place=ctx.in_place)
                target[: len(scale)].add_(found[number])
        return x_gradient, *given, None, None, None, None


def _shares_cache_lines(x: Tensor) -> bool:
    """Whether torch's threads would add up sums of so few channels in the same cache lines: then two are slower than
    one, up to four times.
    """
    channels = x.shape[1]
    several = x.is_cpu and torch.get_num_threads() > 1 and x.numel() >= 4096 * channels
    return several and channels < 32 and channels % 16 > 0 and is_channels_last(x)


def _gradients(
    gradient: Tensor, x: Tensor, scale: Tensor, mean: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of input, scale and shift. The sums are products of matrices; few channels make these cheap."""
    num_pixels = x.numel() // x.shape[1]
    centred = x - mean.view(1, -1, 1, 1)
    total = sum_of_rows(as_rows(gradient))
    for_scale = product_over_rows(as_rows(gradient), as_rows(centred)).diagonal() * inverse
    factor = scale * inverse
    along, constant = factor * inverse * for_scale / -num_pixels, factor * total / -num_pixels
    torch.addcmul(constant.view(1, -1, 1, 1), centred, along.view(1, -1, 1, 1), out=centred)
    return centred.addcmul_(gradient, factor.view(1, -1, 1, 1)), for_scale, total
