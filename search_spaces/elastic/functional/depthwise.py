"""Depthwise convolution, with a weight gradient that is fast on CPUs.

The results are those of `torch.nn.functional.conv2d`, up to rounding. The gradient of a kernel wider than 3 columns is
computed in strips of at most 3 columns: oneDNN has a vectorised kernel for those only, and falls back to one several
times slower; as it does where the kernel is larger than the image.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from search_spaces.elastic.functional.gradients import trains_in_float32
from search_spaces.elastic.functional.rows import is_channels_last

#: columns of a depthwise kernel that oneDNN computes the gradient of at full speed
_STRIP = 3


def depthwise_conv2d(x_BCHW: Tensor, weight: Tensor, stride: tuple[int, ...]) -> Tensor:
    """Depthwise convolution by `weight` (C, 1, K, K), padded by K // 2."""
    channels, kernel_size = weight.shape[0], weight.shape[-1]
    slow = kernel_size > _STRIP or kernel_size > max(x_BCHW.shape[2:])  # oneDNN's own gradient of the kernel
    if slow and x_BCHW.is_cpu and trains_in_float32(x_BCHW, weight) and is_channels_last(x_BCHW):
        y: Tensor = _DepthwiseConv.apply(x_BCHW, weight, stride)
        return y
    return F.conv2d(x_BCHW, weight, None, stride, kernel_size // 2, groups=channels)


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
