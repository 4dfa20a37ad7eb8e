"""Batch norm by a prefix of a larger one's parameters."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from search_spaces.elastic.functional.gradients import adds_in_place, gradient_target, trains_in_float32
from search_spaces.elastic.functional.rows import is_channels_last


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
        x_gradient, *found = torch.ops.aten.native_batch_norm_backward(
            gradient, x, scale, None, None, mean, deviation, True, ctx.eps, mask
        )
        given: list[Tensor | None] = [None, None]
        for number, parameter in enumerate((ctx.weight, ctx.bias)):
            if mask[1 + number]:
                target, given[number] = gradient_target(parameter, in_place=ctx.in_place)
                target[: len(scale)].add_(found[number])
        return x_gradient, *given, None, None, None, None
