"""The block of MobileNetV2, MobileNetV3 and ProxylessNAS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from search_spaces.elastic.activations import elastic_activation
from search_spaces.elastic.base import ElasticBlock, channel_order, norm_slices, norm_vectors
from search_spaces.elastic.functional import prefix_squeeze_excite
from search_spaces.elastic.layers import ElasticBatchNorm2d, ElasticConv2d, ElasticDepthwiseConv2d, conv_norm
from search_spaces.operators import MBConv


class ElasticSqueezeExcite(nn.Module):
    """Squeeze-excite with elastic channels."""

    def __init__(self, channels: int, se_channels: int) -> None:
        super().__init__()
        self.reduce = ElasticConv2d(channels, se_channels, 1)
        self.expand = ElasticConv2d(se_channels, channels, 1)

    def forward(self, x: Tensor, se_channels: int) -> Tensor:
        return prefix_squeeze_excite(x, self.reduce, self.expand, se_channels)


class ElasticMBConv(ElasticBlock):
    """Inverted residual with elastic kernel size and width of the middle."""

    def __init__(self, operators: Sequence[MBConv]) -> None:
        super().__init__()
        first = operators[0]
        in_channels, out_channels = (
            max(getattr(op, name) for op in operators) for name in ("in_channels", "out_channels")
        )
        mid_channels, se_channels = (
            max(getattr(op, name) for op in operators) for name in ("mid_channels", "se_channels")
        )
        fixed = {(op.stride, op.activation, op.se_channels > 0, op.expansion, op.norm_eps) for op in operators}
        assert len(fixed) == 1, "these may not change within a slot"
        self.expands, self.excites = bool(first.expansion), se_channels > 0
        if self.expands:
            self.expand_conv = ElasticConv2d(in_channels, mid_channels, 1, bias=False)
            self.expand_norm = ElasticBatchNorm2d(mid_channels, first.norm_eps)
            self.expand_act = elastic_activation(first.activation)
        self.depth_conv = ElasticDepthwiseConv2d(mid_channels, list({op.kernel_size for op in operators}), first.stride)
        self.depth_norm = ElasticBatchNorm2d(mid_channels, first.norm_eps)
        self.depth_act = elastic_activation(first.activation)
        if self.excites:
            self.se = ElasticSqueezeExcite(mid_channels, se_channels)
        self.project_conv = ElasticConv2d(mid_channels, out_channels, 1, bias=False)
        self.project_norm = ElasticBatchNorm2d(out_channels, first.norm_eps)
        if any(op.residual for op in operators):
            self.drop_path = nn.Identity()

    def forward(self, x: Tensor, operator: MBConv) -> Tensor:
        out = x
        if self.expands:
            out = self.expand_act(conv_norm(out, self.expand_conv, self.expand_norm, operator.mid_channels))
        out = self.depth_act(self.depth_norm(self.depth_conv(out, operator.kernel_size)))
        if self.excites:
            out = self.se(out, operator.se_channels)
        out = conv_norm(out, self.project_conv, self.project_norm, operator.out_channels)
        return x + self.drop_path(out) if operator.residual else out

    def slices(self, operator: MBConv) -> Iterator[tuple[str, Tensor]]:
        mid = operator.mid_channels
        if self.expands:
            yield "expand_conv.weight", self.expand_conv.weight_for(operator.in_channels, mid)
            yield from norm_slices("expand_norm", self.expand_norm, mid)
        yield "depth_conv.weight", self.depth_conv.weight_for(mid, operator.kernel_size)
        yield from norm_slices("depth_norm", self.depth_norm, mid)
        if self.excites:
            squeezed = operator.se_channels
            assert self.se.reduce.bias is not None and self.se.expand.bias is not None
            yield "se.reduce.weight", self.se.reduce.weight_for(mid, squeezed)
            yield "se.reduce.bias", self.se.reduce.bias[:squeezed]
            yield "se.expand.weight", self.se.expand.weight_for(squeezed, mid)
            yield "se.expand.bias", self.se.expand.bias[:mid]
        yield "project_conv.weight", self.project_conv.weight_for(mid, operator.out_channels)
        yield from norm_slices("project_norm", self.project_norm, operator.out_channels)

    @torch.no_grad()
    def sort_channels(self, trained: Sequence[MBConv]) -> None:
        """Importance of a middle channel: L1 norm of the projection weights that read it (squeezed channels: of the
        excitation's).
        """
        if not self.expands:
            return  # the middle is the input: its order belongs to the block before
        order = channel_order(self.project_conv.weight.abs().sum((0, 2, 3)), [op.mid_channels for op in trained])
        for tensor in (
            self.expand_conv.weight,
            *norm_vectors(self.expand_norm),
            self.depth_conv.weight,
            *norm_vectors(self.depth_norm),
        ):
            tensor.copy_(tensor[order])
        self.project_conv.weight.copy_(self.project_conv.weight[:, order])
        if self.excites:
            reduce, expand = self.se.reduce, self.se.expand
            assert reduce.bias is not None and expand.bias is not None
            reduce.weight.copy_(reduce.weight[:, order])
            expand.weight.copy_(expand.weight[order])
            expand.bias.copy_(expand.bias[order])
            squeezed = channel_order(expand.weight.abs().sum((0, 2, 3)), [op.se_channels for op in trained])
            reduce.weight.copy_(reduce.weight[squeezed])
            reduce.bias.copy_(reduce.bias[squeezed])
            expand.weight.copy_(expand.weight[:, squeezed])
