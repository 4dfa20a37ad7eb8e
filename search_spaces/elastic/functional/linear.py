"""Linear layer by a prefix of a larger one's inputs and outputs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from search_spaces.elastic.functional.gradients import adds_in_place, gradient_target, trains_in_float32


def prefix_linear(x: Tensor, weight: Tensor, bias: Tensor | None, out_features: int) -> Tensor:
    """Linear layer over the last dimension of `x` (..., C), by the first `out_features` rows and the first C columns of
    `weight`.
    """
    if trains_in_float32(x, weight):
        y: Tensor = _PrefixLinear.apply(x, weight, bias, out_features, adds_in_place())
        return y
    return F.linear(x, weight[:out_features, : x.shape[-1]], None if bias is None else bias[:out_features])


class _PrefixLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, out_features: int, in_place: bool) -> Tensor:
        prefix = weight[:out_features, : x.shape[-1]]
        ctx.save_for_backward(x, prefix)
        ctx.weight, ctx.bias, ctx.in_place = weight, bias, in_place
        return F.linear(x, prefix, None if bias is None else bias[:out_features])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, prefix = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad[:3]
        weight_gradient = bias_gradient = None
        if for_weight:
            target, weight_gradient = gradient_target(ctx.weight, in_place=ctx.in_place)
            target[: len(prefix), : x.shape[-1]].addmm_(gradient.flatten(0, -2).t(), x.flatten(0, -2))
        if for_bias:
            target, bias_gradient = gradient_target(ctx.bias, in_place=ctx.in_place)
            target[: len(prefix)].add_(gradient.flatten(0, -2).sum(dim=0))
        return gradient @ prefix if for_x else None, weight_gradient, bias_gradient, None, None
