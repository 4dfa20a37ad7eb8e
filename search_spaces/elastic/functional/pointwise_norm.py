"""A widening 1x1 convolution and the batch norm after it as one operation.

What batch norm needs to know of y = W x follows from x: its mean is W E[x], its variance diag(W Cov[x] W'). With many
pixels, and more channels after than before, that is far less work than passes over y, and y is never held:

    z = V (x - E[x]) + shift        with V = diag(a) W and a = scale / sqrt(variance + eps)

Backward, with g the gradient of z, N the pixels, P = g' (x - E[x]) and k = a (d scale) / (N sqrt(variance + eps)):

    d scale = rowsum(P * W) / sqrt(variance + eps)          d shift = sum(g)
    d W = diag(a) P - N diag(k) W Cov[x]
    d x = V' g - W' diag(k) W (x - E[x]) - V' mean(g)
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from search_spaces.elastic.functional.batch_norm import prefix_batch_norm
from search_spaces.elastic.functional.convolution import prefix_conv2d
from search_spaces.elastic.functional.gradients import adds_in_place, gradient_target, trains_in_float32
from search_spaces.elastic.functional.rows import as_rows, is_channels_last, product_over_rows, sum_of_rows

#: pixels per input channel from which the two together are faster than one after the other
_PIXELS_PER_CHANNEL = 64


def prefix_conv_norm(x_BCHW: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, out_channels: int) -> Tensor:
    """`norm` of the convolution by the first `out_channels` filters of `conv`, each by the prefix that is needed."""
    channels, num_pixels = x_BCHW.shape[1], x_BCHW.numel() // x_BCHW.shape[1]
    if (
        norm.training
        and conv.kernel_size == conv.stride == (1, 1)
        and conv.padding in ((0, 0), 0)
        and conv.bias is None
        and channels < out_channels
        and num_pixels >= _PIXELS_PER_CHANNEL * channels
        and trains_in_float32(x_BCHW, conv.weight)
        and x_BCHW.is_cpu
        and is_channels_last(x_BCHW)
    ):
        z: Tensor = _PointwiseNorm.apply(
            x_BCHW, conv.weight, norm.weight, norm.bias, out_channels, norm, adds_in_place()
        )
        return z
    y = prefix_conv2d(x_BCHW, conv.weight, conv.bias, out_channels, conv.stride, conv.padding)
    return prefix_batch_norm(y, norm)


class _PointwiseNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        scale: Tensor,
        shift: Tensor,
        out_channels: int,
        norm: nn.BatchNorm2d,
        in_place: bool,
    ) -> Tensor:
        prefix = weight.flatten(1)[:out_channels, : x.shape[1]]
        num_pixels = x.numel() // x.shape[1]
        mean = sum_of_rows(as_rows(x)).div_(num_pixels)
        centred = x - mean.view(1, -1, 1, 1)
        covariance = product_over_rows(as_rows(centred), as_rows(centred)).double().div_(num_pixels)
        projected = prefix.double() @ covariance
        variance = (projected * prefix).sum(dim=1).clamp_(min=0)
        inverse = (variance + norm.eps).rsqrt_().float()
        factor = inverse * scale[:out_channels]
        _update(norm, prefix @ mean, variance.float(), num_pixels)
        folded = prefix * factor[:, None]
        ctx.save_for_backward(centred, prefix, folded, factor, inverse, projected.float())
        ctx.parameters, ctx.in_place = (weight, scale, shift), in_place
        return F.conv2d(centred, folded[:, :, None, None], shift[:out_channels])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        centred, prefix, folded, factor, inverse, projected = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        rows, num_pixels = as_rows(gradient), gradient.numel() // gradient.shape[1]
        total = sum_of_rows(rows)
        products = product_over_rows(rows, as_rows(centred))
        for_scale = (products * prefix).sum(dim=1).mul_(inverse)
        along = (factor * inverse * for_scale)[:, None]  # N k of the text above
        found = products.mul_(factor[:, None]).addcmul_(along, projected, value=-1), for_scale, total
        given: list[Tensor | None] = [None, None, None]
        for number, parameter in enumerate(ctx.parameters):
            if ctx.needs_input_grad[1 + number]:
                target, given[number] = gradient_target(parameter, in_place=ctx.in_place)
                target = target.flatten(1)[:, : prefix.shape[1]] if number == 0 else target
                target[: len(prefix)].add_(found[number])
        x_gradient: Tensor | None = None
        if ctx.needs_input_grad[0]:
            constant = (total @ folded).div_(-num_pixels)
            x_gradient = F.conv2d(gradient, folded.t()[:, :, None, None], constant)
            quadratic = prefix.t() @ (prefix * along)
            as_rows(x_gradient).addmm_(as_rows(centred), quadratic, alpha=-1 / num_pixels)
        return x_gradient, *given, None, None, None


def _update(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics as batch norm does, by the unbiased variance."""
    if norm.momentum and norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean[: len(mean)].lerp_(mean, norm.momentum)
        norm.running_var[: len(mean)].lerp_(variance * (count / max(count - 1, 1)), norm.momentum)
