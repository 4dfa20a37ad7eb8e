"""Convolution by a prefix of the filters of a larger one.

The results are those of `torch.nn.functional.conv2d`, up to rounding. A 1x1 convolution of channels-last images is one
matrix product, and so are both of its gradients; BLAS reads a prefix of a weight where it lies.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from search_spaces.elastic.functional.gradients import adds_in_place, gradient_target, trains_in_float32
from search_spaces.elastic.functional.rows import add_product, as_rows, is_channels_last, product


def prefix_conv2d(
    x_BCHW: Tensor, weight: Tensor, bias: Tensor | None, out_channels: int, stride: tuple[int, ...], padding: Any
) -> Tensor:
    """Dense convolution by the first `out_channels` filters and the first C input channels of `weight` (O, I, K, K)."""
    if trains_in_float32(x_BCHW, weight):
        y: Tensor = _PrefixConv.apply(x_BCHW, weight, bias, out_channels, stride, padding, adds_in_place())
        return y
    return F.conv2d(
        x_BCHW,
        weight[:out_channels, : x_BCHW.shape[1]],
        None if bias is None else bias[:out_channels],
        stride,
        padding,
    )


class _PrefixConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        out_channels: int,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        in_place: bool,
    ) -> Tensor:
        in_channels = x.shape[1]
        pointwise = weight.shape[2] == weight.shape[3] == 1 and padding[0] == padding[1] == 0
        ctx.is_product, ctx.side = pointwise and x.is_cpu and is_channels_last(x), x.shape[2:]
        if ctx.is_product and max(stride) > 1:
            # of few channels, oneDNN's AVX2 gradient of strided 1x1 convolutions writes beyond its memory
            x = x[:, :, :: stride[0], :: stride[1]].contiguous(memory_format=torch.channels_last)
        prefix = (weight.flatten(1) if ctx.is_product else weight)[:out_channels, :in_channels]
        ctx.save_for_backward(x, prefix)
        ctx.weight, ctx.bias, ctx.stride, ctx.padding, ctx.in_place = weight, bias, stride, padding, in_place
        shift = None if bias is None else bias[:out_channels]
        return product(x, prefix.t(), shift) if ctx.is_product else F.conv2d(x, prefix, shift, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, prefix = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad[:3]
        x_gradient: Tensor | None = None
        weight_gradient: Tensor | None = None
        bias_gradient: Tensor | None = None
        if ctx.is_product:
            gradient = gradient.contiguous(memory_format=torch.channels_last)
            if for_x:
                x_gradient = product(gradient, prefix, None)
                if max(ctx.stride) > 1:
                    whole = x_gradient.new_zeros((*x_gradient.shape[:2], *ctx.side))
                    whole = whole.contiguous(memory_format=torch.channels_last)
                    whole[:, :, :: ctx.stride[0], :: ctx.stride[1]] = x_gradient
                    x_gradient = whole
            if for_weight:
                target, weight_gradient = gradient_target(ctx.weight, in_place=ctx.in_place)
                add_product(target.flatten(1)[: len(prefix), : x.shape[1]], as_rows(gradient), as_rows(x))
        else:
            mask = for_x, for_weight, False
            x_gradient, found, _ = torch.ops.aten.convolution_backward(
                gradient, x, prefix, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, mask
            )
            if for_weight:
                target, weight_gradient = gradient_target(ctx.weight, in_place=ctx.in_place)
                target[: len(prefix), : x.shape[1]].add_(found)
        if for_bias:
            target, bias_gradient = gradient_target(ctx.bias, in_place=ctx.in_place)
            target[: len(prefix)].add_(gradient.sum((0, 2, 3)))
        return x_gradient, weight_gradient, bias_gradient, None, None, None, None
