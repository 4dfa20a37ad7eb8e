"""Squeeze-excite by prefixes of two 1x1 convolutions, as one operation in training."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from search_spaces.elastic.functional.convolution import prefix_conv2d
from search_spaces.elastic.functional.gradients import adds_in_place, gradient_target, trains_in_float32


def prefix_squeeze_excite(x_BCHW: Tensor, reduce: nn.Conv2d, expand: nn.Conv2d, squeezed: int) -> Tensor:
    """x times hard_sigmoid(expand(relu(reduce(mean of x)))), with the first `squeezed` channels in the middle."""
    assert reduce.bias is not None and expand.bias is not None
    parameters = reduce.weight, reduce.bias, expand.weight, expand.bias
    if trains_in_float32(x_BCHW, reduce.weight):
        y: Tensor = _SqueezeExcite.apply(x_BCHW, *parameters, squeezed, adds_in_place())
        return y
    middle = prefix_conv2d(
        F.adaptive_avg_pool2d(x_BCHW, 1), reduce.weight, reduce.bias, squeezed, (1, 1), (0, 0)
    ).relu_()
    gate = prefix_conv2d(middle, expand.weight, expand.bias, x_BCHW.shape[1], (1, 1), (0, 0))
    return x_BCHW * F.hardsigmoid(gate)  # operator by operator as extracted networks have it


def _prefixes(
    reduce: Tensor, reduce_bias: Tensor, expand: Tensor, expand_bias: Tensor, squeezed: int, channels: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        reduce.flatten(1)[:squeezed, :channels],
        reduce_bias[:squeezed],
        expand.flatten(1)[:channels, :squeezed],
        expand_bias[:channels],
    )


def _gate(
    pooled_BC: Tensor, reduce: Tensor, reduce_bias: Tensor, expand: Tensor, expand_bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What is in the middle, what goes into the gate, and the gate."""
    middle = F.linear(pooled_BC, reduce, reduce_bias).relu()
    before = F.linear(middle, expand, expand_bias)
    return middle, before, F.hardsigmoid(before)


class _SqueezeExcite(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        reduce: Tensor,
        reduce_bias: Tensor,
        expand: Tensor,
        expand_bias: Tensor,
        squeezed: int,
        in_place: bool,
    ) -> Tensor:
        prefixes = _prefixes(reduce, reduce_bias, expand, expand_bias, squeezed, x.shape[1])
        pooled = x.mean((2, 3))
        middle, before, gate = _gate(pooled, *prefixes)
        ctx.save_for_backward(x, pooled, middle, before, gate, prefixes[0], prefixes[2])
        ctx.parameters, ctx.in_place = (reduce, reduce_bias, expand, expand_bias), in_place
        return x * gate[:, :, None, None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, pooled, middle, before, gate, reduce, expand = ctx.saved_tensors
        for_gate = (gradient * x).sum((2, 3))
        outer = torch.ops.aten.hardsigmoid_backward(for_gate, before)
        inner = torch.ops.aten.threshold_backward(outer @ expand, middle, 0)
        given: list[Tensor | None] = [None] * 4
        for number, (left, right) in enumerate(((inner, pooled), (inner, None), (outer, middle), (outer, None))):
            if ctx.needs_input_grad[1 + number]:
                target, given[number] = gradient_target(ctx.parameters[number], in_place=ctx.in_place)
                if right is None:
                    target[: left.shape[1]].add_(left.sum(dim=0))
                else:
                    target.flatten(1)[: left.shape[1], : right.shape[1]].addmm_(left.t(), right)
        x_gradient: Tensor | None = None
        if ctx.needs_input_grad[0]:
            through_pool = (inner @ reduce).div_(x.shape[2] * x.shape[3])
            x_gradient = torch.addcmul(through_pool[:, :, None, None], gradient, gate[:, :, None, None])
        return x_gradient, *given, None, None
