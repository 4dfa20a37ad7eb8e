"""The block of ResNet-50 and its relatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from search_spaces.elastic.activations import elastic_activation
from search_spaces.elastic.base import ElasticBlock, channel_order, norm_slices, norm_vectors
from search_spaces.elastic.layers import ElasticBatchNorm2d, ElasticConv2d, conv_norm
from search_spaces.operators import Bottleneck


class ElasticBottleneck(ElasticBlock):
    """Bottleneck with elastic width of input, middle and output."""

    def __init__(self, operators: Sequence[Bottleneck]) -> None:
        super().__init__()
        first = operators[0]
        fixed = {(op.kernel_size, op.stride, op.activation, op.downsample, op.norm_eps) for op in operators}
        assert len(fixed) == 1, "these may not change within a slot"
        in_channels, mid_channels, out_channels = (
            max(getattr(op, name) for op in operators) for name in ("in_channels", "mid_channels", "out_channels")
        )
        self.downsamples, self.pools = bool(first.downsample), first.downsample and first.stride > 1
        self.reduce_conv = ElasticConv2d(in_channels, mid_channels, 1, bias=False)
        self.reduce_norm = ElasticBatchNorm2d(mid_channels, first.norm_eps)
        self.reduce_act = elastic_activation(first.activation)
        self.middle_conv = ElasticConv2d(
            mid_channels, mid_channels, first.kernel_size, first.stride, first.kernel_size // 2, bias=False
        )
        self.middle_norm = ElasticBatchNorm2d(mid_channels, first.norm_eps)
        self.middle_act = elastic_activation(first.activation)
        self.expand_conv = ElasticConv2d(mid_channels, out_channels, 1, bias=False)
        self.expand_norm = ElasticBatchNorm2d(out_channels, first.norm_eps)
        if self.pools:
            self.shortcut_pool = nn.AvgPool2d(first.stride, ceil_mode=True)
        if self.downsamples:
            self.shortcut_conv = ElasticConv2d(in_channels, out_channels, 1, bias=False)
            self.shortcut_norm = ElasticBatchNorm2d(out_channels, first.norm_eps)
        self.drop_path = nn.Identity()
        self.act = elastic_activation(first.activation)

    def forward(self, x: Tensor, operator: Bottleneck) -> Tensor:
        out = self.reduce_act(conv_norm(x, self.reduce_conv, self.reduce_norm, operator.mid_channels))
        out = self.middle_act(conv_norm(out, self.middle_conv, self.middle_norm, operator.mid_channels))
        out = conv_norm(out, self.expand_conv, self.expand_norm, operator.out_channels)
        shortcut = self.shortcut_pool(x) if self.pools else x
        if self.downsamples:
            shortcut = conv_norm(shortcut, self.shortcut_conv, self.shortcut_norm, operator.out_channels)
        summed: Tensor = self.act(self.drop_path(out) + shortcut)
        return summed

    def slices(self, operator: Bottleneck) -> Iterator[tuple[str, Tensor]]:
        before, mid, after = operator.in_channels, operator.mid_channels, operator.out_channels
        yield "reduce_conv.weight", self.reduce_conv.weight_for(before, mid)
        yield from norm_slices("reduce_norm", self.reduce_norm, mid)
        yield "middle_conv.weight", self.middle_conv.weight_for(mid, mid)
        yield from norm_slices("middle_norm", self.middle_norm, mid)
        yield "expand_conv.weight", self.expand_conv.weight_for(mid, after)
        yield from norm_slices("expand_norm", self.expand_norm, after)
        if self.downsamples:
            yield "shortcut_conv.weight", self.shortcut_conv.weight_for(before, after)
            yield from norm_slices("shortcut_norm", self.shortcut_norm, after)

    @torch.no_grad()
    def sort_channels(self, trained: Sequence[Bottleneck]) -> None:
        """Importance of a channel between two convolutions: L1 norm of the weights of the second that read it."""
        widths = [op.mid_channels for op in trained]
        for conv, norm, reader in (
            (self.middle_conv, self.middle_norm, self.expand_conv),
            (self.reduce_conv, self.reduce_norm, self.middle_conv),
        ):
            order = channel_order(reader.weight.abs().sum((0, 2, 3)), widths)
            for tensor in (conv.weight, *norm_vectors(norm)):
                tensor.copy_(tensor[order])
            reader.weight.copy_(reader.weight[:, order])
