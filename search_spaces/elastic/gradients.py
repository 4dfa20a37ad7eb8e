"""Convolutions with a prefix of a larger weight, with gradients that are fast on CPUs.

The results are those of `torch.nn.functional.conv2d`, up to rounding. What differs is the work done to train:

- A 1x1 convolution of channels-last images is one matrix product, and so are both of its gradients; BLAS reads a
  prefix of a weight where it lies.
- The gradient of a depthwise kernel wider than 3 columns is computed in strips of at most 3 columns: oneDNN has a
  vectorised kernel for those only, and falls back to one several times slower.
- Within `gradients_in_place()` the gradient of a prefix is added to the same prefix of the weight's `.grad`. Autograd
  by itself makes a gradient as large as the whole weight, nearly all zeros, for every use of a slice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_in_place: ContextVar[bool] = ContextVar("gradients_in_place", default=False)

#: columns of a depthwise kernel that oneDNN computes the gradient of at full speed
_STRIP = 3


@contextmanager
def gradients_in_place() -> Iterator[None]:
    """Let networks that run in here add the gradients of their convolutions to `.grad` directly, in `backward()`.

    The sums are the same. But `torch.autograd.grad` and hooks on those weights do not see them, so a training loop asks
    for it.
    """
    token = _in_place.set(True)
    try:
        yield
    finally:
        _in_place.reset(token)


def prefix_conv2d(
    x_BCHW: Tensor, weight: Tensor, bias: Tensor | None, out_channels: int, stride: tuple[int, ...], padding: Any
) -> Tensor:
    """Dense convolution by the first `out_channels` filters and the first C input channels of `weight` (O, I, K, K)."""
    if _trains_in_float32(x_BCHW, weight):
        y: Tensor = _PrefixConv.apply(x_BCHW, weight, bias, out_channels, stride, padding, _in_place.get())
        return y
    return F.conv2d(
        x_BCHW,
        weight[:out_channels, : x_BCHW.shape[1]],
        None if bias is None else bias[:out_channels],
        stride,
        padding,
    )


def depthwise_conv2d(x_BCHW: Tensor, weight: Tensor, stride: tuple[int, ...]) -> Tensor:
    """Depthwise convolution by `weight` (C, 1, K, K), padded by K // 2."""
    channels, kernel_size = weight.shape[0], weight.shape[-1]
    if kernel_size > _STRIP and x_BCHW.is_cpu and _trains_in_float32(x_BCHW, weight) and _is_channels_last(x_BCHW):
        y: Tensor = _DepthwiseConv.apply(x_BCHW, weight, stride)
        return y
    return F.conv2d(x_BCHW, weight, None, stride, kernel_size // 2, groups=channels)


def prefix_batch_norm(x_BCHW: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Batch norm by the first C entries of the scale, shift and statistics of `norm`, in its mode."""
    channels = x_BCHW.shape[1]
    assert norm.running_mean is not None and norm.running_var is not None
    statistics = norm.running_mean[:channels], norm.running_var[:channels]
    momentum = norm.momentum or 0.0
    if norm.training and _trains_in_float32(x_BCHW, norm.weight):
        y: Tensor = _PrefixNorm.apply(x_BCHW, norm.weight, norm.bias, statistics, momentum, norm.eps, _in_place.get())
        return y
    weight, bias = norm.weight[:channels], norm.bias[:channels]
    return F.batch_norm(x_BCHW, *statistics, weight, bias, norm.training, momentum, norm.eps)


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
        pointwise = weight.shape[2] == weight.shape[3] == stride[0] == stride[1] == 1 and padding[0] == padding[1] == 0
        ctx.is_product = pointwise and x.is_cpu and _is_channels_last(x)
        prefix = (weight.flatten(1) if ctx.is_product else weight)[:out_channels, :in_channels]
        ctx.save_for_backward(x, prefix)
        ctx.weight, ctx.bias, ctx.stride, ctx.padding, ctx.in_place = weight, bias, stride, padding, in_place
        shift = None if bias is None else bias[:out_channels]
        return _product(x, prefix.t(), shift) if ctx.is_product else F.conv2d(x, prefix, shift, stride, padding)

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
                x_gradient = _product(gradient, prefix, None)
            if for_weight:
                target, weight_gradient = _target(ctx.weight, in_place=ctx.in_place)
                _add_product(target.flatten(1)[: len(prefix), : x.shape[1]], _as_rows(gradient), _as_rows(x))
        else:
            mask = for_x, for_weight, False
            x_gradient, found, _ = torch.ops.aten.convolution_backward(
                gradient, x, prefix, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, mask
            )
            if for_weight:
                target, weight_gradient = _target(ctx.weight, in_place=ctx.in_place)
                target[: len(prefix), : x.shape[1]].add_(found)
        if for_bias:
            target, bias_gradient = _target(ctx.bias, in_place=ctx.in_place)
            target[: len(prefix)].add_(gradient.sum((0, 2, 3)))
        return x_gradient, weight_gradient, bias_gradient, None, None, None, None


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
        if _is_channels_last(x):
            gradient = gradient.contiguous(memory_format=torch.channels_last)
        mask = ctx.needs_input_grad[:3]
        x_gradient, *found = torch.ops.aten.native_batch_norm_backward(
            gradient, x, scale, None, None, mean, deviation, True, ctx.eps, mask
        )
        given: list[Tensor | None] = [None, None]
        for number, parameter in enumerate((ctx.weight, ctx.bias)):
            if mask[1 + number]:
                target, given[number] = _target(parameter, in_place=ctx.in_place)
                target[: len(scale)].add_(found[number])
        return x_gradient, *given, None, None, None, None


class _DepthwiseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        for_x, for_weight = ctx.needs_input_grad[:2]
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        padding = (weight.shape[-1] // 2,) * 2
        x_gradient = weight_gradient = None
        if for_x:
            x_gradient = _gradients(gradient, x, weight, ctx.stride, padding, for_x=True)[0]
        if for_weight:
            weight_gradient = _kernel_gradient(x, gradient, weight, ctx.stride)
        return x_gradient, weight_gradient, None


def _kernel_gradient(x: Tensor, gradient: Tensor, weight: Tensor, stride: tuple[int, ...]) -> Tensor:
    """(C, 1, K, K), strip by strip of columns.

    With a stride, the pixels that a tap meets are those of one phase of the rows and columns: every phase is a
    convolution without stride. Images are padded beforehand: padded kernels are slow on small maps. Taps farther from
    the centre than the image is wide only ever meet padding; their gradient is zero.
    """
    size = weight.shape[-1]
    reach = min(size // 2, max(x.shape[2:]) - 1)  # farthest tap from the centre that meets a pixel
    taps, first = 2 * reach + 1, size // 2 - reach
    height, width = gradient.shape[2:]
    result = torch.zeros_like(weight, memory_format=torch.contiguous_format)
    place = result[:, :, first : first + taps, first : first + taps]
    margin = reach
    if stride != (1, 1):  # one copy of the whole, from which the phases are then cut
        x, margin = _cut(x, -reach, -reach, x.shape[2] + 2 * reach, x.shape[3] + 2 * reach), 0
    for top in range(min(stride[0], taps)):
        for left in range(min(stride[1], taps)):
            phase = x[:, :, top :: stride[0], left :: stride[1]]
            rows, width_of_kernel = len(range(top, taps, stride[0])), len(range(left, taps, stride[1]))
            for start in range(0, width_of_kernel, _STRIP):
                columns = min(_STRIP, width_of_kernel - start)
                strip = _cut(phase, -margin, start - margin, height + rows - 1, width + columns - 1)
                kernel = weight.new_empty(weight.shape[0], 1, rows, columns)
                found = _gradients(gradient, strip, kernel, (1, 1), (0, 0), for_x=False)[1]
                place[:, :, top :: stride[0], left :: stride[1]][..., start : start + columns] = found
    return result


def _cut(x: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """A window of the images, zero where it reaches outside. Only the margins are filled: `pad` fills everything."""
    window = torch.empty((*x.shape[:2], height, width), dtype=x.dtype, memory_format=torch.channels_last)
    above, before = max(-top, 0), max(-left, 0)
    below, behind = min(height, x.shape[2] - top), min(width, x.shape[3] - left)
    window[:, :, :above].zero_()
    window[:, :, below:].zero_()
    window[:, :, above:below, :before].zero_()
    window[:, :, above:below, behind:].zero_()
    window[:, :, above:below, before:behind] = x[:, :, top + above : top + below, left + before : left + behind]
    return window


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, ...], padding: tuple[int, ...], *, for_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """torch's own gradients of a depthwise convolution: of the images, or else of the kernel."""
    x = x.contiguous(memory_format=torch.channels_last)
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, (1, 1), False, (0, 0), x.shape[1], (for_x, not for_x, False)
    )
    return result


def _target(parameter: Tensor, *, in_place: bool) -> tuple[Tensor, Tensor | None]:
    """Where the gradient of a part of `parameter` is added, and what autograd is then given for the whole."""
    if in_place and parameter.is_leaf:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        return parameter.grad, None
    whole = torch.zeros_like(parameter)
    return whole, whole


def _trains_in_float32(x: Tensor, weight: Tensor) -> bool:
    return (
        torch.is_grad_enabled()
        and (x.requires_grad or weight.requires_grad)
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled(x.device.type)
    )


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def _as_rows(x_BCHW: Tensor) -> Tensor:
    """(B H W, C), without a copy."""
    return x_BCHW.permute(0, 2, 3, 1).reshape(-1, x_BCHW.shape[1])


def _add_product(target_DC: Tensor, gradient_ND: Tensor, x_NC: Tensor) -> None:
    """target += gradient' x. Where N is long and the result small, BLAS leaves all but one thread idle: each takes a
    part.
    """
    parts, num = torch.get_num_threads(), len(x_NC)
    if parts > 1 and num % parts == 0 and num >= 2048 and target_DC.numel() <= 10_000:
        left, right = (rows.view(parts, num // parts, rows.shape[1]) for rows in (gradient_ND, x_NC))
        target_DC.add_(torch.bmm(left.transpose(1, 2), right).sum(dim=0))
    else:
        target_DC.addmm_(gradient_ND.t(), x_NC)


def _product(x_BCHW: Tensor, matrix_CD: Tensor, shift_D: Tensor | None) -> Tensor:
    """(B, D, H, W): every pixel times `matrix`, plus `shift`."""
    batch, _, height, width = x_BCHW.shape
    shape = batch, matrix_CD.shape[1], height, width
    y = torch.empty(shape, dtype=x_BCHW.dtype, device=x_BCHW.device, memory_format=torch.channels_last)
    if shift_D is None:
        torch.mm(_as_rows(x_BCHW), matrix_CD, out=_as_rows(y))
    else:
        torch.addmm(shift_D, _as_rows(x_BCHW), matrix_CD, out=_as_rows(y))
    return y
